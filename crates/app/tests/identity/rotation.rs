//! Rotations, ages and what is told of them, with the clock moved, on both engines.

use app::rotation::RotatedKey;
use model::key::LastUse;
use model::rotation::Draft as Rotation;
use model::time::{DAY_MS, HOUR_MS};

use super::*;

async fn rotate(house: &House, id: KeyId, rotation: &Rotation) -> RotatedKey {
    let pass = Pass::operator(house.development());
    house.app.rotate_key(&pass, id, rotation, &Once::unclaimed()).await.expect("rotated")
}

/// A request as the server lets it in: a first use is put on record before it goes on.
async fn use_it(house: &House, key: &SecretKey) -> Result<Pass, Problem> {
    let pass = house.admit(key, Rule::AnyKey).await?;
    if pass.is_first_use() {
        house.app.note_first_use(&pass).await?;
    }
    Ok(pass)
}

async fn statuses(house: &House, id: KeyId) -> Vec<SecretStatus> {
    let pass = Pass::operator(house.development());
    let details = house.app.get_key(&pass, id).await.expect("the key");
    details.secrets.iter().map(|secret| secret.status).collect()
}

async fn events(house: &House, kinds: &[&str]) -> Vec<String> {
    let filter = app::event::Filter::default();
    let pass = Pass::operator(house.development());
    let read = house.app.events(&pass, 0, &filter, 500, None, std::future::pending()).await.expect("events");
    read.events.into_iter().map(|event| event.kind).filter(|kind| kinds.contains(&kind.as_str())).collect()
}

async fn run(house: &House, text: store::Query) {
    let mut tx = house.app.db.begin().await.expect("begins");
    text.run(&mut tx).await.expect("run");
    tx.commit().await.expect("commits");
}

fn grace(text: &str) -> Rotation {
    Rotation { grace_period: Some(text.to_owned()), ..Rotation::default() }
}

#[tokio::test]
async fn an_old_secret_that_has_ended_stays_dead_when_the_clock_is_set_back() {
    for house in House::both(Tier::Standard).await {
        let (id, old) = house.key(labelled("Rotated")).await;
        let new = rotate(&house, id, &grace("PT1H")).await.secret.expect("a secret");
        use_it(&house, &new).await.expect("admitted");
        assert_eq!(statuses(&house, id).await, [SecretStatus::Ending, SecretStatus::Current], "{}", house.engine);
        house.app.finish_rotations().await.expect("swept");
        assert_eq!(house.refusal(&old).await, None, "its time is not over");
        run(&house, sql("UPDATE secrets SET ends_at = 1 WHERE key_id = $1 AND status = 'ending'").bind(id)).await;
        assert_eq!(house.refusal(&old).await, Some(Code::RotatedSecret), "{}", house.engine);
        house.app.finish_rotations().await.expect("swept");
        house.app.finish_rotations().await.expect("swept once more");
        run(&house, sql("UPDATE secrets SET ends_at = 4000000000000 WHERE key_id = $1 AND status = 'dead'").bind(id))
            .await;
        assert_eq!(house.refusal(&old).await, Some(Code::RotatedSecret), "{}", house.engine);
        assert_eq!(house.refusal(&new).await, None);
        let told = events(&house, &["key.rotation_started", "key.rotated", "key.rotation_finished"]).await;
        assert_eq!(told, ["key.rotation_started", "key.rotated", "key.rotation_finished"], "{}", house.engine);
    }
}

#[tokio::test]
async fn an_old_secret_ends_when_it_is_silent_on_every_node() {
    for house in House::both(Tier::Standard).await {
        let (id, old) = house.key(labelled("Silent")).await;
        let silent =
            Rotation { finish: Some("when_silent".to_owned()), silent_for: Some("PT1H".to_owned()), ..grace("P7D") };
        let new = rotate(&house, id, &silent).await.secret.expect("a secret");
        use_it(&house, &new).await.expect("admitted");
        house.app.finish_rotations().await.expect("swept");
        assert_eq!(house.refusal(&old).await, None, "{}: it was not silent for an hour", house.engine);
        // As it looks two hours after the first use of the new one, to a node that has written everything.
        let longer =
            sql("UPDATE secrets SET first_used_at = first_used_at - $2 WHERE key_id = $1 AND status = 'current'");
        run(&house, longer.bind(id).bind(2 * HOUR_MS)).await;
        run(
            &house,
            sql("UPDATE secrets SET created_at = created_at - $2 WHERE key_id = $1").bind(id).bind(2 * HOUR_MS),
        )
        .await;
        run(&house, sql("DELETE FROM key_uses WHERE key_id = $1").bind(id)).await;
        // Another node says that what it noted in the last hour is not written yet.
        let behind = store::sql(
            "INSERT INTO nodes (id, started_at, seen_at, written_at)
            SELECT 'slow', 0, 4000000000000, first_used_at
            FROM secrets
            WHERE key_id = $1 AND status = 'current'",
        );
        run(&house, behind.bind(id)).await;
        house.app.finish_rotations().await.expect("swept");
        assert_eq!(house.refusal(&old).await, None, "{}: a node's uses are not known", house.engine);
        run(&house, sql("DELETE FROM nodes")).await;
        run(&house, sql("DELETE FROM key_uses WHERE key_id = $1").bind(id)).await;
        house.app.finish_rotations().await.expect("swept");
        assert_eq!(house.refusal(&old).await, Some(Code::RotatedSecret), "{}", house.engine);
        assert_eq!(house.refusal(&new).await, None);
    }
}

#[tokio::test]
async fn a_new_secret_is_the_current_one_only_after_its_first_use() {
    for house in House::both(Tier::Standard).await {
        let (id, old) = house.key(labelled("Slow")).await;
        let first = rotate(&house, id, &Rotation::default()).await;
        assert!(rotate(&house, id, &Rotation::default()).await.secret.is_none(), "it waits already");
        assert_eq!(statuses(&house, id).await, [SecretStatus::Current, SecretStatus::Pending], "{}", house.engine);
        let new = first.secret.expect("a secret");
        // Two at the same moment, admitted before either is on record.
        let (one, two) = (house.pass(&new).await, house.pass(&new).await);
        assert!(one.is_first_use() && two.is_first_use());
        let (a, b) = tokio::join!(house.app.note_first_use(&one), house.app.note_first_use(&two));
        assert_eq!((a, b), (Ok(()), Ok(())));
        assert_eq!(events(&house, &["key.rotated"]).await.len(), 1, "{}", house.engine);
        assert!(!house.pass(&new).await.is_first_use());
        assert!(house.pass(&old).await.endings().old_secret.flatten().is_some());
        assert_eq!(house.pass(&new).await.endings().old_secret, None);
        // One that nobody uses ends after seven days.
        let replace = Rotation { replace: true, ..Rotation::default() };
        let never = rotate(&house, id, &replace).await.secret.expect("a secret");
        assert_eq!(house.refusal(&old).await, Some(Code::RotatedSecret), "replaced");
        run(&house, sql("UPDATE secrets SET ends_at = 1 WHERE key_id = $1 AND status = 'pending'").bind(id)).await;
        assert_eq!(house.refusal(&never).await, Some(Code::RotatedSecret), "{}", house.engine);
        house.app.finish_rotations().await.expect("swept");
        let want = [SecretStatus::Dead, SecretStatus::Current, SecretStatus::Dead];
        assert_eq!(statuses(&house, id).await, want, "{}", house.engine);
        assert_eq!(house.refusal(&new).await, None);
    }
}

#[tokio::test]
async fn a_first_use_of_a_secret_that_was_replaced_meanwhile_is_refused() {
    for house in House::both(Tier::Standard).await {
        let (id, _) = house.key(labelled("Raced")).await;
        let new = rotate(&house, id, &Rotation::default()).await.secret.expect("a secret");
        let admitted = house.pass(&new).await;
        let replace = Rotation { replace: true, ..Rotation::default() };
        rotate(&house, id, &replace).await;
        let late = house.app.note_first_use(&admitted).await;
        assert_eq!(late.map_err(|refusal| refusal.code), Err(Code::RotatedSecret), "{}", house.engine);
    }
}

#[tokio::test]
async fn a_program_that_rotates_without_end_keeps_its_secret() {
    for house in House::both(Tier::Standard).await {
        let (id, key) = house.key(labelled("Loop")).await;
        let replace = Rotation { replace: true, ..Rotation::default() };
        let mut last = None;
        for _ in 0..80 {
            last = rotate(&house, id, &replace).await.secret;
        }
        assert_eq!(house.refusal(&key).await, None, "{}", house.engine);
        assert_eq!(
            statuses(&house, id).await.len(),
            52,
            "one current, one pending, the last dead ones: {}",
            house.engine
        );
        assert!(use_it(&house, &last.expect("a secret")).await.is_ok());
        assert_eq!(house.refusal(&key).await, None, "{}", house.engine);
    }
}

#[tokio::test]
async fn an_enforced_age_ends_the_secret_and_a_rotation_revives_the_key() {
    for house in House::both(Tier::Standard).await {
        let (id, old) = house.key(labelled("Old")).await;
        let policies = r#"{"key_max_age": {"development": {"mode": "enforce", "days": 30}}}"#;
        run(&house, sql("UPDATE tenants SET policies = $2 WHERE id = $1").bind(house.tenant).bind(policies)).await;
        assert_eq!(house.refusal(&old).await, None, "{}", house.engine);
        let earlier = sql("UPDATE secrets SET created_at = created_at - $2 WHERE key_id = $1");
        run(&house, earlier.bind(id).bind(20 * DAY_MS)).await;
        let ends = house.pass(&old).await.endings().key.expect("within 14 days");
        assert!(ends > house.app.now() && ends <= house.app.now().plus(10 * DAY_MS), "{ends}");
        let earlier = sql("UPDATE secrets SET created_at = created_at - $2 WHERE key_id = $1");
        run(&house, earlier.bind(id).bind(11 * DAY_MS)).await;
        assert_eq!(house.refusal(&old).await, Some(Code::ExpiredKey), "{}", house.engine);
        let operator = Pass::operator(house.development());
        let listed = async |status| {
            let filter = Filter { status: Some(status), ..Filter::default() };
            house.app.list_keys(&operator, filter, None, 10).await.expect("a list").len()
        };
        assert_eq!((listed(KeyStatus::Expired).await, listed(KeyStatus::Active).await), (1, 0), "{}", house.engine);
        let new = rotate(&house, id, &Rotation::default()).await.secret.expect("a secret");
        use_it(&house, &new).await.expect("admitted");
        assert_eq!((listed(KeyStatus::Expired).await, listed(KeyStatus::Active).await), (0, 1), "{}", house.engine);
        assert_eq!(house.refusal(&old).await, Some(Code::ExpiredKey), "the old one has no grace beyond its age");
    }
}

#[tokio::test]
async fn what_ends_is_told_at_30_14_7_and_1_days_once_each_by_mail_and_event() {
    for house in House::both(Tier::Standard).await {
        let end = house.app.now().plus(40 * DAY_MS);
        let (_, key) = house.key(Draft { expires_at: Some(end.to_string()), ..labelled("Ends") }).await;
        let mut told = Vec::new();
        for day in 0..40 {
            for _ in 0..2 {
                house.app.tell_of_keys().await.expect("told");
            }
            let count = events(&house, &["key.expiring"]).await.len();
            if told.last().is_none_or(|(_, before)| *before != count) {
                told.push((day, count));
            }
            house.clock.advance(DAY_MS);
        }
        assert_eq!(told, [(0, 0), (10, 1), (26, 2), (33, 3), (39, 4)], "{}", house.engine);
        assert_eq!(mails(&house, "key_expiring").await, 4, "one each to the key's administrator: {}", house.engine);
        assert_eq!(house.refusal(&key).await, None, "the gate asks the database's clock, which stands");
        // Nobody has used it for 90 days, and it was not rotated either: once each.
        house.key(labelled("Forgotten")).await;
        for _ in 0..3 {
            house.clock.advance(45 * DAY_MS);
            house.app.tell_of_keys().await.expect("told");
        }
        assert_eq!(
            (mails(&house, "key_idle").await, mails(&house, "key_rotation_due").await),
            (1, 1),
            "{}",
            house.engine
        );
        let all = events(&house, &["key.idle", "key.rotation_due", "key.expiring"]).await;
        assert_eq!(all.len(), 6, "{all:?}");
    }
}

async fn mails(house: &House, purpose: &str) -> i64 {
    let mut tx = house.app.read().await.expect("reads");
    let count = sql("SELECT count(*) AS n FROM notices WHERE tenant_id = $1 AND purpose = $2");
    let row = count.bind(house.tenant).bind(purpose).one(&mut tx).await.expect("a row");
    row.get("n").expect("a number")
}

#[tokio::test]
async fn the_last_use_is_kept_for_each_secret() {
    for house in House::both(Tier::Standard).await {
        let (id, old) = house.key(labelled("Both")).await;
        let new = rotate(&house, id, &grace("PT1H")).await.secret.expect("a secret");
        use_it(&house, &new).await.expect("admitted");
        use_it(&house, &old).await.expect("admitted");
        house.app.gate.shutdown().await;
        let details = house.app.get_key(&Pass::operator(house.development()), id).await.expect("the key");
        let used = |used: &LastUse| details.secrets.iter().position(|secret| secret.id == used.secret);
        let mut places: Vec<_> = details.uses.iter().filter_map(used).collect();
        places.sort_unstable();
        assert_eq!(places, [0, 1], "{}", house.engine);
    }
}

#[tokio::test]
async fn secrets_that_nobody_swept_are_dead_and_end_at_once() {
    for house in House::both(Tier::Standard).await {
        let (id, _) = house.key(labelled("Rotated often")).await;
        for turn in 1..=3 {
            let new = rotate(&house, id, &grace("PT1H")).await.secret.expect("a secret");
            use_it(&house, &new).await.expect("admitted");
            let over = sql("UPDATE secrets SET ends_at = created_at WHERE key_id = $1 AND status = 'ending'").bind(id);
            run(&house, over).await;
            // Shown as it is, before anybody has put it on record; and a rotation puts on record what came before it.
            let shown = house.app.get_key(&Pass::operator(house.development()), id).await.expect("the key");
            let at: Vec<_> = shown.secrets.iter().map(|secret| secret.status_at(shown.at)).collect();
            let mut want = vec![SecretStatus::Dead; turn];
            want.push(SecretStatus::Current);
            assert_eq!(at, want, "{}", house.engine);
            want[turn - 1] = SecretStatus::Ending;
            assert_eq!(statuses(&house, id).await, want, "{}", house.engine);
        }
        // As an earlier version left them.
        run(&house, sql("UPDATE secrets SET status = 'ending' WHERE key_id = $1 AND status = 'dead'").bind(id)).await;
        house.app.finish_rotations().await.expect("swept");
        let dead = statuses(&house, id).await.into_iter().filter(|status| *status == SecretStatus::Dead).count();
        assert_eq!(dead, 3, "{}: one sweep ends them all", house.engine);
    }
}
