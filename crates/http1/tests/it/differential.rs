//! Where messages end, compared with two other readers: hyper in this process, and HAProxy as a
//! real proxy in front of an origin.
//!
//! Every conversation is followed by one more request, so that a reader that takes a byte too many
//! or too few shows it. What is compared is the list of requests that were read to their end, each
//! with its payload: a refusal ends the list.

mod cases;
mod haproxy_peer;
mod hyper_peer;
mod random;

use std::time::Duration;

use crate::conversation::{self, Message};
use cases::{CASES, Case};
use haproxy_peer::HaProxy;

const SENTINEL: &[u8] = b"GET /sentinel HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn with_sentinel(raw: &[u8]) -> Vec<u8> {
    [raw, SENTINEL].concat()
}

/// Compares one case, and says what is wrong with it.
fn judge(case: &Case, reason: Option<&str>, theirs: &[Message]) -> Option<String> {
    let ours = conversation::read(&with_sentinel(case.raw.as_bytes()));
    let problem = match (reason, ours == theirs) {
        (None, true) | (Some(_), false) => return None,
        (None, false) => "differs, and no line explains it",
        (Some(_), true) => "does not differ: take its explanation out",
    };
    Some(format!("{}: {problem}\n  ours   {ours:?}\n  theirs {theirs:?}", case.name))
}

fn report(peer: &str, problems: &[String]) {
    assert!(problems.is_empty(), "against {peer}:\n{}", problems.join("\n"));
}

/// Two readers agree on every end if one of them only stops earlier, by refusing.
fn agree(ours: &[Message], theirs: &[Message]) -> bool {
    ours.iter().zip(theirs).all(|(ours, theirs)| ours == theirs)
}

#[tokio::test]
async fn messages_end_where_hyper_ends_them() {
    let mut problems = Vec::new();
    for case in CASES {
        let theirs = hyper_peer::read(&with_sentinel(case.raw.as_bytes())).await;
        problems.extend(judge(case, case.hyper, &theirs));
    }
    report("hyper", &problems);
}

#[tokio::test]
async fn messages_end_where_haproxy_ends_them() {
    let haproxy = HaProxy::start().await;
    let raws = CASES.iter().map(|case| with_sentinel(case.raw.as_bytes())).collect();
    let read = haproxy.read_all(raws, Duration::from_secs(2)).await;
    let judged = CASES.iter().zip(read).map(|(case, theirs)| judge(case, case.haproxy, &theirs));
    report("HAProxy", &judged.flatten().collect::<Vec<_>>());
}

#[tokio::test]
async fn random_conversations_never_end_elsewhere_for_hyper() {
    let mut random = random::Conversations::new();
    for _ in 0..3000 {
        let raw = with_sentinel(&random.next());
        let (ours, theirs) = (conversation::read(&raw), hyper_peer::read(&raw).await);
        assert!(agree(&ours, &theirs), "{}", random.describe(&raw, &ours, &theirs));
    }
}

#[tokio::test]
async fn random_conversations_never_end_elsewhere_for_haproxy() {
    let haproxy = HaProxy::start().await;
    let mut random = random::Conversations::new();
    let raws: Vec<_> = (0..600).map(|_| with_sentinel(&random.next())).collect();
    // A wait that is too short on a slow machine only ends their list early.
    let read = haproxy.read_all(raws.clone(), Duration::from_millis(200)).await;
    for (raw, theirs) in raws.iter().zip(read) {
        let ours = conversation::read(raw);
        assert!(agree(&ours, &theirs), "{}", random.describe(raw, &ours, &theirs));
    }
}
