//! Threads with a runtime of their own, as those that serve connections have: each reads the embedded database's epochs for
//! itself, and none lets pass what was taken away.

use super::*;
use std::sync::mpsc::channel;
use std::thread;
use tokio::runtime::Builder;

/// Asks at this gate whenever it is told to, on a thread of its own.
fn asker(gate: Gate, bearer: String) -> impl Fn() -> Result<(), Code> {
    let ((ask, asked), (tell, told)) = (channel::<()>(), channel());
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        for () in asked {
            let passed = runtime.block_on(admit(&gate, Some(&bearer), [10, 0, 0, 1], Rule::AnyKey));
            tell.send(passed.map(drop).map_err(|refusal| refusal.code)).expect("somebody asked");
        }
    });
    move || {
        ask.send(()).expect("the thread runs");
        told.recv().expect("the thread runs")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_thread_finds_what_was_changed_before_it_was_asked() {
    for house in House::both(GateConfig::default()).await {
        let threads: Vec<_> = (0..3).map(|_| asker(house.gate.clone(), house.bearer())).collect();
        for _ in 0..10 {
            for (status, want) in [("active", Ok(())), ("suspended", Err(Code::SuspendedKey))] {
                house.set_key(status).await;
                for (number, ask) in threads.iter().enumerate() {
                    assert_eq!(ask(), want, "{number} on {}", house.engine);
                }
                assert_eq!(house.code().await, want, "{}", house.engine);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_ends_takes_no_others_reads_with_it() {
    for house in House::both(GateConfig::default()).await {
        for _ in 0..3 {
            let ask = asker(house.gate.clone(), house.bearer());
            assert_eq!((ask(), house.code().await), (Ok(()), Ok(())), "{}", house.engine);
            // Its channel is closed with it, and its runtime ends.
            drop(ask);
            assert_eq!(house.code().await, Ok(()), "{}", house.engine);
        }
    }
}
