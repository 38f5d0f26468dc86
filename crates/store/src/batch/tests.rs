//! Batches and their rows on both engines: a put takes effect whole or not at all, and rows are found by their state.

use model::{
    EnvScope, Environment, Id, Timestamp,
    batch::{Batch, BatchStatus, NewBatch, OnInvalid, RowStatus, Rows},
    caller::Actor,
    envelope::TemplateRef,
    row::{CellError, Defaults, Given},
};

use super::*;
use crate::testing::engines;
use crate::tests::Counting;

static RANDOM: Counting = Counting(std::sync::atomic::AtomicU64::new(7_000_000));

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + ms)
}

async fn open(tx: &mut Tx) -> Batch {
    let scope = EnvScope { tenant: Id::new(at(0), &RANDOM), environment: Environment::Staging };
    sql("INSERT INTO tenants (id, name, tier, status, allowlist, policies, created_at, version)
        VALUES ($1, 'T', 'standard', 'active', '[]', '{}', 0, 1)")
    .bind(scope.tenant)
    .run(tx)
    .await
    .expect("a tenant");
    let template = TemplateRef { id: Id::new(at(0), &RANDOM), version: 1 };
    sql("INSERT INTO templates (id, tenant_id, environment, name, latest, created_at, version)
        VALUES ($1, $2, $3, 'T', 1, 0, 1)")
    .bind(template.id)
    .bind(scope.tenant)
    .bind(scope.environment)
    .run(tx)
    .await
    .expect("a template");
    let new = NewBatch {
        name: "June".to_owned(),
        template,
        defaults: Defaults::default(),
        on_invalid: OnInvalid::Skip,
        send_rate_per_minute: Some(60),
        start_at: Some(at(9)),
    };
    let (batch, _) = Batch::create(Id::new(at(0), &RANDOM), scope, new, Actor::System, at(0)).expect("a batch");
    insert(tx, &batch).await.expect("inserted");
    batch
}

fn row(number: i64, external_id: Option<&str>, errors: &[&str]) -> NewRow {
    NewRow {
        number,
        line: number + 1,
        external_id: external_id.map(str::to_owned),
        given: Given::Cells(vec![format!("row {number}"), "\u{0}\"é".to_owned()]),
        errors: errors.iter().map(|code| CellError::new("Client.email", code, "No.")).collect(),
    }
}

#[tokio::test]
async fn a_batch_is_read_as_it_was_written_and_seen_in_its_own_scope_alone() {
    for engine in engines().await {
        let mut tx = engine.db.begin().await.expect("begins");
        let mut batch = open(&mut tx).await;
        assert_eq!(get(&mut tx, batch.scope, batch.id).await.expect("read"), Some(batch.clone()));
        let stale = batch.clone();
        batch
            .put(Rows { generation: 1, total: 3, valid: 2, invalid: 1 }, Some(vec!["a".to_owned()]), at(1))
            .expect("put");
        save(&mut tx, &mut batch).await.expect("saved");
        assert_eq!(lock(&mut tx, batch.scope, batch.id).await.expect("read"), Some(batch.clone()));
        assert!(matches!(save(&mut tx, &mut stale.clone()).await, Err(StoreError::Conflict(_))));
        let other = EnvScope { environment: Environment::Production, ..batch.scope };
        assert_eq!(get(&mut tx, other, batch.id).await.expect("read"), None);
        let ready = Some(BatchStatus::Ready);
        assert_eq!(list(&mut tx, batch.scope, ready, None, 5).await.expect("read"), [batch.clone()]);
        assert_eq!(list(&mut tx, batch.scope, None, Some(batch.id), 5).await.expect("read"), []);
        assert_eq!(list(&mut tx, batch.scope, Some(BatchStatus::Open), None, 5).await.expect("read"), []);
    }
}

#[tokio::test]
async fn rows_take_effect_when_their_put_is_complete() {
    for engine in engines().await {
        let mut tx = engine.db.begin().await.expect("begins");
        let mut batch = open(&mut tx).await;
        let (scope, id) = (batch.scope, batch.id);
        let first = [row(1, Some("A"), &[]), row(2, None, &["malformed"]), row(3, Some("B"), &[])];
        assert!(insert_rows(&mut tx, scope, id, 1, &first).await.expect("inserted"));
        assert_eq!(rows(&mut tx, scope, id, None, 0, 10).await.expect("read"), []);
        assert_eq!(repeated(&mut tx, scope, id, 1, &["B", "C"]).await.expect("read"), ["B"]);
        batch.begin_put().expect("open");
        batch.put(Rows { generation: 1, total: 3, valid: 2, invalid: 1 }, None, at(1)).expect("put");
        save(&mut tx, &mut batch).await.expect("saved");
        let numbers = |rows: Vec<BatchRow>| rows.iter().map(|row| row.number).collect::<Vec<_>>();
        assert_eq!(numbers(rows(&mut tx, scope, id, None, 1, 10).await.expect("read")), [2, 3]);
        assert_eq!(numbers(rows(&mut tx, scope, id, Some(RowStatus::Valid), 0, 10).await.expect("read")), [1, 3]);
        let faulty = faulty_rows(&mut tx, scope, id, Some(RowStatus::Invalid), 0, 10).await.expect("read");
        assert_eq!((faulty[0].number, &faulty[0].given, &faulty[0].errors), (2, &first[1].given, &first[1].errors));
        // A put that comes late writes nothing, and what it wrote before goes away in pieces.
        assert!(!insert_rows(&mut tx, scope, id, 1, &[row(4, None, &[])]).await.expect("asked"));
        assert!(insert_rows(&mut tx, scope, id, 2, &first).await.expect("inserted"));
        assert!(!delete_rows(&mut tx, scope, id, 0..=9).await.expect("deleted"));
        assert_eq!(numbers(rows(&mut tx, scope, id, None, 0, 10).await.expect("read")), [1, 2, 3]);
        assert_eq!(repeated(&mut tx, scope, id, 2, &["A"]).await.expect("read"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn rows_come_in_order_and_failures_are_kept() {
    for engine in engines().await {
        let mut tx = engine.db.begin().await.expect("begins");
        let mut batch = open(&mut tx).await;
        let (scope, id) = (batch.scope, batch.id);
        let first: Vec<_> = (1..=6).map(|number| row(number, None, if number == 2 { &["x"] } else { &[] })).collect();
        assert!(insert_rows(&mut tx, scope, id, 1, &first).await.expect("inserted"));
        batch.put(Rows { generation: 1, total: 6, valid: 5, invalid: 1 }, None, at(1)).expect("put");
        save(&mut tx, &mut batch).await.expect("saved");
        let next = next_rows(&mut tx, &batch, 3).await.expect("read");
        assert_eq!(next.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!(next[1].1, first[2].given);
        fail_rows(&mut tx, &batch, &[(3, vec![CellError::new("external_id", "external_id_taken", "Taken.")])])
            .await
            .expect("failed");
        batch.next_row = 5;
        let next = next_rows(&mut tx, &batch, 3).await.expect("read");
        assert_eq!(next.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [5, 6]);
        let faulty = faulty_rows(&mut tx, scope, id, None, 0, 10).await.expect("read");
        let faulty: Vec<_> = faulty.iter().map(|row| (row.number, row.status, row.errors[0].code.as_str())).collect();
        assert_eq!(faulty, [(2, RowStatus::Invalid, "x"), (3, RowStatus::Failed, "external_id_taken")]);
        assert_eq!(counts(&mut tx, scope, id).await.expect("counted"), Counts::default());
        assert_eq!(taken(&mut tx, scope, &["A"]).await.expect("read"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn who_is_gone_while_a_transaction_begins_leaves_none_open() {
    for engine in engines().await {
        for us in (0..1_500).step_by(10) {
            let begin = async { engine.db.begin().await.map(drop) };
            let _ = tokio::time::timeout(std::time::Duration::from_micros(us), begin).await;
        }
        for _ in 0..20 {
            // A transaction that was left open would refuse another isolation level.
            drop(engine.db.read().await.expect("begins anew"));
        }
    }
}
