//! The decision table from row 4 to row 8, top to bottom: pure functions of what is known about a key, the time and
//! the request.

use model::allowlist::Mode;
use model::caller::Who;
use model::key::{KeyStatus, SecretStatus};
use model::scope::Scope;
use model::tenant::{TenantStatus, Tier};
use model::user::UserStatus;
use model::{Allowlist, Code, Environment, Problem, Timestamp};
use secret::Digest;
use std::net::IpAddr;
use store::gate::{Known, KnownSecret};

/// What a route asks of who calls it. Every route declares one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Anybody may: the gate is not asked.
    Public,
    /// A key with this scope.
    Scope(Scope),
    /// Any key.
    AnyKey,
}

/// Row 4: which secret of the key this is. What became of a dead one is told only to who presents it.
pub(crate) fn identify<'a>(known: &'a Known, presented: &Digest, now: Timestamp) -> Result<&'a KnownSecret, Problem> {
    // Every secret is compared, so that the time doesn't tell which one matched.
    let matching = known.secrets.iter().fold(None, |found, secret| {
        let is_it = secret.digest == *presented;
        found.or(is_it.then_some(secret))
    });
    let Some(secret) = matching else { return Err(unknown()) };
    match known.status {
        KeyStatus::Revoked => return Err(Code::RevokedKey.into()),
        KeyStatus::Suspended => return Err(Code::SuspendedKey.into()),
        KeyStatus::Expired => return Err(expired(known)),
        KeyStatus::Pending => return Err(Code::PendingKey.into()),
        KeyStatus::Active if known.expires_at.is_some_and(|end| end <= now) => return Err(expired(known)),
        KeyStatus::Active => {}
    }
    let ended = secret.ends_at.is_some_and(|end| end <= now);
    match secret.status {
        SecretStatus::Current => {}
        SecretStatus::Pending | SecretStatus::Ending if !ended => {}
        SecretStatus::Pending | SecretStatus::Ending | SecretStatus::Dead => return Err(Code::RotatedSecret.into()),
    }
    match secret.too_old_at.filter(|end| *end <= now) {
        Some(end) => {
            let detail = format!("The secret is older than the tenant allows, since {end}: the key has to be rotated.");
            Err(Problem::new(Code::ExpiredKey, detail))
        }
        None => Ok(secret),
    }
}

/// The answer to a key that nobody knows, the same for a wrong secret of a known one.
pub(crate) fn unknown() -> Problem {
    Problem::new(Code::InvalidKey, "No key of this server has this secret.")
}

fn expired(known: &Known) -> Problem {
    match known.expires_at {
        Some(end) => Problem::new(Code::ExpiredKey, format!("The key expired at {end}.")),
        None => Code::ExpiredKey.into(),
    }
}

/// Rows 5 to 8: whether an identified key may do what the route asks, from this address.
pub(crate) fn authorize(known: &Known, address: Option<IpAddr>, rule: Rule) -> Result<(), Problem> {
    for (list, whose) in lists(known, Mode::Enforce) {
        // Work that goes on later has no address of its own: its request's was checked.
        if let Some(address) = address.filter(|address| !list.contains(*address)) {
            let detail = format!("The request came from {address}, which is not on {whose} allowlist.");
            return Err(Problem::new(Code::IpNotAllowed, detail));
        }
    }
    if known.tenant_status != TenantStatus::Active {
        return Err(Code::TenantSuspended.into());
    }
    known.tier.require(Tier::API, "The API")?;
    if known.user_status != UserStatus::Active || !known.role.manages_keys() {
        let what = match known.user_status {
            UserStatus::Active => format!("has the role {}", known.role),
            status => format!("is {status}"),
        };
        let detail =
            format!("The key's administrator {} {what}; an active owner or admin is needed.", known.administrator);
        return Err(Problem::new(Code::RoleRequired, detail));
    }
    match rule {
        Rule::Scope(scope) if !known.scopes.cover(scope) => {
            let detail = format!("This needs the scope {scope}; the key has {}.", known.scopes.names().join(", "));
            let mut refusal = Problem::new(Code::ScopeRequired, detail);
            refusal.scope = Some(scope.as_str());
            Err(refusal)
        }
        Rule::Scope(scope) => may_manage(known, scope),
        Rule::AnyKey => Ok(()),
        // A route that asked for nobody has no business with a key: refuse rather than guess.
        Rule::Public => Err(Problem::fault("a public route asked the gate for a key")),
    }
}

/// Row 8 goes on: whether a key of this tenant and environment may change identity at all.
pub(crate) fn may_manage(known: &Known, scope: Scope) -> Result<(), Problem> {
    if scope.manages_identity() && !known.keys_may_manage_identity {
        let detail = format!("{scope} changes identity, and this tenant lets no key do that.");
        return Err(Problem::new(Code::IdentityNeedsSession, detail));
    }
    let environment = known.scope.environment;
    if scope.manages_tenant() && environment != Environment::Production {
        let detail = format!("Users and the tenant are in no environment; the key is one of {environment}.");
        return Err(Problem::new(Code::ProductionKeyRequired, detail));
    }
    Ok(())
}

/// The lists of this mode, with their owners' names.
fn lists(known: &Known, mode: Mode) -> impl Iterator<Item = (&Allowlist, &'static str)> {
    let all = [
        (&known.allowlist, known.allowlist_mode, "the key's"),
        (&known.tenant_allowlist, known.tenant_allowlist_mode, "the tenant's"),
    ];
    all.into_iter().filter(move |(_, its, _)| *its == mode).map(|(list, _, whose)| (list, whose))
}

/// Whether a list that only observes would have refused this address.
pub(crate) fn would_refuse(known: &Known, address: IpAddr) -> bool {
    lists(known, Mode::Observe).any(|(list, _)| !list.contains(address))
}

/// The key as a caller.
pub(crate) fn who(known: &Known, secret: &KnownSecret) -> Who {
    Who::Key {
        key: known.key,
        label: known.label.clone(),
        secret: secret.id,
        administrator: known.administrator,
        scopes: known.scopes.clone(),
    }
}

/// The `WWW-Authenticate` of an answer (RFC 6750, 3), where it has one: on every 401, and where scopes are missing.
pub fn challenge(problem: &Problem) -> Option<String> {
    const REALM: &str = "Bearer realm=\"IUSign\"";
    match problem.code {
        // RFC 6750, 3.1: without credentials no error code is given.
        Code::MissingCredentials => Some(REALM.to_owned()),
        Code::ScopeRequired => {
            let scope = problem.scope.map_or_else(String::new, |scope| format!(", scope=\"{scope}\""));
            Some(format!("{REALM}, error=\"insufficient_scope\"{scope}"))
        }
        Code::SessionRequired => None,
        code if code.status() == 401 => {
            let title = code.title();
            Some(format!("{REALM}, error=\"invalid_token\", error_description=\"{title}\""))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::scope::Scopes;
    use model::{EnvScope, Environment, KeyId, Role, SecretId, TenantId, UserId};
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn secret(number: u8, status: SecretStatus, ends_at: Option<Timestamp>) -> KnownSecret {
        KnownSecret {
            id: SecretId::from_uuid(Uuid::from_u128(number.into())),
            digest: Digest([number; 32]),
            status,
            ends_at,
            too_old_at: None,
        }
    }

    fn list(entries: &[&str]) -> Allowlist {
        let entries: Vec<String> = entries.iter().map(|e| (*e).to_owned()).collect();
        Allowlist::parse(&entries, "").expect("a list")
    }

    fn good() -> Known {
        Known {
            key: KeyId::from_uuid(Uuid::from_u128(1)),
            scope: EnvScope { tenant: TenantId::from_uuid(Uuid::from_u128(2)), environment: Environment::Production },
            label: "billing".to_owned(),
            status: KeyStatus::Active,
            expires_at: Some(NOW.plus(1)),
            scopes: Scopes::Some([Scope::EnvelopesRead].into()),
            allowlist: list(&["10.0.0.0/8"]),
            allowlist_mode: Mode::Enforce,
            secrets: vec![
                secret(1, SecretStatus::Current, None),
                secret(2, SecretStatus::Ending, Some(NOW.plus(1))),
                secret(3, SecretStatus::Pending, Some(NOW.plus(1))),
                secret(4, SecretStatus::Dead, None),
                secret(5, SecretStatus::Ending, Some(NOW)),
            ],
            secret_age_ms_max: None,
            administrator: UserId::from_uuid(Uuid::from_u128(3)),
            role: Role::Admin,
            user_status: UserStatus::Active,
            tenant_status: TenantStatus::Active,
            tier: Tier::Enterprise,
            tenant_allowlist: list(&["10.1.0.0/16"]),
            tenant_allowlist_mode: Mode::Enforce,
            keys_may_manage_identity: true,
            epoch: epoch(),
        }
    }

    fn epoch() -> store::gate::Epoch {
        store::gate::Epoch::from_bytes([0; 16])
    }

    fn code(known: &Known, secret: u8) -> Result<(), Code> {
        let address = Some(IpAddr::from([10, 1, 2, 3]));
        identify(known, &Digest([secret; 32]), NOW)
            .and_then(|_| authorize(known, address, Rule::Scope(Scope::EnvelopesRead)))
            .map_err(|problem| problem.code)
    }

    #[test]
    fn row_4_tells_a_dead_key_from_an_unknown_one() {
        for (number, want) in [
            (1, Ok(())),
            (2, Ok(())),
            (3, Ok(())),
            (4, Err(Code::RotatedSecret)),
            (5, Err(Code::RotatedSecret)),
            (9, Err(Code::InvalidKey)),
        ] {
            assert_eq!(code(&good(), number), want, "secret {number}");
        }
        for (status, want) in [
            (KeyStatus::Revoked, Code::RevokedKey),
            (KeyStatus::Suspended, Code::SuspendedKey),
            (KeyStatus::Expired, Code::ExpiredKey),
            (KeyStatus::Pending, Code::PendingKey),
        ] {
            let known = Known { status, ..good() };
            assert_eq!(code(&known, 1), Err(want));
            assert_eq!(code(&known, 4), Err(want), "a dead secret of it is told the same");
            assert_eq!(code(&known, 9), Err(Code::InvalidKey), "a wrong secret is told nothing");
        }
        assert_eq!(code(&Known { expires_at: Some(NOW), ..good() }, 1), Err(Code::ExpiredKey));
    }

    #[test]
    fn a_secret_that_is_too_old_is_refused_and_its_successor_is_not() {
        let mut known = good();
        known.secrets[0].too_old_at = Some(NOW);
        known.secrets[2].too_old_at = Some(NOW.plus(1));
        assert_eq!((code(&known, 1), code(&known, 3)), (Err(Code::ExpiredKey), Ok(())));
        known.secrets[3].too_old_at = Some(NOW);
        assert_eq!(code(&known, 4), Err(Code::RotatedSecret), "a dead one is told that it is dead");
    }

    #[test]
    fn each_row_has_its_code_and_the_upper_one_wins() {
        let mut known = good();
        known.scopes = Scopes::Some([Scope::KeysRead].into());
        assert_eq!(code(&known, 1), Err(Code::ScopeRequired));
        known.role = Role::User;
        assert_eq!(code(&known, 1), Err(Code::RoleRequired));
        known.tier = Tier::Free;
        assert_eq!(code(&known, 1), Err(Code::TierRequired));
        known.tenant_status = TenantStatus::Suspended;
        assert_eq!(code(&known, 1), Err(Code::TenantSuspended));
        known.tenant_allowlist = list(&["192.0.2.0/24"]);
        assert_eq!(code(&known, 1), Err(Code::IpNotAllowed));
        known.status = KeyStatus::Revoked;
        assert_eq!(code(&known, 1), Err(Code::RevokedKey));
        for user_status in [UserStatus::Suspended, UserStatus::Removed] {
            assert_eq!(code(&Known { user_status, ..good() }, 1), Err(Code::RoleRequired));
        }
        assert_eq!(code(&Known { allowlist: list(&["10.2.0.0/16"]), ..good() }, 1), Err(Code::IpNotAllowed));
    }

    #[test]
    fn a_list_that_observes_refuses_nobody_and_an_enforced_one_beside_it_still_does() {
        let known = Known { allowlist: list(&["10.2.0.0/16"]), allowlist_mode: Mode::Observe, ..good() };
        assert_eq!(code(&known, 1), Ok(()));
        assert!(would_refuse(&known, IpAddr::from([10, 1, 2, 3])));
        assert!(
            !would_refuse(&known, IpAddr::from([10, 2, 2, 3])) && !would_refuse(&good(), IpAddr::from([192, 0, 2, 1]))
        );
        let known = Known { tenant_allowlist: list(&["192.0.2.0/24"]), ..known };
        assert_eq!(code(&known, 1), Err(Code::IpNotAllowed));
        assert_eq!(code(&Known { tenant_allowlist_mode: Mode::Observe, ..known }, 1), Ok(()));
    }

    #[test]
    fn identity_needs_the_tenants_leave_and_the_tenant_as_a_whole_a_production_key() {
        let asked = |known: &Known, scope| authorize(known, None, Rule::Scope(scope)).map_err(|problem| problem.code);
        let free = Known { scopes: Scopes::All, ..good() };
        let held = Known { keys_may_manage_identity: false, ..free.clone() };
        let staging = Known { scope: EnvScope { environment: Environment::Staging, ..free.scope }, ..free.clone() };
        for scope in Scope::ALL {
            assert_eq!(asked(&free, *scope), Ok(()), "{scope}");
            let refused = scope.manages_identity().then_some(Code::IdentityNeedsSession);
            assert_eq!(asked(&held, *scope).err(), refused, "{scope}");
            let refused = scope.manages_tenant().then_some(Code::ProductionKeyRequired);
            assert_eq!(asked(&staging, *scope).err(), refused, "{scope}");
        }
    }

    #[test]
    fn a_refusal_says_what_was_seen() {
        let refusal = authorize(&good(), Some(IpAddr::from([192, 0, 2, 1])), Rule::AnyKey).expect_err("refused");
        assert_eq!(refusal.detail, "The request came from 192.0.2.1, which is not on the key's allowlist.");
        let refusal = authorize(&good(), None, Rule::Scope(Scope::KeysWrite)).expect_err("refused");
        assert_eq!(refusal.detail, "This needs the scope keys:write; the key has envelopes:read.");
        assert_eq!(
            challenge(&refusal).as_deref(),
            Some("Bearer realm=\"IUSign\", error=\"insufficient_scope\", scope=\"keys:write\"")
        );
        assert_eq!(authorize(&good(), None, Rule::Public).expect_err("refused").code, Code::Internal);
    }

    #[test]
    fn every_401_of_the_api_has_a_challenge() {
        for code in Code::ALL.iter().filter(|code| code.status() == 401 && **code != Code::SessionRequired) {
            let challenge = challenge(&(*code).into()).unwrap_or_else(|| panic!("{code}"));
            assert!(challenge.starts_with("Bearer realm=\"IUSign\"") && challenge.is_ascii(), "{challenge}");
        }
    }
}
