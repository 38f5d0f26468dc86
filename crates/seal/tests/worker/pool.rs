//! The pool under accidents: workers that die, starve, time out, and the confinement that they live in.

use crate::made;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use seal::limits::Limits;
use seal::pool::{GROUP_WAITING_MAX, Pool, PoolConfig, document};
use seal::{Mark, SealError, Stamp};

fn config() -> PoolConfig {
    PoolConfig {
        program: PathBuf::from(env!("CARGO_BIN_EXE_seal-worker")),
        args: Vec::new(),
        workers: 2,
        limits: Limits::default(),
        tasks_per_worker: 3,
    }
}

#[test]
fn a_worker_reaches_nothing_of_the_machine() {
    let output = Command::new(env!("CARGO_BIN_EXE_seal-worker")).arg("probe").output().expect("run");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "tcp refused\nudp refused\nconnect refused\nunix refused\nexec refused\nopen refused\ncreate refused\n\
         memory refused\nthread passed\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn an_endless_document_ends_with_its_cpu_time_and_others_are_served_meanwhile() {
    let pool = Pool::new(PoolConfig { limits: Limits { cpu_seconds: 1, ..Limits::default() }, ..config() });
    let (endless, good) = (document(&made::doubling(45)).expect("a file"), document(&made::good()).expect("a file"));
    let started = Instant::now();
    let bad = pool.render("one", &endless, 1, 200);
    let other = async {
        for _ in 0..10 {
            pool.render("two", &good, 1, 200).await.expect("served");
        }
        started.elapsed()
    };
    let (bad, others) = tokio::join!(bad, other);
    assert_eq!(bad.expect_err("refused").code(), Some("document_too_complex"));
    assert!(others < Duration::from_secs(10) && started.elapsed() < Duration::from_secs(15), "{others:?}");
}

#[tokio::test]
async fn a_worker_that_takes_too_long_is_ended() {
    let wall = Duration::from_millis(500);
    let pool = Pool::new(PoolConfig { limits: Limits { wall, ..Limits::default() }, ..config() });
    let started = Instant::now();
    let error = pool.render("one", &document(&made::doubling(45)).expect("a file"), 1, 200).await.expect_err("refused");
    assert_eq!(error.code(), Some("document_too_complex"));
    assert!(started.elapsed() < Duration::from_secs(5));
    pool.render("one", &document(&made::good()).expect("a file"), 1, 200).await.expect("served");
}

#[tokio::test]
async fn many_tasks_of_many_groups_are_all_served_and_workers_are_replaced() {
    let pool = Pool::new(config());
    let pdf = document(&made::good()).expect("a file");
    let tasks: Vec<_> = (0..40)
        .map(|index| {
            let (pool, pdf) = (pool.clone(), pdf.clone());
            tokio::spawn(async move { pool.render(&format!("group {}", index % 4), &pdf, 1 + index % 4, 100).await })
        })
        .collect();
    for task in tasks {
        assert!(task.await.expect("no panic").expect("a picture").starts_with(b"\x89PNG"));
    }
}

#[tokio::test]
async fn who_goes_away_in_the_middle_leaves_no_answer_for_the_next() {
    let pool = Pool::new(config());
    let endless = document(&made::doubling(45)).expect("a file");
    for _ in 0..4 {
        let gone = tokio::time::timeout(Duration::from_millis(200), pool.render("one", &endless, 1, 200)).await;
        assert!(gone.is_err());
    }
    let found = pool.find_text("one", &document(&made::good()).expect("a file"), vec!["/sig1/".into()]).await;
    assert_eq!(found.expect("found")[0].len(), 1);
}

#[tokio::test]
async fn a_program_that_is_no_worker_is_a_fault_and_not_the_document_s() {
    let pool = Pool::new(PoolConfig { program: PathBuf::from("/bin/true"), ..config() });
    assert!(matches!(pool.warm().await, Err(SealError::Machine(_))));
    let pool = Pool::new(PoolConfig { program: PathBuf::from("/no/such/program"), ..config() });
    let pdf = document(&made::good()).expect("a file");
    assert!(matches!(pool.inspect("one", &pdf).await, Err(SealError::Machine(_))));
}

#[tokio::test]
async fn one_group_s_endless_documents_leave_a_worker_to_the_others() {
    for workers in [1, 2] {
        let limits = Limits { cpu_seconds: 600, wall: Duration::from_secs(600), ..Limits::default() };
        let pool = Pool::new(PoolConfig { workers, limits, ..config() });
        let endless = document(&made::nested_patterns(300)).expect("a file");
        let bad: Vec<_> = (0..3 * workers)
            .map(|_| {
                let (pool, endless) = (pool.clone(), endless.clone());
                tokio::spawn(async move { pool.render("one", &endless, 1, 200).await })
            })
            .collect();
        // Those come first in every queue.
        tokio::task::yield_now().await;
        pool.render("two", &document(&made::good()).expect("a file"), 1, 200).await.expect("served");
        assert!(bad.iter().all(|task| !task.is_finished()), "{workers} workers");
        bad.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test]
async fn a_flood_is_refused_as_busy_and_not_remembered() {
    let pool = Pool::new(PoolConfig { workers: 1, ..config() });
    let endless = document(&made::doubling(45)).expect("a file");
    let flood: Vec<_> = (0..GROUP_WAITING_MAX + 10)
        .map(|_| {
            let (pool, endless) = (pool.clone(), endless.clone());
            tokio::spawn(async move { pool.render("one", &endless, 1, 200).await })
        })
        .collect();
    let mut busy = 0;
    for task in flood.into_iter().rev() {
        if task.is_finished() {
            assert_eq!(task.await.expect("no panic"), Err(SealError::Busy));
            busy += 1;
        } else if busy > 0 {
            task.abort();
            assert!(task.await.expect_err("aborted").is_cancelled());
        } else {
            // The newest are refused as soon as they have run once.
            assert_eq!(task.await.expect("no panic"), Err(SealError::Busy));
            busy += 1;
        }
    }
    assert!((5..=10).contains(&busy), "{busy}");
    let good = document(&made::good()).expect("a file");
    pool.render("one", &good, 1, 200).await.expect("served once the flood is gone");
}

#[tokio::test]
async fn a_worker_serves_one_group_and_is_replaced_after_so_many_tasks() {
    let folder = tempfile::tempdir().expect("a folder");
    let started = folder.path().join("started");
    let script = format!("echo x >> '{}'; exec '{}'", started.display(), env!("CARGO_BIN_EXE_seal-worker"));
    let pool =
        Pool::new(PoolConfig { program: PathBuf::from("/bin/sh"), args: vec!["-c".into(), script.into()], ..config() });
    let good = document(&made::good()).expect("a file");
    let mut counts = Vec::new();
    // Three tasks are a worker's life here.
    for group in ["one", "one", "two", "one", "one", "two", "three"] {
        pool.render(group, &good, 1, 50).await.expect("served");
        counts.push(std::fs::read_to_string(&started).expect("a list").lines().count());
    }
    assert_eq!(counts, [1, 1, 2, 2, 3, 3, 4]);
}

#[tokio::test]
async fn a_worker_whose_libraries_complain_is_heard_and_does_not_wait() {
    // Chinese text makes the line breaker complain to standard error, where it was built for debugging: more in all than a
    // pipe holds.
    let wall = Duration::from_secs(20);
    let pool = Pool::new(PoolConfig { workers: 1, limits: Limits { wall, ..Limits::default() }, ..config() });
    let what = |row: usize| Mark::Text { text: format!("山田太郎 {row}"), size: None };
    let stamp = |row: usize| Stamp {
        page: 1,
        x: 10.0 + (row % 8) as f64 * 20.0,
        y: 10.0 + (row / 8) as f64,
        width: 60.0,
        height: 10.0,
        what: what(row),
    };
    let stamps: Vec<_> = (0..1_000).map(stamp).collect();
    pool.stamp("one", &document(&made::good()).expect("a file"), stamps, None).await.expect("stamped");
}
