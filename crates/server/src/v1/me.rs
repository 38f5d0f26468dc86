//! `/v1/me`: who the calling key is.

use std::sync::Arc;

use app::{App, key::Me};
use axum::{extract::State, response::Response};
use model::{Timestamp, caller::Who, key::LastUse, tenant::Tenant, user::User};

use crate::{gatekeeper::Pass, json, problem::Answer, v1::key, written};

/// This route, as last uses name it.
const ROUTE: &str = "GET /v1/me";
/// What stands for the answer's last value, the address, while it is kept.
const NO_ADDRESS: &str = "null}";
/// Characters of an address in the answer, with what stands about it.
const ADDRESS_CHARS_MAX: usize = 48;

/// Who am I?
///
/// The calling key with its rights, its tenant and administrator, and the address that the call was seen to come from:
/// what to call first when something is refused. The last use of the secret that asks is this very call.
#[utoipa::path(get, path = "/v1/me", tag = "Who am I",
    responses((status = 200, body = api::me::Me, description = "The calling key.")))]
pub async fn get(State(app): State<App>, pass: Pass) -> Answer<Response> {
    let now = app.clock.now();
    // No route is asked more often than this, so all of the answer that stays is kept for the next time.
    let pieces = match pass.kept(now) {
        Some(pieces) => pieces,
        None => {
            // Boxed, as it is rare: every call would carry its room along.
            let pieces = pieces(&pass, Box::pin(app.me(&pass)).await?);
            pass.keep(now, pieces.clone());
            pieces
        }
    };
    let mut address = String::with_capacity(ADDRESS_CHARS_MAX);
    if let Some(seen) = pass.caller().address {
        written::address(&mut address, seen.to_canonical());
    }
    let this = api::key::LastUse {
        at: now.to_string(),
        address,
        user_agent: pass.caller().user_agent.clone().unwrap_or_default(),
        route: ROUTE.to_owned(),
    };
    let used = json::text(&this);
    let kept: usize = pieces.iter().map(String::len).sum();
    let mut text = String::with_capacity(kept + pieces.len() * used.len() + ADDRESS_CHARS_MAX);
    for (place, piece) in pieces.iter().enumerate() {
        text.push_str(if place > 0 { &used } else { "" });
        text.push_str(piece);
    }
    // An address has nothing that JSON would write otherwise.
    for part in if this.address.is_empty() { ["null", "", "}"] } else { ["\"", &this.address, "\"}"] } {
        text.push_str(part);
    }
    Ok(json::response(text.into()))
}

/// The answer without what each call changes: between the pieces stands the use of the secret that asks, behind them the
/// address. What stands for them can't be met within a text of somebody's: JSON writes its quotes otherwise.
fn pieces(pass: &Pass, mut me: Me) -> Arc<[String]> {
    if let Who::Key { secret, .. } = pass.caller().who {
        me.key.uses.retain(|used| used.secret != secret);
        me.key.uses.push(blank(secret));
        let shown = json::text(&show(&me));
        let shown = shown.strip_suffix(NO_ADDRESS).unwrap_or(&shown);
        let mark = json::text(&key::show_use(&blank(secret)));
        return shown.split(&mark).map(str::to_owned).collect();
    }
    Arc::default()
}

fn blank(secret: model::SecretId) -> LastUse {
    let (at, address) = (Timestamp::from_millis(0), String::new());
    LastUse { secret, at, address, user_agent: String::new(), route: String::new() }
}

/// The key with all that it is told but its address.
fn show(me: &Me) -> api::me::Me {
    api::me::Me {
        key: key::show(&me.key),
        tenant: show_tenant(&me.tenant),
        administrator: show_user(&me.administrator),
        address: None,
    }
}

/// A tenant as the wire has it.
pub(crate) fn show_tenant(tenant: &Tenant) -> api::user::Tenant {
    api::user::Tenant {
        id: tenant.id.to_string(),
        name: tenant.name.clone(),
        tier: tenant.tier.to_string(),
        status: tenant.status.to_string(),
        allowlist: tenant.allowlist.entries(),
        allowlist_mode: tenant.allowlist_mode.to_string(),
        created_at: tenant.created_at.to_string(),
    }
}

/// A user as the wire has it.
pub(crate) fn show_user(user: &User) -> api::user::User {
    api::user::User {
        id: user.id.to_string(),
        email: user.email.clone(),
        name: user.name.clone(),
        role: user.role.to_string(),
        status: user.status.to_string(),
        created_at: user.created_at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::House;
    use serde_json::Value;
    use store::sql;

    async fn me(house: &House, agent: &str) -> Value {
        let answer = house.get("/v1/me").header("user-agent", agent).send().await.expect("answers");
        assert_eq!(answer.status(), 200);
        answer.json().await.expect("JSON")
    }

    async fn rename(house: &House, label: &str) {
        let mut tx = house.db().begin().await.expect("begins");
        sql("UPDATE keys SET label = $1").bind(label).run(&mut tx).await.expect("runs");
        tx.commit().await.expect("commits");
    }

    #[tokio::test]
    async fn what_is_kept_of_the_answer_is_as_it_was_just_read() {
        let house = House::new().await;
        let first = me(&house, "first/1.0").await;
        for agent in ["second/1.0", "a \"third\" one \\"] {
            let mut again = me(&house, agent).await;
            let used = again["key"]["last_used"].clone();
            assert_eq!((&used["user_agent"], &used["route"]), (&agent.into(), &"GET /v1/me".into()));
            assert_eq!((&used["address"], &again["address"]), (&"127.0.0.1".into(), &"127.0.0.1".into()));
            assert_eq!(again["key"]["secrets"][0]["last_used"], used);
            // All else is the same.
            again["key"]["last_used"] = first["key"]["last_used"].clone();
            again["key"]["secrets"][0]["last_used"] = first["key"]["last_used"].clone();
            assert_eq!(again, first);
        }
    }

    #[tokio::test]
    async fn a_change_by_hand_shows_in_the_next_answer_whatever_the_text_says() {
        let house = House::new().await;
        let marks = r#"{"at":"1970-01-01T00:00:00.000Z","address":"","user_agent":"","route":""} null}"#;
        for label in ["one", marks, "two"] {
            rename(&house, label).await;
            for _ in 0..2 {
                assert_eq!(me(&house, "a/1").await["key"]["label"], label);
            }
        }
    }
}
