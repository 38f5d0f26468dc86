//! `iusign tenant`: show and change the tenant's name, allowlist and policies.

use api::tenant::{AgeRule, ByEnvironment, ChangeAge, ChangeByEnvironment, ChangeLeakPolicy, ChangePolicies};
use api::tenant::{ChangeTenant, TenantDetails};
use clap::Subcommand;
use model::Environment;

use crate::{output, remote::Remote};

/// `iusign tenant`.
#[derive(Debug, clap::Args)]
pub struct Tenant {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the tenant: tier, allowlist, policies
    Get,
    /// Change the tenant: what is left out stays
    Update(Change),
}

/// A change of a tenant.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Change {
    /// Its name
    #[arg(long)]
    name: Option<String>,
    /// From where its keys may call, an address or CIDR, may be repeated: the whole list
    #[arg(long = "allow", value_name = "CIDR", conflicts_with = "allow_all")]
    allowlist: Vec<String>,
    /// Remove the allowlist
    #[arg(long)]
    allow_all: bool,
    /// enforce, or observe: record what would be refused, and let it pass
    #[arg(long, value_name = "MODE")]
    allowlist_mode: Option<String>,
    /// Whether keys may change keys, users and the tenant: true or false
    #[arg(long, value_name = "BOOL")]
    keys_may_manage_identity: Option<bool>,
    /// How old keys may become, may be repeated: production=enforce:90, staging=warn:180, development=off
    #[arg(long, value_name = "RULE", value_parser = rule)]
    key_max_age: Vec<(Environment, ChangeAge)>,
    /// How often secrets are rotated, may be repeated: production=enforce:90, staging=remind:180, development=off
    #[arg(long, value_name = "RULE", value_parser = rule)]
    key_rotation: Vec<(Environment, ChangeAge)>,
    /// Point out keys that nobody has used for so many days, or never
    #[arg(long, value_name = "DAYS", value_parser = days)]
    idle_key_days: Option<IdleDays>,
    /// Whether keys that were reported as leaked are revoked at once: true or false
    #[arg(long, value_name = "BOOL")]
    revoke_leaked: Option<bool>,
    /// Meant, even where it locks out who makes the change
    #[arg(long)]
    confirm: bool,
}

/// Days, or never.
#[derive(Clone, Copy, Debug)]
struct IdleDays(Option<u32>);

impl Change {
    /// As it is sent.
    pub fn body(self) -> ChangeTenant {
        let policies = ChangePolicies {
            keys_may_manage_identity: self.keys_may_manage_identity,
            key_max_age: ages(self.key_max_age),
            key_rotation: ages(self.key_rotation),
            idle_key_days: self.idle_key_days.map(|IdleDays(days)| days),
            leaks: self.revoke_leaked.map(|revoke| ChangeLeakPolicy { revoke: Some(revoke) }),
        };
        ChangeTenant {
            name: self.name,
            allowlist: (self.allow_all || !self.allowlist.is_empty()).then_some(self.allowlist),
            allowlist_mode: self.allowlist_mode,
            policies: (policies != ChangePolicies::default()).then_some(policies),
            confirm: self.confirm,
        }
    }
}

fn ages(rules: Vec<(Environment, ChangeAge)>) -> Option<ChangeByEnvironment> {
    let mut all = ChangeByEnvironment::default();
    for (environment, change) in rules {
        let place = match environment {
            Environment::Development => &mut all.development,
            Environment::Staging => &mut all.staging,
            Environment::Production => &mut all.production,
        };
        *place = Some(change);
    }
    (all != ChangeByEnvironment::default()).then_some(all)
}

/// Reads `production=enforce:90`, `staging=off`, `development=30`.
fn rule(text: &str) -> Result<(Environment, ChangeAge), String> {
    let wrong = || "a rule reads production=enforce:90, production=off or production=90".to_owned();
    let (environment, rest) = text.split_once('=').ok_or_else(wrong)?;
    let environment = environment.parse::<Environment>().map_err(|_| wrong())?;
    let change = match (rest.split_once(':'), rest.parse::<u32>()) {
        (Some((mode, days)), _) => {
            ChangeAge { mode: Some(mode.to_owned()), days: Some(days.parse().map_err(|_| wrong())?) }
        }
        (None, Ok(days)) => ChangeAge { mode: None, days: Some(days) },
        (None, Err(_)) if !rest.is_empty() => ChangeAge { mode: Some(rest.to_owned()), days: None },
        (None, Err(_)) => return Err(wrong()),
    };
    Ok((environment, change))
}

fn days(text: &str) -> Result<IdleDays, String> {
    match text {
        "never" => Ok(IdleDays(None)),
        days => days.parse().map(|days| IdleDays(Some(days))).map_err(|_| "a number of days, or never".to_owned()),
    }
}

/// Does what is asked.
pub async fn run(tenant: Tenant, json: bool) -> anyhow::Result<()> {
    let client = tenant.remote.client()?;
    let details = match tenant.command {
        Command::Get => client.get_tenant().await?,
        Command::Update(change) => client.update_tenant(&change.body()).await?,
    };
    output::show(json, &details, show);
    Ok(())
}

/// The tenant, whole.
pub fn show(details: &TenantDetails) {
    let TenantDetails { tenant, allows, policies } = details;
    let yes = [
        ("signing_room", allows.signing_room),
        ("users", allows.users),
        ("api", allows.api),
        ("allowlists", allows.allowlists),
    ];
    let allowed: Vec<_> = yes.into_iter().filter(|(_, allowed)| *allowed).map(|(name, _)| name).collect();
    let from = if tenant.allowlist.is_empty() { "everywhere".to_owned() } else { tenant.allowlist.join(", ") };
    output::pairs(&[
        ("tenant", tenant.id.clone()),
        ("name", output::plain(&tenant.name)),
        ("tier", format!("{}: {}", tenant.tier, allowed.join(", "))),
        ("status", tenant.status.clone()),
        ("calls from", format!("{from} ({})", tenant.allowlist_mode)),
        ("keys may manage identity", policies.keys_may_manage_identity.to_string()),
        ("greatest age of keys", rules(&policies.key_max_age)),
        ("rotation of secrets", rules(&policies.key_rotation)),
        ("idle keys", policies.idle_key_days.map_or("never".to_owned(), |days| format!("after {days} days"))),
        ("leaked keys", if policies.leaks.revoke { "are revoked" } else { "are reported" }.to_owned()),
    ]);
}

fn rules(rules: &ByEnvironment<AgeRule>) -> String {
    let all = [("development", &rules.development), ("staging", &rules.staging), ("production", &rules.production)];
    let words = all.map(|(environment, rule)| match rule.mode.as_str() {
        "off" => format!("{environment} off"),
        mode => format!("{environment} {mode} at {} days", rule.days),
    });
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_whole_or_in_part() {
        let change = |mode: Option<&str>, days| ChangeAge { mode: mode.map(str::to_owned), days };
        for (text, want) in [
            ("production=enforce:90", (Environment::Production, change(Some("enforce"), Some(90)))),
            ("staging=off", (Environment::Staging, change(Some("off"), None))),
            ("development=30", (Environment::Development, change(None, Some(30)))),
        ] {
            assert_eq!(rule(text), Ok(want), "{text}");
        }
        for text in ["", "production", "production=", "live=off", "production=warn:soon"] {
            assert!(rule(text).is_err(), "{text}");
        }
    }
}
