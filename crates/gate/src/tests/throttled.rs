//! Row 0: who guesses waits, and shuts out no good key behind the same address.

use super::*;
use crate::LOOK_UPS_ALL_THE_SAME;

#[tokio::test]
async fn a_guessing_address_waits_and_a_remembered_good_key_behind_it_does_not() {
    let patience = Patience { failures: 5, forget_ms: 10_000 };
    for house in House::both(GateConfig { patience, ..GateConfig::default() }).await {
        assert_eq!(house.code().await, Ok(()));
        for turn in 0..8 {
            let refusal = house.admit_with(Some("Bearer x"), [10, 0, 0, 1], Rule::AnyKey).await.expect_err("refused");
            let want = if turn < 5 { Code::MalformedCredentials } else { Code::TooManyFailures };
            assert_eq!(refusal.code, want, "{turn} on {}", house.engine);
            assert_eq!(refusal.retry_after_s.is_some(), turn >= 5);
        }
        // A well-formed key may be a good one that is new: some are looked up all the same, whoever they come from.
        let wrong = SecretKey::generate(Environment::Production, house.key.uuid(), [9; 32]);
        let wrong = format!("Bearer {}", wrong.expose());
        for turn in 0..30 {
            let refusal = house.admit_with(Some(&wrong), [10, 0, 0, 1], Rule::AnyKey).await.expect_err("refused");
            let want = if turn < LOOK_UPS_ALL_THE_SAME.failures { Code::InvalidKey } else { Code::TooManyFailures };
            assert_eq!(refusal.code, want, "{turn} on {}", house.engine);
        }
        assert_eq!(house.code().await, Ok(()), "{}", house.engine);
        let elsewhere = house.admit_with(Some(&wrong), [10, 0, 0, 2], Rule::AnyKey).await;
        assert_eq!(elsewhere.expect_err("refused").code, Code::InvalidKey);
        house.clock.0.fetch_add(10_001, Ordering::Relaxed);
        let later = house.admit_with(Some(&wrong), [10, 0, 0, 1], Rule::AnyKey).await;
        assert_eq!(later.expect_err("refused").code, Code::InvalidKey);
    }
}

#[tokio::test]
async fn after_a_start_a_guessing_address_does_not_shut_out_the_keys_that_were_used_before() {
    let patience = Patience { failures: 2, forget_ms: 10_000 };
    for house in House::both(GateConfig::default()).await {
        assert_eq!(house.code().await, Ok(()));
        house.gate.write_usage().await;
        let config = GateConfig { patience, ..GateConfig::default() };
        let started = Gate::new(house.db.clone(), config, house.clock.clone());
        started.remember_used().await.expect("remembered");
        let from = [203, 0, 113, 9];
        for _ in 0..3 {
            admit(&started, Some("Bearer iusk_dev_rubbish"), from, Rule::AnyKey).await.expect_err("no key");
        }
        let refusal = admit(&started, Some("Bearer iusk_dev_rubbish"), from, Rule::AnyKey).await.expect_err("no key");
        assert_eq!(refusal.code, Code::TooManyFailures, "{}", house.engine);
        admit(&started, Some(&house.bearer()), from, Rule::AnyKey).await.expect(house.engine);
        house.set_key("revoked").await;
        let refusal = admit(&started, Some(&house.bearer()), from, Rule::AnyKey).await.expect_err("revoked");
        assert_eq!(refusal.code, Code::RevokedKey, "{}", house.engine);
    }
}
