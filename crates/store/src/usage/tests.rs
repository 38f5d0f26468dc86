//! Telemetry's statements on both engines: what several nodes write adds up, and what is old goes.

use model::key::{Draft, Key, Maker};
use model::tenant::{Tenant, Tier};
use model::user::User;
use model::{Environment, Role, TenantScope, UserId, caller::Actor, time::HOUR_MS};

use super::*;
use crate::testing::engines;
use crate::tests::Counting;

static RANDOM: Counting = Counting(std::sync::atomic::AtomicU64::new(1));
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

async fn add_key(tx: &mut Tx) -> (EnvScope, KeyId, SecretId) {
    let tenant = Tenant::create(model::Id::new(NOW, &RANDOM), "Acme", Tier::Standard, NOW).expect("a tenant");
    crate::tenant::insert(tx, &tenant).await.expect("written");
    let scope = TenantScope { tenant: tenant.id };
    let id = UserId::new(NOW, &RANDOM);
    let owner = User::create(id, scope, ("ada@example.com", "Ada"), Role::Owner, NOW).expect("a user");
    assert!(crate::user::insert(tx, &owner, None).await.expect("written"));
    let scope = EnvScope { tenant: tenant.id, environment: Environment::Development };
    let wanted = Draft { label: "Invoices".to_owned(), ..Draft::default() }.read(NOW).expect("a key");
    let maker = Maker::Person { actor: &Actor::User { id: owner.id }, administrator: owner.id };
    let (key, secret, ..) = Key::create(scope, wanted, maker, NOW, &RANDOM).expect("a key");
    crate::key::insert(tx, &key, &secret).await.expect("written");
    (scope, key.id, secret.id)
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn calls(hour: i64, status: u16, count: u64) -> Calls {
    Calls { hour: NOW.plus(hour * HOUR_MS), route: "GET /v1/me".into(), status, count }
}

fn seen(last: u8, from: i64, to: i64, count: u64) -> Seen {
    Seen { address: address(last), first_at: NOW.plus(from), last_at: NOW.plus(to), count }
}

fn refusal(at: i64, code: &'static str) -> Refusal {
    Refusal {
        at: NOW.plus(at),
        code: code.into(),
        was_refused: code != "observed",
        was_cut: false,
        address: address(1),
        user_agent: "curl/8".to_owned(),
        route: "GET /v1/me".into(),
        request_id: format!("req_{at:04}"),
    }
}

fn passed(at: i64, request: &str) -> Option<LastPass> {
    let request_id = request.to_owned();
    Some(LastPass { at: NOW.plus(at), address: address(1), route: "GET /v1/me".into(), request_id })
}

#[tokio::test]
async fn what_several_nodes_write_adds_up() {
    for engine in engines().await {
        let mut tx = engine.db.begin().await.expect("begins");
        let (scope, key, secret) = add_key(&mut tx).await;
        let used = LastUse {
            secret,
            key,
            at: NOW.plus(7),
            address: address(1),
            user_agent: "curl/8".to_owned(),
            route: "GET /v1/me",
        };
        let one = Notes {
            uses: vec![used],
            passed: passed(7, "req_7"),
            calls: vec![calls(0, 200, 3), calls(0, 403, 1), calls(1, 200, 5)],
            addresses: vec![seen(1, 0, 7, 3), seen(2, 3, 3, 1)],
            refusals: vec![refusal(1, "scope_required"), refusal(1, "observed")],
        };
        let other = Notes {
            uses: Vec::new(),
            passed: passed(5, "req_5"),
            calls: vec![calls(0, 200, 2)],
            addresses: vec![seen(1, -5, 3, 2)],
            refusals: (2..150).map(|at| refusal(at, "rate_limited")).collect(),
        };
        for notes in [one, other] {
            write(&mut tx, &[(key, notes)]).await.expect("written");
        }
        assert_eq!(last_pass(&mut tx, scope, key).await.expect("asked"), passed(7, "req_7"), "{}", engine.engine);
        let (from, to) = (NOW, NOW.plus(2 * HOUR_MS));
        let by_hour = hours(&mut tx, scope, key, from, to).await.expect("asked");
        assert_eq!(
            by_hour,
            [Hour { hour: NOW, calls: 6, failed: 1 }, Hour { hour: NOW.plus(HOUR_MS), calls: 5, failed: 0 }],
            "{}",
            engine.engine
        );
        assert_eq!(hours(&mut tx, scope, key, from, NOW.plus(HOUR_MS)).await.expect("asked").len(), 1);
        let by_route = routes(&mut tx, scope, key, from, to).await.expect("asked");
        assert_eq!(by_route, [calls(1, 200, 10), calls(0, 403, 1)], "{}", engine.engine);
        let first = addresses(&mut tx, scope, key, None, 1).await.expect("asked");
        assert_eq!(first, [seen(1, -5, 7, 5)], "{}", engine.engine);
        let after = Some((first[0].last_at, first[0].address));
        assert_eq!(addresses(&mut tx, scope, key, after, 5).await.expect("asked"), [seen(2, 3, 3, 1)]);
        let refused = refusals(&mut tx, scope, key).await.expect("asked");
        assert_eq!(refused.len(), 100, "{}", engine.engine);
        assert_eq!((refused[0].at, refused[99].at), (NOW.plus(149), NOW.plus(50)), "the last ones are kept");
        let rows = sql("SELECT count(*) AS rows FROM key_refusals").one(&mut tx).await.expect("counted");
        assert_eq!(rows.get::<i64>("rows").expect("a number"), 100);
        let elsewhere = EnvScope { environment: Environment::Production, ..scope };
        assert_eq!(hours(&mut tx, elsewhere, key, from, to).await.expect("asked"), []);
        assert_eq!(routes(&mut tx, elsewhere, key, from, to).await.expect("asked"), []);
        assert_eq!(addresses(&mut tx, elsewhere, key, None, 5).await.expect("asked"), []);
        assert_eq!(refusals(&mut tx, elsewhere, key).await.expect("asked"), []);
        assert_eq!(last_pass(&mut tx, elsewhere, key).await.expect("asked"), None);
    }
}

#[tokio::test]
async fn what_is_old_goes_and_of_very_many_addresses_the_last_stay() {
    for engine in engines().await {
        let mut tx = engine.db.begin().await.expect("begins");
        let (scope, key, _) = add_key(&mut tx).await;
        let many = (0..1_010_u16).map(|number| Seen {
            address: IpAddr::from([10, 0, number.to_be_bytes()[0], number.to_be_bytes()[1]]),
            ..seen(0, i64::from(number), i64::from(number), 1)
        });
        let notes = Notes {
            calls: vec![calls(-2, 200, 1), calls(0, 200, 1)],
            addresses: many.chain([seen(9, -9, -1, 4)]).collect(),
            refusals: vec![refusal(-1, "observed")],
            ..Notes::default()
        };
        write(&mut tx, &[(key, notes)]).await.expect("written");
        prune(&mut tx, NOW).await.expect("pruned");
        let left = hours(&mut tx, scope, key, NOW.plus(-9 * HOUR_MS), NOW.plus(HOUR_MS)).await.expect("asked");
        assert_eq!(left, [Hour { hour: NOW, calls: 1, failed: 0 }], "{}", engine.engine);
        let row = sql("SELECT count(*) AS rows, min(last_at) AS first FROM key_addresses").one(&mut tx).await;
        let row = row.expect("counted");
        assert_eq!(row.get::<i64>("rows").expect("a number"), 1_000, "{}", engine.engine);
        assert_eq!(row.get::<Timestamp>("first").expect("a time"), NOW.plus(10));
        assert_eq!(refusals(&mut tx, scope, key).await.expect("asked").len(), 1);
    }
}

#[tokio::test]
async fn a_node_that_lives_is_waited_for_and_a_silent_one_is_not() {
    for engine in engines().await {
        let mut tx = engine.db.begin().await.expect("begins");
        assert_eq!(written_until(&mut tx).await.expect("asked"), None, "{}", engine.engine);
        let (one, other) = (node_name(&mut tx).await.expect("a name"), node_name(&mut tx).await.expect("a name"));
        assert_ne!(one, other);
        node_written(&mut tx, &one, NOW.plus(5)).await.expect("written");
        node_written(&mut tx, &other, NOW.plus(9)).await.expect("written");
        assert_eq!(written_until(&mut tx).await.expect("asked"), Some(NOW.plus(5)), "{}", engine.engine);
        node_written(&mut tx, &one, NOW.plus(12)).await.expect("written");
        assert_eq!(written_until(&mut tx).await.expect("asked"), Some(NOW.plus(9)), "{}", engine.engine);
        sql("UPDATE nodes SET seen_at = seen_at - 30001 WHERE id = $1").bind(&other).run(&mut tx).await.expect("aged");
        assert_eq!(written_until(&mut tx).await.expect("asked"), Some(NOW.plus(12)), "{}", engine.engine);
        node_ended(&mut tx, &one).await.expect("ended");
        assert_eq!(written_until(&mut tx).await.expect("asked"), None, "{}", engine.engine);
    }
}
