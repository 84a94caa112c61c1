//! Limits at their edge, over threads, and over reloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;

use pillion_model::snapshot::UpstreamLimits;

use super::{Breaker, Counts, Resource};

const LIMITS: UpstreamLimits =
    UpstreamLimits { connections: 2, pending: 3, requests: 50, retry_percent: 20, retry_min: 4 };

#[test]
fn each_resource_has_its_own_limit() {
    let breaker = Arc::new(Breaker::new(LIMITS));
    for (resource, limit) in [
        (Resource::Connection, 2),
        (Resource::Pending, 3),
        (Resource::Request, 50),
        (Resource::Retry, 4),
    ] {
        let permits: Vec<_> =
            (0..limit).map(|_| Breaker::acquire(&*breaker, resource).unwrap()).collect();
        for _ in 0..3 {
            assert!(Breaker::acquire(&*breaker, resource).is_none(), "{resource:?}");
        }
        drop(permits);
        assert!(Breaker::acquire(&*breaker, resource).is_some(), "{resource:?}");
        assert_eq!(breaker.counts(), Counts::default());
    }
}

#[test]
fn a_permit_counts_until_it_is_dropped() {
    let breaker = Arc::new(Breaker::new(LIMITS));
    let request = breaker.try_request();
    let waits = (breaker.try_pending(), breaker.try_pending());
    let connection = breaker.try_connection();
    let retry = breaker.try_retry();
    assert_eq!(breaker.counts(), Counts { connections: 1, pending: 2, requests: 1, retries: 1 });
    drop((request, connection));
    assert_eq!(breaker.counts(), Counts { connections: 0, pending: 2, requests: 0, retries: 1 });
    drop((waits, retry));
    assert_eq!(breaker.counts(), Counts::default());
}

#[test]
fn a_connection_keeps_its_breaker() {
    let breaker = Arc::new(Breaker::new(LIMITS));
    let connection = breaker.try_connection().unwrap();
    assert_eq!(Arc::strong_count(&breaker), 2);
    drop(connection);
    assert_eq!(Arc::strong_count(&breaker), 1);
}

#[test]
fn retries_are_a_share_of_the_requests_in_flight_and_never_fewer_than_the_minimum() {
    for (requests, percent, min, expect) in [
        (0, 20, 0, 0),
        (0, 20, 3, 3),
        (4, 20, 0, 0),
        (5, 20, 0, 1),
        (10, 20, 3, 3),
        (20, 20, 3, 4),
        (20, 0, 0, 0),
        (99, 10, 0, 9),
        (20, 100, 0, 20),
        (20, 300, 0, 60),
    ] {
        let limits =
            UpstreamLimits { retry_percent: percent, retry_min: min, requests: 100, ..LIMITS };
        let breaker = Breaker::new(limits);
        let _requests: Vec<_> = (0..requests).map(|_| breaker.try_request().unwrap()).collect();
        let retries: Vec<_> = std::iter::from_fn(|| breaker.try_retry()).collect();
        assert_eq!(retries.len(), expect, "{percent} % of {requests}, at least {min}");
    }
}

#[test]
fn the_widest_limits_do_not_overflow() {
    let limits = UpstreamLimits { requests: u32::MAX, retry_percent: u32::MAX, ..LIMITS };
    let breaker = Breaker::new(limits);
    let _requests: Vec<_> = (0..1_000).map(|_| breaker.try_request().unwrap()).collect();
    assert!(breaker.try_retry().is_some());
}

#[test]
fn new_limits_hold_at_once_and_keep_the_counts() {
    let breaker = Breaker::new(LIMITS);
    let mut requests: Vec<_> = (0..40).map(|_| breaker.try_request().unwrap()).collect();
    let lower = UpstreamLimits { requests: 10, ..LIMITS };
    breaker.set_limits(lower);
    assert_eq!(breaker.limits(), lower);
    assert_eq!(breaker.counts().requests, 40);
    assert!(breaker.try_request().is_none());
    requests.truncate(9);
    let last = breaker.try_request();
    assert!(last.is_some());
    assert!(breaker.try_request().is_none());
    breaker.set_limits(LIMITS);
    assert!(breaker.try_request().is_some());
}

/// What one thread saw: how often it was let in, and the most that were in at that time.
#[derive(Default)]
struct Seen {
    entered: u32,
    most: u32,
}

fn hammer(breaker: &Breaker, inside: &AtomicU32, rounds: u32) -> Seen {
    let mut seen = Seen::default();
    for round in 0..rounds {
        let Some(permit) = breaker.try_request() else { continue };
        seen.most = seen.most.max(inside.fetch_add(1, SeqCst) + 1);
        seen.entered += 1;
        if round % 8 == 0 {
            thread::yield_now();
        }
        inside.fetch_sub(1, SeqCst);
        drop(permit);
    }
    seen
}

#[test]
fn threads_together_never_exceed_a_limit_and_leave_nothing_behind() {
    for limit in [1, 3, 7] {
        let breaker = Breaker::new(UpstreamLimits { requests: limit, ..LIMITS });
        let inside = AtomicU32::new(0);
        let seen: Vec<Seen> = thread::scope(|scope| {
            let run = || scope.spawn(|| hammer(&breaker, &inside, 20_000));
            let threads: Vec<_> = (0..8).map(|_| run()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(seen.iter().all(|seen| seen.most <= limit), "limit {limit}");
        assert!(seen.iter().map(|seen| seen.entered).sum::<u32>() > 0);
        assert_eq!(breaker.counts(), Counts::default());
    }
}

#[test]
fn a_breaker_fills_one_cache_line() {
    assert_eq!((size_of::<Breaker>(), align_of::<Breaker>()), (64, 64));
}
