//! Every way that a try can end, the waits, the dates, and a storm on virtual time.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use pillion_model::Reason;
use pillion_model::snapshot::{RetryPolicy, UpstreamLimits};
use proptest::prelude::*;

use super::{MAX_RACES, Outcome, Sent, Verdict, backoff, is_idempotent, retry_after, verdict};
use crate::breaker::Breaker;
use crate::random::Random;

fn policy(retries: u32) -> RetryPolicy {
    RetryPolicy {
        retries,
        statuses: vec![502, 503],
        backoff: Duration::from_millis(25),
        backoff_max: Duration::from_millis(250),
        body_bytes: 0,
    }
}

/// The first try of a `GET` on a new connection, which was sent.
fn failed(reason: Reason) -> Outcome {
    Outcome {
        reason: Some(reason),
        status: None,
        retry_after: None,
        response_begun: false,
        request_sent: Sent::Some,
        reused_connection: false,
        idempotent: true,
        body_replayable: true,
        attempts_so_far: 1,
        races_so_far: 0,
    }
}

fn answered(status: u16) -> Outcome {
    Outcome { reason: None, status: Some(status), ..failed(Reason::Internal) }
}

/// A verdict without the length of the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Stop,
    Now,
    After,
}
use Next::{After, Now, Stop};

fn next(policy: &RetryPolicy, outcome: &Outcome) -> Next {
    match verdict(policy, outcome, &mut Random::new(1)) {
        Verdict::Stop => Stop,
        Verdict::RetryNow => Now,
        Verdict::RetryAfter(_) => After,
    }
}

/// What follows a first try, by whether the method is idempotent, how much was sent, and whether
/// the connection had been used before.
const CASES: [(bool, Sent, bool); 8] = [
    (true, Sent::Nothing, false),
    (true, Sent::Nothing, true),
    (true, Sent::Some, false),
    (true, Sent::Some, true),
    (false, Sent::Nothing, false),
    (false, Sent::Nothing, true),
    (false, Sent::Some, false),
    (false, Sent::Some, true),
];

/// The columns are [`CASES`].
fn expected(reason: Reason) -> [Next; 8] {
    match reason {
        Reason::UpstreamClosed => [After, Now, After, Now, After, Now, Stop, Stop],
        Reason::UpstreamConnectRefused
        | Reason::UpstreamConnectTimeout
        | Reason::UpstreamConnectFailed
        | Reason::UpstreamTruncated
        | Reason::UpstreamReset
        | Reason::UpstreamLost
        | Reason::UpstreamTimeout => [After, After, After, After, After, After, Stop, Stop],
        _ => [Stop; 8],
    }
}

#[test]
fn each_reason_has_its_verdict_in_each_case() {
    for &reason in Reason::ALL {
        for ((idempotent, request_sent, reused_connection), expect) in
            CASES.into_iter().zip(expected(reason))
        {
            let outcome = Outcome { idempotent, request_sent, reused_connection, ..failed(reason) };
            assert_eq!(next(&policy(2), &outcome), expect, "{outcome:?}");
            // Without retries the keep-alive race alone is absorbed.
            let without = if expect == Now { Now } else { Stop };
            assert_eq!(next(&policy(0), &outcome), without, "no retries: {outcome:?}");
            for spoilt in [
                Outcome { response_begun: true, ..outcome.clone() },
                Outcome { body_replayable: false, ..outcome.clone() },
            ] {
                assert_eq!(next(&policy(2), &spoilt), Stop, "{spoilt:?}");
            }
        }
    }
}

#[test]
fn a_status_of_the_policy_is_retried_for_idempotent_methods_alone() {
    for (outcome, expect) in [
        (answered(503), After),
        (answered(502), After),
        (answered(500), Stop),
        (answered(200), Stop),
        (Outcome { idempotent: false, ..answered(503) }, Stop),
        (Outcome { idempotent: false, request_sent: Sent::Nothing, ..answered(503) }, Stop),
        (Outcome { response_begun: true, ..answered(503) }, Stop),
        (Outcome { body_replayable: false, ..answered(503) }, Stop),
        (Outcome { reused_connection: true, ..answered(503) }, After),
        (Outcome { attempts_so_far: 3, ..answered(503) }, Stop),
        // A reason outweighs the status of the response that it spoilt.
        (Outcome { status: Some(503), ..failed(Reason::UpstreamMalformed) }, Stop),
        (Outcome { status: None, ..answered(503) }, Stop),
    ] {
        assert_eq!(next(&policy(2), &outcome), expect, "{outcome:?}");
    }
}

#[test]
fn retries_stop_when_the_policy_has_no_more() {
    for (retries, attempts, races, expect) in [
        (0, 1, 0, Stop),
        (1, 1, 0, After),
        (1, 2, 0, Stop),
        (2, 2, 0, After),
        (2, 3, 0, Stop),
        // A race does not count as a retry.
        (1, 2, 1, After),
        (1, 3, 2, After),
        (1, 3, 1, Stop),
        (u32::MAX, u32::MAX, 0, After),
    ] {
        let outcome = Outcome {
            attempts_so_far: attempts,
            races_so_far: races,
            ..failed(Reason::UpstreamTimeout)
        };
        assert_eq!(next(&policy(retries), &outcome), expect, "{outcome:?}");
    }
}

#[test]
fn the_third_race_is_a_failure_like_any_other() {
    for (races, retries, expect) in [(0, 0, Now), (1, 0, Now), (2, 0, Stop), (2, 1, After)] {
        let outcome = Outcome {
            reused_connection: true,
            attempts_so_far: races + 1,
            races_so_far: races,
            ..failed(Reason::UpstreamClosed)
        };
        assert_eq!(next(&policy(retries), &outcome), expect, "{outcome:?}");
    }
}

fn some_outcome() -> impl Strategy<Value = Outcome> {
    let reason = prop::option::of(prop::sample::select(Reason::ALL));
    let status = prop::option::of(prop::sample::select(vec![200_u16, 502, 503]));
    let retry_after = prop::option::of((0_u64..400).prop_map(Duration::from_millis));
    let sent = prop::sample::select(vec![Sent::Nothing, Sent::Some]);
    let flags = any::<[bool; 4]>();
    (reason, status, retry_after, sent, flags, 1_u32..8, 0_u32..4).prop_map(
        |(reason, status, retry_after, request_sent, flags, attempts_so_far, races_so_far)| {
            let [response_begun, reused_connection, idempotent, body_replayable] = flags;
            Outcome {
                reason,
                status,
                retry_after,
                response_begun,
                request_sent,
                reused_connection,
                idempotent,
                body_replayable,
                attempts_so_far,
                races_so_far,
            }
        },
    )
}

proptest! {
    #[test]
    fn what_may_have_acted_is_never_sent_again(
        outcome in some_outcome(), retries in 0_u32..9, seed in any::<u64>(),
    ) {
        let verdict = verdict(&policy(retries), &outcome, &mut Random::new(seed));
        if verdict != Verdict::Stop {
            prop_assert!(outcome.idempotent || outcome.request_sent == Sent::Nothing);
            prop_assert!(outcome.body_replayable && !outcome.response_begun);
        }
    }

    #[test]
    fn a_wait_is_within_the_policy_and_not_before_the_time_that_was_named(
        outcome in some_outcome(), seed in any::<u64>(),
    ) {
        let policy = policy(9);
        if let Verdict::RetryAfter(wait) = verdict(&policy, &outcome, &mut Random::new(seed)) {
            prop_assert!(wait <= policy.backoff_max);
            prop_assert!(wait >= outcome.retry_after.unwrap_or_default());
        }
    }

    #[test]
    fn one_exchange_has_a_bounded_number_of_tries(
        mut outcomes in prop::collection::vec(some_outcome(), 40), retries in 0_u32..4,
    ) {
        let (mut tries, mut races) = (0, 0);
        for outcome in &mut outcomes {
            tries += 1;
            (outcome.attempts_so_far, outcome.races_so_far) = (tries, races);
            match next(&policy(retries), outcome) {
                Stop => break,
                Now => races += 1,
                After => {}
            }
        }
        prop_assert!(tries <= 1 + retries + MAX_RACES);
    }
}

#[test]
fn waits_double_up_to_the_longest_and_are_jittered_over_the_whole_range() {
    let policy = policy(9);
    for (retry_number, longest) in [(1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (90, 250)] {
        let longest = Duration::from_millis(longest);
        let mut random = Random::new(3);
        let mut waits: Vec<_> =
            (0..2_000).map(|_| backoff(&policy, retry_number, &mut random)).collect();
        waits.sort();
        assert!(waits[0] < longest / 100, "retry {retry_number}: {:?}", waits[0]);
        assert!(waits[1_999] > longest * 99 / 100 && waits[1_999] <= longest);
        assert!(waits[1_000] > longest * 9 / 20 && waits[1_000] < longest * 11 / 20);
    }
}

#[test]
fn waits_of_extreme_policies_do_not_overflow() {
    let zero = RetryPolicy { backoff: Duration::ZERO, ..policy(1) };
    assert_eq!(backoff(&zero, 1, &mut Random::new(1)), Duration::ZERO);
    let endless = RetryPolicy { backoff: Duration::MAX, backoff_max: Duration::MAX, ..policy(1) };
    assert!(backoff(&endless, u32::MAX, &mut Random::new(1)) > Duration::ZERO);
}

#[test]
fn a_time_beyond_the_longest_wait_is_left_to_the_client() {
    for (millis, expect) in [(0, After), (250, After), (251, Stop), (u64::MAX, Stop)] {
        let retry_after = Some(Duration::from_millis(millis));
        let outcome = Outcome { retry_after, ..answered(503) };
        assert_eq!(next(&policy(2), &outcome), expect, "{millis} ms");
    }
}

/// 1994-11-06 08:49:37 UTC.
const EXAMPLE: u64 = 784_111_777;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    for (value, expect) in [
        ("0", Some(0)),
        ("120", Some(120)),
        (" 120\t", Some(120)),
        ("99999999999999999999999999", Some(u64::MAX)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(100)),
        ("Sun, 06 Nov 1994 08:49:60 GMT", Some(123)),
        // Passed already.
        ("Sun, 06 Nov 1994 08:47:00 GMT", Some(0)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
        ("Tue, 29 Feb 2000 00:00:00 GMT", Some(951_782_400 - (EXAMPLE - 100))),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("+1", None),
        ("soon", None),
        // The obsolete forms.
        ("Sunday, 06-Nov-94 08:49:37 GMT", None),
        ("Sun Nov  6 08:49:37 1994", None),
        // No dates.
        ("Sun, 31 Nov 1994 08:49:37 GMT", None),
        ("Sun, 00 Nov 1994 08:49:37 GMT", None),
        ("Thu, 29 Feb 2100 00:00:00 GMT", None),
        ("Sun, 06 Nov 1969 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 24:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:60:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:61 GMT", None),
        ("Sun, 06 Nov 1994 08:49 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37:00 GMT", None),
        ("Sun, 6 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 nov 1994 08:49:37 GMT", None),
        ("Son, 06 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 UTC", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT+1", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT more", None),
        ("Sun, 06  Nov 1994 08:49:37 GMT", None),
    ] {
        let expect = expect.map(Duration::from_secs);
        assert_eq!(retry_after(value.as_bytes(), at(EXAMPLE - 100)), expect, "{value:?}");
    }
    assert_eq!(retry_after(b"\xff", at(0)), None);
}

#[test]
fn every_day_for_three_centuries_is_counted_right() {
    let multiple = |year: u64, of: u64| year.is_multiple_of(of);
    let leap = |year| multiple(year, 4) && (!multiple(year, 100) || multiple(year, 400));
    let mut days = 0;
    for year in 1970..2270 {
        let february = if leap(year) { 29 } else { 28 };
        let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        for (month, length) in super::http_date::MONTHS.into_iter().zip(lengths) {
            for day in 1..=length {
                let date = format!("Mon, {day:02} {month} {year} 00:00:01 GMT");
                let expect = Some(Duration::from_secs(days * 86_400 + 1));
                assert_eq!(retry_after(date.as_bytes(), at(0)), expect, "{date}");
                days += 1;
            }
        }
    }
}

#[test]
fn the_idempotent_methods_are_those_of_the_standard() {
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        assert!(is_idempotent(method.as_bytes()), "{method}");
    }
    for method in ["POST", "PATCH", "CONNECT", "get", "QUERY", "GET ", ""] {
        assert!(!is_idempotent(method.as_bytes()), "{method:?}");
    }
}

/// What a storm did to an upstream that answers nothing but 503.
struct Storm {
    requests: u32,
    retries: u32,
    most_retries_in_flight: u32,
}

/// Two requests arrive each millisecond for ten seconds, each try takes 20 ms, every try fails, and
/// the policy would try three times more.
fn storm(limits: UpstreamLimits) -> Storm {
    struct Try<'a> {
        attempts: u32,
        // Declared before the request's, as in an exchange: the retry ends first.
        _retry: Option<crate::breaker::Permit<&'a Breaker>>,
        request: crate::breaker::Permit<&'a Breaker>,
    }
    let (policy, breaker, mut random) = (policy(3), Breaker::new(limits), Random::new(17));
    let mut seen = Storm { requests: 0, retries: 0, most_retries_in_flight: 0 };
    let mut ends: BTreeMap<(u64, u64), Try<'_>> = BTreeMap::new();
    let mut number = 0;
    let mut begin = |ends: &mut BTreeMap<_, _>, end_ms: u64, one| {
        number += 1;
        ends.insert((end_ms, number), one);
    };
    for now in 0..10_000_u64 {
        for _ in 0..2 {
            let request = breaker.try_request().unwrap();
            seen.requests += 1;
            begin(&mut ends, now + 20, Try { attempts: 1, _retry: None, request });
        }
        while let Some(ended) = ends.first_entry().filter(|entry| entry.key().0 <= now) {
            let Try { attempts, _retry: ended_retry, request } = ended.remove();
            drop(ended_retry);
            let outcome = Outcome { attempts_so_far: attempts, ..answered(503) };
            let Verdict::RetryAfter(wait) = verdict(&policy, &outcome, &mut random) else {
                continue;
            };
            let Some(retry) = breaker.try_retry() else { continue };
            seen.retries += 1;
            seen.most_retries_in_flight = seen.most_retries_in_flight.max(breaker.counts().retries);
            let end = now + wait.as_millis() as u64 + 20;
            begin(&mut ends, end, Try { attempts: attempts + 1, _retry: Some(retry), request });
        }
    }
    drop(ends);
    assert_eq!(breaker.counts(), crate::breaker::Counts::default());
    seen
}

#[test]
fn a_storm_of_retries_adds_at_most_the_budget() {
    let limits = |retry_percent, retry_min| UpstreamLimits {
        connections: 0,
        pending: 0,
        requests: u32::MAX,
        retry_percent,
        retry_min,
    };
    // Without a budget each request is tried four times.
    let unbounded = storm(limits(1_000, 1_000));
    assert!(unbounded.retries > unbounded.requests * 29 / 10);
    // A fifth of about 50 requests in flight, each retry taking 20 ms and its wait.
    let bounded = storm(limits(20, 3));
    assert!(bounded.retries < bounded.requests / 4, "{}", bounded.retries);
    assert!(bounded.most_retries_in_flight <= 12, "{}", bounded.most_retries_in_flight);
    // The minimum alone: three at a time, for 10 s, each at least 20 ms.
    let minimum = storm(limits(0, 3));
    assert_eq!(minimum.most_retries_in_flight, 3);
    assert!(minimum.retries > 300 && minimum.retries <= 3 * 10_000 / 20, "{}", minimum.retries);
    assert_eq!(storm(limits(0, 0)).retries, 0);
}
