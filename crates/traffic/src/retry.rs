//! Whether a failed try is followed by another, and when.
//!
//! The rule that everything here serves: **what may have acted is not sent again, unless its method
//! is idempotent** (RFC 9110 §9.2.2, where a proxy must not repeat a non-idempotent request by
//! itself). A `POST` of which one byte may have reached the app is therefore never repeated, not
//! even on a kept-alive connection that the app closed without a word: an app that crashes while it
//! works on the `POST` looks exactly the same. What can be repeated whatever its method is a request
//! that certainly did not arrive, [`Sent::Nothing`].
//!
//! The keep-alive race is the one failure that nobody is to blame for: the app closes an idle
//! connection while the next request is on its way. It is absorbed without a wait, also where the
//! policy has retries switched off, and without a share of the retry budget: each race uses up one
//! pooled connection, so races cannot feed on themselves.

mod http_date;

use std::time::{Duration, SystemTime};

use pillion_model::Reason;
use pillion_model::snapshot::RetryPolicy;

use crate::random::Random;

/// How often one exchange may lose the keep-alive race. Once a new connection is used, as
/// [`Verdict::RetryNow`] asks, it cannot be lost again; the second is for the pool that has none.
pub const MAX_RACES: u32 = 2;

/// How much of the request the endpoint may have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It cannot have acted: no byte was written, or it said itself that it did not begin
    /// (`REFUSED_STREAM`, or a stream above the last one of `GOAWAY`, RFC 9113 §8.7).
    Nothing,
    /// At least one byte was written.
    Some,
}

/// How a try ended, and what is needed to judge it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What went wrong; `None` when a response came. A connection that ended before any byte of a
    /// response, orderly or by a reset, is [`Reason::UpstreamClosed`], and so is one whose `GOAWAY`
    /// left this stream out.
    pub reason: Option<Reason>,
    /// The response's status, where one came.
    pub status: Option<u16>,
    /// Its `Retry-After`, as [`retry_after`] reads it.
    pub retry_after: Option<Duration>,
    /// Whether the client has been sent any of the response.
    pub response_begun: bool,
    /// How much of the request the endpoint may have seen.
    pub request_sent: Sent,
    /// Whether the connection had served another exchange before.
    pub reused_connection: bool,
    /// Whether the method is idempotent: [`is_idempotent`].
    pub idempotent: bool,
    /// Whether the body can be sent from its beginning: there is none, nothing of it was taken from
    /// the client yet, or all that was taken is kept.
    pub body_replayable: bool,
    /// Tries so far, the failed one included.
    pub attempts_so_far: u32,
    /// How many of them were owed to [`Verdict::RetryNow`].
    pub races_so_far: u32,
}

/// What follows a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: its outcome goes to the client.
    Stop,
    /// A keep-alive race: again at once, on a new connection. It needs no permit of the retry
    /// budget and counts in [`Outcome::races_so_far`].
    RetryNow,
    /// Again after this wait, if the route's timeout leaves room for it and the breaker has a retry
    /// permit.
    RetryAfter(Duration),
}

/// What follows a try that ended like this.
pub fn verdict(policy: &RetryPolicy, outcome: &Outcome, random: &mut Random) -> Verdict {
    if outcome.response_begun || !outcome.body_replayable {
        return Verdict::Stop;
    }
    if outcome.request_sent == Sent::Some && !outcome.idempotent {
        return Verdict::Stop;
    }
    if lost_race(outcome) {
        return Verdict::RetryNow;
    }
    let retries = outcome.attempts_so_far.saturating_sub(1).saturating_sub(outcome.races_so_far);
    if retries >= policy.retries || !worth_another_try(policy, outcome) {
        return Verdict::Stop;
    }
    wait_for(policy, outcome, retries + 1, random)
}

const fn lost_race(outcome: &Outcome) -> bool {
    matches!(outcome.reason, Some(Reason::UpstreamClosed))
        && outcome.reused_connection
        && outcome.races_so_far < MAX_RACES
}

fn worth_another_try(policy: &RetryPolicy, outcome: &Outcome) -> bool {
    match (outcome.reason, outcome.status) {
        (Some(reason), _) => may_pass(reason),
        (None, Some(status)) => outcome.idempotent && policy.statuses.contains(&status),
        (None, None) => false,
    }
}

/// Whether another try, perhaps at another endpoint, may well end differently.
const fn may_pass(reason: Reason) -> bool {
    match reason {
        Reason::UpstreamConnectRefused
        | Reason::UpstreamConnectTimeout
        | Reason::UpstreamConnectFailed
        | Reason::UpstreamClosed
        | Reason::UpstreamTruncated
        | Reason::UpstreamReset
        | Reason::UpstreamLost
        | Reason::UpstreamTimeout => true,
        // The client's doing, or its leaving.
        Reason::DownstreamAbort
        | Reason::DownstreamHeadTimeout
        | Reason::DownstreamBodyTimeout
        | Reason::DownstreamMalformed
        | Reason::DownstreamHeadTooLarge
        | Reason::DownstreamProtocol
        | Reason::DownstreamUnsupported => false,
        // Our own state: the same in a moment, and a full upstream needs less work, not more.
        Reason::DrainDeadline
        | Reason::Draining
        | Reason::Loop
        | Reason::NoRoute
        | Reason::NoEndpoint
        | Reason::AppNotListening
        | Reason::UpstreamConnectionLimit
        | Reason::UpstreamPendingLimit
        | Reason::UpstreamRequestLimit
        | Reason::HostLimit
        | Reason::ConnectionLimit
        | Reason::Internal => false,
        // The resolver has tried again already.
        Reason::DnsFailure => false,
        // The same request would get the same answer.
        Reason::UpstreamMalformed | Reason::UpstreamHeadTooLarge => false,
        // A response had begun to arrive.
        Reason::UpstreamIdleTimeout => false,
    }
}

/// An endpoint that names a time is not asked before it, and where that is later than the longest
/// wait of the policy, its response goes to the client, who may have the patience.
fn wait_for(
    policy: &RetryPolicy,
    outcome: &Outcome,
    retry_number: u32,
    random: &mut Random,
) -> Verdict {
    let asked = outcome.retry_after.unwrap_or(Duration::ZERO);
    if asked > policy.backoff_max {
        return Verdict::Stop;
    }
    Verdict::RetryAfter(backoff(policy, retry_number, random).max(asked))
}

/// The wait before retry number `retry_number` (the first is 1): anything from nothing to
/// `policy.backoff`, doubled for each retry before it, at most `policy.backoff_max`. The whole range
/// is jittered, so that clients which failed together do not come back together.
pub fn backoff(policy: &RetryPolicy, retry_number: u32, random: &mut Random) -> Duration {
    let doubled = 1_u32.checked_shl(retry_number.saturating_sub(1)).unwrap_or(u32::MAX);
    let longest = policy.backoff.saturating_mul(doubled).min(policy.backoff_max);
    let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(random.up_to(nanos))
}

/// The wait that a `Retry-After` value asks for (RFC 9110 §10.2.3): seconds, or a date, which is
/// compared with `now` and is no wait once it has passed. `None` for what is neither; dates in the
/// two obsolete forms count as neither.
pub fn retry_after(value: &[u8], now: SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than the type holds is as good as never.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = http_date::parse(text)?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

/// Whether sending a request of this method twice means no more than sending it once (RFC 9110
/// §9.2.2). Methods are case-sensitive, and an unknown one is not.
pub fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"PUT" | b"DELETE" | b"OPTIONS" | b"TRACE")
}

#[cfg(test)]
mod tests;
