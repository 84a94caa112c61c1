//! Lives of leases, second by second.

use std::collections::BTreeMap;

use pillion_runtime::board::Secret;
use proptest::prelude::*;

use super::*;
use crate::fetched::Datum;

const START: SystemTime = SystemTime::UNIX_EPOCH;
const INTERVAL: Duration = Duration::from_secs(300);

fn second(seconds: f64) -> SystemTime {
    START + Duration::from_secs_f64(seconds)
}

fn lease(seconds: u64, renewable: bool) -> Lease {
    Lease {
        id: "database/creds/app/1".to_owned(),
        duration: Duration::from_secs(seconds),
        renewable,
    }
}

fn fetched(lease: Option<Lease>) -> Fetched {
    Fetched { data: BTreeMap::new(), lease, version: None, at: START }
}

fn life(lease: Option<Lease>, chance: f64) -> Life {
    Life::new(&fetched(lease), INTERVAL, 0.5, chance)
}

fn due(what: Step, seconds: f64) -> Due {
    Due { what, at: second(seconds) }
}

#[test]
fn each_kind_of_secret_has_its_next_step() {
    let certificate = Lease { id: String::new(), ..lease(100, true) };
    for (lease, chance, expected) in [
        (None, 0.0, due(Step::Look, 300.0)),
        (None, 1.0, due(Step::Look, 270.0)),
        (Some(lease(100, true)), 0.0, due(Step::Renew, 50.0)),
        (Some(lease(100, true)), 1.0, due(Step::Renew, 45.0)),
        (Some(lease(100, false)), 0.0, due(Step::Replace, 50.0)),
        (Some(certificate), 1.0, due(Step::Replace, 45.0)),
        (Some(lease(0, true)), 0.0, due(Step::Renew, 1.0)),
    ] {
        assert_eq!(life(lease.clone(), chance).due(), expected, "{lease:?} {chance}");
    }
}

#[test]
fn the_part_after_which_a_lease_is_renewed_is_what_was_configured() {
    for renew_at in [0.1, 0.5, 0.67, 0.9] {
        let life = Life::new(&fetched(Some(lease(1000, true))), INTERVAL, renew_at, 0.0);
        assert_eq!(life.due(), due(Step::Renew, 1000.0 * renew_at));
    }
}

#[test]
fn a_lease_is_renewed_until_the_server_grants_less_and_then_replaced_while_it_holds() {
    let mut life = life(Some(lease(20, true)), 0.0);
    assert_eq!(life.renewal(), Some(("database/creds/app/1", Duration::from_secs(20))));
    life.renewed(second(10.0), &lease(20, true), 0.0);
    assert_eq!(life.due(), due(Step::Renew, 20.0));
    // Counted in whole seconds, this is still all.
    life.renewed(second(20.0), &lease(19, true), 0.0);
    assert_eq!(life.due(), due(Step::Renew, 29.5));
    life.renewed(second(30.0), &lease(12, true), 1.0);
    assert_eq!(life.due(), due(Step::Replace, 31.2));
    assert_eq!(life.ends(), Some(second(42.0)));
    assert_eq!(life.renewal(), None);
}

#[test]
fn a_renewal_that_fails_is_tried_again_and_becomes_a_replacement_near_the_end() {
    let mut life = life(Some(lease(100, true)), 0.0);
    life.failed(second(50.0), Duration::from_secs(10));
    assert_eq!(life.due(), due(Step::Renew, 60.0));
    life.failed(second(60.0), Duration::from_secs(60));
    assert_eq!(life.due(), due(Step::Replace, 90.0));
    life.failed(second(90.0), Duration::from_secs(60));
    assert_eq!(life.due(), due(Step::Replace, 150.0), "also when it has ended");
}

#[test]
fn a_success_after_failures_goes_back_to_the_plan() {
    let mut dynamic = life(Some(lease(100, true)), 0.0);
    dynamic.failed(second(50.0), Duration::from_secs(10));
    dynamic.renewed(second(60.0), &lease(100, true), 0.0);
    assert_eq!(dynamic.due(), due(Step::Renew, 110.0));
    let mut fixed = life(None, 0.0);
    fixed.failed(second(300.0), Duration::from_secs(1));
    assert_eq!(fixed.due(), due(Step::Look, 301.0));
    fixed.unchanged(second(301.0), 0.0);
    assert_eq!(fixed.due(), due(Step::Look, 601.0));
}

#[test]
fn a_lease_that_the_server_does_not_know_is_replaced_now() {
    let mut life = life(Some(lease(100, true)), 0.5);
    life.lost(second(7.0));
    assert_eq!(life.due(), due(Step::Replace, 7.0));
    assert_eq!(life.ends(), Some(second(7.0)));
}

#[test]
fn static_secrets_know_nothing_of_leases() {
    let mut life = life(None, 0.0);
    life.lost(second(7.0));
    life.bounded(second(7.0), second(8.0), 0.0);
    life.renewed(second(7.0), &lease(5, true), 0.0);
    assert_eq!(life.due(), due(Step::Look, 300.0));
    assert_eq!((life.ends(), life.renewal()), (None, None));
}

#[test]
fn leases_of_a_token_that_ends_are_replaced_before_each_at_its_own_time() {
    for (chance, at) in [(0.0, 10.0), (0.5, 15.0), (1.0, 20.0)] {
        let mut life = life(Some(lease(3600, true)), 0.0);
        life.bounded(second(10.0), second(30.0), chance);
        assert_eq!(life.due(), due(Step::Replace, at));
        assert_eq!(life.ends(), Some(second(30.0)));
    }
    let mut earlier = life(Some(lease(20, false)), 0.0);
    earlier.bounded(second(5.0), second(3600.0), 1.0);
    assert_eq!(earlier.due(), due(Step::Replace, 10.0), "its own end is the nearer one");
    assert_eq!(earlier.ends(), Some(second(20.0)));
}

#[test]
fn a_password_that_the_server_rotates_is_looked_at_right_after() {
    let mut rotated = fetched(None);
    rotated.data.insert("ttl".to_owned(), Datum::Json(Secret::from("40")));
    assert_eq!(Life::new(&rotated, INTERVAL, 0.5, 0.0).due(), due(Step::Look, 300.0));
    rotated.data.insert("last_vault_rotation".to_owned(), Datum::from("2026-01-01T00:00:00Z"));
    assert_eq!(Life::new(&rotated, INTERVAL, 0.5, 0.0).due(), due(Step::Look, 41.0));
    assert_eq!(Life::new(&rotated, INTERVAL, 0.5, 1.0).due(), due(Step::Look, 42.0));
}

proptest! {
    #[test]
    fn every_step_comes_before_the_end_of_a_lease_of_some_length(
        seconds in 4u64..100_000_000,
        renewable: bool,
        renew_at in 0.01f64..0.95,
        chance in 0.0f64..=1.0,
    ) {
        let lease = lease(seconds, renewable);
        let mut life = Life::new(&fetched(Some(lease.clone())), INTERVAL, renew_at, chance);
        for _ in 0..5 {
            let due = life.due();
            prop_assert!(due.at > life.since && due.at < life.ends().unwrap(), "{due:?}");
            life.renewed(due.at, &lease, chance);
        }
    }

    #[test]
    fn failures_never_plan_into_the_past_nor_renew_what_has_ended(
        waits in proptest::collection::vec(1u64..100, 1..20),
    ) {
        let mut life = life(Some(lease(100, true)), 0.3);
        for wait in waits {
            let now = life.due().at;
            life.failed(now, Duration::from_secs(wait));
            prop_assert!(life.due().at >= now);
            prop_assert!(life.due().what == Step::Replace || life.due().at < life.ends().unwrap());
        }
    }

    #[test]
    fn no_length_that_a_server_may_name_is_too_much(seconds: u64, at in 0u64..10_000_000_000) {
        let mut whole = fetched(Some(lease(seconds, true)));
        whole.at = START + Duration::from_secs(at);
        let mut life = Life::new(&whole, Duration::from_secs(seconds), 0.67, 0.5);
        life.renewed(whole.at, &lease(seconds, true), 0.5);
        life.bounded(whole.at, START, 0.5);
        prop_assert!(life.due().at >= whole.at);
    }
}
