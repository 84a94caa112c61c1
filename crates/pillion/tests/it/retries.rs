//! What is sent again, and what never is.

use pillion_testkit::{Origin, Pillion};

use crate::{get, inbound_to, pillion, post};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Closes each kept-alive connection when the second request on it arrives: the keep-alive race.
fn closes_at_reuse() -> Origin {
    Origin::start(|mut conn| {
        if conn.request().is_some() {
            conn.send(OK);
            conn.head();
        }
    })
}

/// Answers with each of these in turn, and with the last one from then on.
fn in_turn(answers: &'static [&'static str]) -> Origin {
    let turn = std::sync::atomic::AtomicUsize::new(0);
    Origin::answering(move |_, _| {
        let at = turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        answers[at.min(answers.len() - 1)].as_bytes().to_vec()
    })
}

fn with_retry(origin: &Origin, retry: &str) -> Pillion {
    let route = format!("{{upstream: origin, retry: {{{retry}}}}}");
    pillion().config(inbound_to(origin.address()).replace("{upstream: origin}", &route)).start()
}

#[test]
fn a_get_that_loses_the_keep_alive_race_is_sent_again() {
    let origin = closes_at_reuse();
    // Even without a retry policy: nobody is to blame for the race.
    let pillion = with_retry(&origin, "retries: 0");
    let mut wire = pillion.connect_inbound();
    for number in 0..10 {
        assert_eq!(wire.send(get(&format!("/{number}"))).response().status, 200);
    }
    assert_eq!(pillion.logged("path", "/9")["attempts"], 2);
}

#[test]
fn a_post_that_loses_the_keep_alive_race_is_not() {
    let origin = closes_at_reuse();
    let pillion = with_retry(&origin, "retries: 5");
    let mut wire = pillion.connect_inbound();
    assert_eq!(wire.send(post("/first", "body")).response().status, 200);
    let response = wire.send(post("/second", "body")).response();
    assert_eq!((response.status, response.reason()), (502, Some("upstream_closed")));
    assert_eq!(pillion.logged("path", "/second")["attempts"], 1);
    assert_eq!(wire.send(post("/third", "body")).response().status, 200);
    assert!(origin.requests().iter().all(|(head, _)| !head.line.contains("/second")));
}

#[test]
fn a_post_is_sent_on_a_fresh_connection_when_the_kept_one_was_closed_before() {
    let origin = Origin::once(OK);
    let pillion = with_retry(&origin, "retries: 0");
    let mut wire = pillion.connect_inbound();
    for number in 0..10 {
        assert_eq!(wire.send(post("/", "body")).response().status, 200, "request {number}");
        pillion.wait_for_metric("pillion_upstream_connections", 0.0);
    }
}

#[test]
fn statuses_worth_another_try_are_tried_again_for_idempotent_methods_alone() {
    const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy";
    let cases = [("GET", 200, 2), ("PUT", 200, 2), ("POST", 503, 1), ("PATCH", 503, 1)];
    for (method, status, requests) in cases {
        let origin = in_turn(&[UNAVAILABLE, OK]);
        let pillion = with_retry(&origin, "statuses: [503], backoff: 1ms");
        let body = if method == "GET" { "" } else { "content-length: 4\r\n" };
        let data = if method == "GET" { "" } else { "body" };
        let sent = format!("{method} / HTTP/1.1\r\nhost: a\r\n{body}\r\n{data}");
        let response = pillion.connect_inbound().send(sent).response();
        assert_eq!(response.status, status, "{method}");
        assert_eq!(response.reason(), None, "{method}: it is the app's own answer");
        assert_eq!(pillion.logged("method", method)["attempts"], requests);
        let seen = origin.requests();
        assert_eq!(seen.len(), requests, "{method}");
        assert!(seen.iter().all(|(_, body)| body.data == data.as_bytes()), "{method}");
    }
}

#[test]
fn tries_end_with_the_last_answer() {
    let origin = in_turn(&["HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy"]);
    let pillion = with_retry(&origin, "statuses: [503], retries: 2, backoff: 1ms");
    let response = pillion.connect_inbound().send(get("/")).response();
    assert_eq!((response.status, response.text().as_str()), (503, "busy"));
    assert_eq!(pillion.logged("status", 503)["attempts"], 3);
    assert_eq!(origin.requests().len(), 3);
}

#[test]
fn a_body_larger_than_is_kept_is_sent_once() {
    let origin = in_turn(&["HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", OK]);
    let pillion = with_retry(&origin, "statuses: [503], backoff: 1ms, body: 1KiB");
    for (size, status) in [(1025, 503), (1024, 200)] {
        let origin = in_turn(&["HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", OK]);
        pillion.write_config(&inbound_to(origin.address()).replace(
            "{upstream: origin}",
            "{upstream: origin, retry: {statuses: [503], backoff: 1ms, body: 1KiB}}",
        ));
        assert_eq!(pillion.admin.post("/reload").0, 200);
        let body = "x".repeat(size);
        let sent = format!("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n{body}");
        let response = pillion.connect_inbound().send(sent).response();
        assert_eq!(response.status, status, "{size} bytes");
    }
}

#[test]
fn a_try_that_takes_too_long_is_tried_elsewhere() {
    let stuck = Origin::start(|mut conn| {
        conn.request();
        conn.wait_for_end();
    });
    let good = Origin::saying("hello");
    let config = format!(
        "upstreams: {{origin: {{balance: round_robin, endpoints: [\"{}\", \"{}\"]}}}}\n\
         inbound: {{routes: [{{upstream: origin, try_timeout: 150ms, retry: {{backoff: 1ms}}}}]}}\n",
        stuck.address(),
        good.address()
    );
    let pillion = pillion().config(config).start();
    let mut wire = pillion.connect_inbound();
    for _ in 0..4 {
        assert_eq!(wire.send(get("/")).response().status, 200);
    }
    assert!(stuck.connections() >= 1, "the stuck endpoint was tried too");
    let response = wire.send(post("/", "body")).response();
    let again = wire.send(post("/", "body")).response();
    let mut statuses = [response.status, again.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 504], "a POST is not tried again");
}
