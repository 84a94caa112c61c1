//! A server that fails, is slow, or is stopped: what was delivered stays, and nobody hammers it.

use std::time::{Duration, Instant};

use pillion_testkit::{Pillion, Relay, Signal, eventually, send_signal};
use serde_json::json;

use super::bed::{Bed, assert_said};
use crate::pillion;

/// Secrets that are looked at ten times a second each, as long as the server answers.
const SECRETS: usize = 5;
const CANNOT: &str = "a secret cannot be refreshed; what was delivered stays";
const AGAIN: &str = "a secret can be refreshed again";

/// The role at work before a relay, with all secrets delivered.
fn ride(bed: &Bed, relay: &Relay, timeout: &str) -> Pillion {
    let (mut secrets, mut files) = (Vec::new(), Vec::new());
    for secret in 0..SECRETS {
        bed.bao.put_secret(&format!("s{secret}"), &json!({"key": "old"}));
        secrets.push(format!("s{secret}: {{path: secret/s{secret}, interval: 100ms}}"));
        files.push(format!("s{secret}: {{secret: s{secret}, key: key}}"));
    }
    let server = bed.server_at(&relay.url()).replace("timeout: 5s", timeout);
    let config = format!(
        "secrets:\n  {server}\n  secrets: {{{}}}\n  sets: {{main: {{directory: {}, files: {{{}}}}}}}\n  \
         readiness: {{wait: true, max_stale: 1s}}\n",
        secrets.join(", "),
        bed.path("to").display(),
        files.join(", ")
    );
    pillion().config(config).start_ready()
}

fn staleness(pillion: &Pillion) -> f64 {
    pillion.metric("pillion_secrets_staleness_seconds")
}

/// Waits until the role says that it is not ready, as it could not refresh for too long. Returns
/// what it says, and how long that took.
fn not_ready(pillion: &Pillion) -> (String, Duration) {
    let began = Instant::now();
    let mut said = String::new();
    eventually("not ready", || {
        let (status, text) = pillion.admin.get("/ready");
        said = text;
        status == 503
    });
    (said, began.elapsed())
}

/// The server is itself again, and has other values: they arrive, and all is well.
fn recovers(bed: &Bed, pillion: &Pillion, value: &str) {
    for secret in 0..SECRETS {
        bed.bao.put_secret(&format!("s{secret}"), &json!({"key": value}));
    }
    let is_new = |secret| bed.read(&format!("to/s{secret}")) == value;
    eventually("the new values", || (0..SECRETS).all(is_new));
    eventually("ready", || pillion.admin.get("/ready").0 == 200);
    eventually("nothing is stale", || staleness(pillion) == 0.0);
}

#[test]
fn answers_of_failure_are_waited_out_while_what_was_delivered_stays() {
    let bed = Bed::new();
    let relay = Relay::before(bed.bao.address());
    let pillion = ride(&bed, &relay, "timeout: 5s");
    // Of 500 nobody knows whether it is the path's or the server's: each path waits for itself.
    let table = [
        ("500 Oops", "status 500: the server failed", SECRETS),
        ("503 Unavailable", "no active server answers", 1),
        ("429 Slow\r\nretry-after: 1", "too many requests", 1),
    ];
    for (round, (head, says, askers)) in table.into_iter().enumerate() {
        relay.answer("", head);
        relay.forget();
        let (said, took) = not_ready(&pillion);
        let asked = relay.seen().len();
        assert!(said.contains("could not be refreshed for") && said.contains(says), "{said}");
        assert!(staleness(&pillion) > 0.0);
        assert!((0..SECRETS).all(|secret| !bed.read(&format!("to/s{secret}")).is_empty()));
        // Waits of 50, 100, 200, 400, 400 … ms, of which chance takes up to a half; and whoever was
        // on the way when it began.
        let most = SECRETS + askers * (4 + took.as_millis() as usize / 200);
        assert!(asked <= most, "{head}: {asked} requests in {took:?}: {:?}", relay.seen());
        relay.pass();
        recovers(&bed, &pillion, &format!("new {round}"));
    }
    for secret in 0..SECRETS {
        let value = "a secret has new values";
        let expected = [value, CANNOT, AGAIN, value, CANNOT, AGAIN, value, CANNOT, AGAIN, value];
        assert_said(&pillion, "secret", &format!("s{secret}"), &expected);
    }
}

#[test]
fn a_server_that_is_slow_or_stopped_is_waited_for() {
    let bed = Bed::new();
    let relay = Relay::before(bed.bao.address());
    let pillion = ride(&bed, &relay, "timeout: 300ms");
    relay.delay("", Duration::from_secs(2));
    let (said, took) = not_ready(&pillion);
    assert!(said.contains("300ms") && said.contains(&relay.url()), "{said}");
    relay.pass();
    recovers(&bed, &pillion, "after it was slow");
    relay.forget();
    send_signal(bed.bao.peer.pid(), Signal::SIGSTOP);
    let stopped = not_ready(&pillion);
    let asked = relay.seen().len();
    send_signal(bed.bao.peer.pid(), Signal::SIGCONT);
    // Each request takes its time, and each path then waits.
    let most = SECRETS * (4 + stopped.1.as_millis() as usize / 500);
    assert!(asked <= most, "{asked} requests in {:?}; slow took {took:?}", stopped.1);
    recovers(&bed, &pillion, "after it was stopped");
}
