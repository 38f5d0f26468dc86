//! Strict revocation, tried in every order of events: the protocol holds, and each way to build it wrong is found out.
//!
//! Two nodes, two keys of one administrator, two changes whose processes may die before they answer, two requests at a time
//! on any node, of which each may read, write or stay as a stream, and make way for the next without end. `protocol.rs` is
//! the protocol of `crates/gate/src/{epoch,memory,fence,barrier}.rs`, `state.rs` what it runs on. All reachable states are
//! visited, but for the names of nodes and requests.

mod protocol;
mod state;

use std::time::Instant;

use protocol::{Protocol, REQUEST, STREAM, Variant, WRITE};
use state::{Change, World};
use stateright::{Checker, HasDiscoveries, Model};

/// A key is revoked, and its administrator demoted.
const REVOKE_AND_DEMOTE: [Change; 2] = [Change::RevokeKey(0), Change::Demote];
/// Both keys are revoked.
const REVOKE_BOTH: [Change; 2] = [Change::RevokeKey(0), Change::RevokeKey(1)];
/// The protocol as it is.
const SOUND: Protocol =
    Protocol { variant: Variant::Sound, changes: REVOKE_AND_DEMOTE, failover: false, expires: None, keys: 2 };

/// Both keys ask in the long run only where they multiply the states.
fn keys() -> usize {
    if std::env::var_os("IUSIGN_TEST_LONG").is_some() { 2 } else { 1 }
}

/// Visits every state: no promise is broken in any, and each thing that ought to be possible is.
fn holds(name: &str, protocol: Protocol) {
    let began = Instant::now();
    let checker = protocol.checker().threads(2).symmetry_fn(World::representative).spawn_dfs().join();
    println!(
        "{name}, {} key(s) asking: {} states, {} steps, {:.1} s: every promise holds in all of them",
        protocol.keys,
        checker.unique_state_count(),
        checker.state_count(),
        began.elapsed().as_secs_f64()
    );
    checker.assert_properties();
}

/// Finds the shortest way in which this variant breaks the promise.
fn breaks(protocol: Protocol, promise: &'static str) {
    let began = Instant::now();
    let first = HasDiscoveries::AnyOf([promise].into());
    let checker = protocol.checker().finish_when(first).spawn_bfs().join();
    let path = checker.discovery(promise);
    let actions = path.unwrap_or_else(|| panic!("{:?} was not found out: {promise}", protocol.variant)).into_actions();
    println!(
        "{:?}, {} states, {:.1} s: not true that {promise}, in {} steps: {actions:?}",
        protocol.variant,
        checker.unique_state_count(),
        began.elapsed().as_secs_f64(),
        actions.len(),
    );
}

/// This variant with one key asking: what breaks with less breaks with more.
fn wrong(variant: Variant) -> Protocol {
    Protocol { variant, keys: 1, ..SOUND }
}

#[test]
fn a_revocation_and_a_demotion_hold() {
    holds("a revocation and a demotion", SOUND);
}

#[test]
fn they_hold_when_the_database_fails_over_and_loses_what_nobody_was_told() {
    holds("the same with a failover", Protocol { failover: true, keys: keys(), ..SOUND });
}

#[test]
fn they_hold_while_a_key_expires() {
    holds("the same with an expiry", Protocol { expires: Some(0), keys: keys(), ..SOUND });
}

#[test]
fn memory_without_the_epoch_read_is_found_out() {
    breaks(wrong(Variant::MemoryAlone), REQUEST);
}

#[test]
fn a_look_up_remembered_with_a_newer_epoch_is_found_out() {
    breaks(wrong(Variant::NewerEpoch), REQUEST);
}

#[test]
fn an_epoch_read_that_was_sent_before_the_request_arrived_is_found_out() {
    breaks(wrong(Variant::JoinsFlight), REQUEST);
}

#[test]
fn a_counter_in_place_of_the_random_id_is_found_out_by_a_failover() {
    breaks(Protocol { changes: REVOKE_BOTH, failover: true, ..wrong(Variant::Counter) }, WRITE);
}

#[test]
fn lock_and_check_in_one_statement_is_found_out() {
    breaks(wrong(Variant::OneStatement), WRITE);
}

#[test]
fn an_answer_before_the_barrier_is_found_out() {
    breaks(wrong(Variant::NoBarrier), WRITE);
}

#[test]
fn a_fence_on_the_key_alone_is_found_out_by_a_demotion() {
    breaks(wrong(Variant::KeyAlone), WRITE);
}

#[test]
fn an_expiry_by_the_clock_of_the_node_is_found_out() {
    breaks(Protocol { expires: Some(0), ..wrong(Variant::NodeClock) }, REQUEST);
}

#[test]
fn a_stream_that_does_not_ask_again_is_found_out() {
    breaks(wrong(Variant::StreamTrusts), STREAM);
}

/// This is no fault of the protocol but of how it is run: why a synchronous standby is asked for.
#[test]
fn a_failover_without_a_synchronous_standby_is_found_out() {
    breaks(Protocol { failover: true, ..wrong(Variant::NoStandby) }, REQUEST);
}
