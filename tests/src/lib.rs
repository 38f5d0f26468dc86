//! The harness of the black-box tests: it runs the real binary on both engines and asks it as strangers would.
//!
//! A test is a function of a running [`Server`]; [`both_engines!`] makes two tests of it, each with a database of its own:
//! ```ignore
//! both_engines! { a_revoked_key_is_refused }
//! async fn a_revoked_key_is_refused(server: Server) { … }
//! ```
//! Tests wait for a state ([`Api::wait_for`]), never for a time. `./test` makes what they need: the binary, a PostgreSQL,
//! pyHanko, Chromium. Where a tool is missing a test says so and fails: a check that can't fail is none.

pub mod api;
pub mod beside;
pub mod cluster;
pub mod faults;
pub mod fire;
pub mod hammer;
pub mod judge;
pub mod paper;
pub mod room;
pub mod server;
pub mod smtp;
pub mod sources;
pub mod wire;

pub use api::{Answer, Api};
pub use paper::SAMPLE;
pub use room::Room;
pub use server::{Engine, Server};

/// A time of the API some seconds later: the tests ask no clock but the server's. Near midnight the day stays.
pub fn seconds_after(time: &str, seconds: u32) -> String {
    let number = |range: std::ops::Range<usize>| time[range].parse::<u32>().expect("a number");
    let all = number(11..13) * 3600 + number(14..16) * 60 + number(17..19) + seconds;
    format!("{}{:02}:{:02}:{:02}{}", &time[..11], all / 3600 % 24, all / 60 % 60, all % 60, &time[19..])
}

/// Makes two tests of each function: one on SQLite, one on PostgreSQL.
#[macro_export]
macro_rules! both_engines {
    ($($name:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::Server::start($crate::Engine::Sqlite).await).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if $crate::Engine::postgres_is_there() {
                    super::$name($crate::Server::start($crate::Engine::Postgres).await).await;
                }
            })*
        }
    };
}
