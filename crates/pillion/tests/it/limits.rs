//! Every limit, at its edge and one past it.

use pillion_testkit::{Gate, Origin, Pillion, Wire};

use crate::{get, inbound_to, pillion};

fn with_limits(origin: &Origin, limits: &str) -> Pillion {
    pillion().config(format!("{}limits: {{{limits}}}\n", inbound_to(origin.address()))).start()
}

fn with_upstream_limits(origin: &Origin, limits: &str) -> Pillion {
    let limits = format!("limits: {{{limits}}}, endpoints:");
    pillion().config(inbound_to(origin.address()).replace("endpoints:", &limits)).start()
}

/// Answers each request once the gate is open.
fn gated(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::answering(move |_, _| {
        gate.wait();
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()
    })
}

fn assert_refused(wire: &mut Wire, status: u16, reason: &str) {
    let response = wire.response();
    assert_eq!((response.status, response.reason()), (status, Some(reason)));
}

#[test]
fn bytes_of_a_head() {
    let origin = Origin::saying("hello");
    let pillion = with_limits(&origin, "head_bytes: 2KiB");
    let fixed = "GET / HTTP/1.1\r\nhost: a\r\nx: \r\n\r\n".len();
    let head = |bytes: usize| {
        format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(bytes - fixed))
    };
    let mut wire = pillion.connect_inbound();
    assert_eq!(wire.send(head(2048)).response().status, 200);
    wire.send(head(2049));
    assert_refused(&mut wire, 431, "downstream_head_too_large");
    pillion.logged("reason", "downstream_head_too_large");
    pillion.wait_for_metric("pillion_requests_total{reason=\"downstream_head_too_large\"}", 1.0);
}

#[test]
fn a_head_of_a_megabyte_is_not_read_to_its_end() {
    let origin = Origin::saying("hello");
    let pillion = with_limits(&origin, "");
    let mut wire = pillion.connect_inbound();
    // Pillion may hang up before it has read everything: what counts is what it says before.
    drop(wire.try_send(format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "a".repeat(1 << 20))));
    assert_refused(&mut wire, 431, "downstream_head_too_large");
    assert_eq!(origin.connections(), 0);
}

#[test]
fn fields_of_a_head() {
    let origin = Origin::saying("hello");
    let pillion = with_limits(&origin, "head_fields: 10");
    let head = |fields: usize| {
        format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: 1\r\n".repeat(fields - 1))
    };
    let mut wire = pillion.connect_inbound();
    assert_eq!(wire.send(head(10)).response().status, 200);
    wire.send(head(11));
    assert_refused(&mut wire, 431, "downstream_head_too_large");
}

#[test]
fn connections_of_clients() {
    let origin = Origin::saying("hello");
    let pillion = with_limits(&origin, "connections: 2");
    let mut wires: Vec<_> = (0..2).map(|_| pillion.connect_inbound()).collect();
    for wire in &mut wires {
        assert_eq!(wire.send(get("/")).response().status, 200);
    }
    // However it is told, the third is not served, and the two others are not disturbed.
    let mut third = pillion.connect_inbound();
    drop(third.try_send(get("/third")));
    let (answer, _) = third.read_to_end();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 503"), "{}", answer.escape_ascii());
    for wire in &mut wires {
        assert_eq!(wire.send(get("/")).response().status, 200);
    }
    wires.pop();
    pillion.wait_for_metric("pillion_connections", 1.0);
    assert_eq!(pillion.connect_inbound().send(get("/")).response().status, 200);
    assert!(origin.requests().iter().all(|(head, _)| !head.line.contains("third")));
}

#[test]
fn requests_of_one_connection() {
    let origin = Origin::saying("hello");
    let pillion = with_limits(&origin, "requests_per_connection: 2");
    let mut wire = pillion.connect_inbound();
    assert_eq!(wire.send(get("/1")).response().header("connection"), None);
    assert_eq!(wire.send(get("/2")).response().header("connection"), Some("close"));
    assert_eq!(wire.read_to_end().0, b"");
}

#[test]
fn requests_in_flight_to_an_upstream() {
    let gate = Gate::new();
    let origin = gated(&gate);
    let pillion = with_upstream_limits(&origin, "requests: 2");
    let mut wires: Vec<_> = (0..2).map(|_| pillion.connect_inbound()).collect();
    for wire in &mut wires {
        wire.send(get("/"));
    }
    pillion_testkit::eventually("both are at the app", || origin.requests().len() == 2);
    let mut third = pillion.connect_inbound();
    third.send(get("/third"));
    assert_refused(&mut third, 503, "upstream_request_limit");
    gate.open();
    for wire in &mut wires {
        assert_eq!(wire.response().status, 200);
    }
    assert_eq!(third.send(get("/")).response().status, 200, "there is room again");
}

#[test]
fn connections_to_an_upstream() {
    let gate = Gate::new();
    let origin = gated(&gate);
    let config = inbound_to(origin.address()).replace(
        "endpoints:",
        "connect_timeout: 15s, limits: {connections: 1, pending: 1}, endpoints:",
    );
    let pillion = pillion().config(config).start();
    let mut first = pillion.connect_inbound();
    first.send(get("/first"));
    origin.request();
    let mut waiting = pillion.connect_inbound();
    waiting.send(get("/waiting"));
    // One waits for the connection; once that is seen, there is no room for another.
    pillion.wait_for_metric("pillion_upstream_requests_pending{upstream=\"origin\"}", 1.0);
    let mut refused = pillion.connect_inbound();
    refused.send(get("/refused"));
    assert_refused(&mut refused, 503, "upstream_pending_limit");
    gate.open();
    assert_eq!(first.response().status, 200);
    assert_eq!(waiting.response().status, 200);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_wait_for_a_connection_ends_with_the_time_to_connect() {
    let gate = Gate::new();
    let origin = gated(&gate);
    let config = inbound_to(origin.address())
        .replace("endpoints:", "connect_timeout: 100ms, limits: {connections: 1}, endpoints:")
        .replace("{upstream: origin}", "{upstream: origin, retry: {retries: 0}}");
    let pillion = pillion().config(config).start();
    let mut first = pillion.connect_inbound();
    first.send(get("/first"));
    origin.request();
    let mut second = pillion.connect_inbound();
    second.send(get("/second"));
    assert_refused(&mut second, 503, "upstream_connection_limit");
    let line = pillion.logged("reason", "upstream_connection_limit");
    assert!(line["pillion_us"].as_u64().unwrap() < 90_000, "others were waited for: {line}");
    gate.open();
    assert_eq!(first.response().status, 200);
}

#[test]
fn nobody_waits_for_a_connection_where_none_may() {
    let gate = Gate::new();
    let origin = gated(&gate);
    let pillion = with_upstream_limits(&origin, "connections: 1, pending: 0");
    let mut first = pillion.connect_inbound();
    first.send(get("/first"));
    origin.request();
    let mut second = pillion.connect_inbound();
    let response = second.send(get("/second")).response();
    assert_eq!(response.status, 503);
    let reason = response.reason().unwrap();
    assert!(["upstream_connection_limit", "upstream_pending_limit"].contains(&reason), "{reason}");
    gate.open();
    assert_eq!(first.response().status, 200);
}

#[test]
fn retries_in_flight() {
    // Two endpoints fail at once; only so many of the requests in flight may be tried again.
    let origin =
        Origin::answering(|_, _| b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".to_vec());
    let config = inbound_to(origin.address())
        .replace("endpoints:", "limits: {retry_percent: 0, retry_min: 0}, endpoints:")
        .replace(
            "{upstream: origin}",
            "{upstream: origin, retry: {statuses: [503], backoff: 1ms}}",
        );
    let pillion = pillion().config(config).start();
    assert_eq!(pillion.connect_inbound().send(get("/")).response().status, 503);
    assert_eq!(pillion.logged("status", 503)["attempts"], 1);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn hosts_that_the_outbound_side_remembers() {
    let origins: Vec<_> = (0..3).map(|_| Origin::saying("hello")).collect();
    let pillion = pillion().config("limits: {hosts: 2}\n").start();
    let mut wire = pillion.connect_outbound();
    let mut ask = |origin: &Origin| {
        wire.send(format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", origin.address())).response()
    };
    assert_eq!((ask(&origins[0]).status, ask(&origins[1]).status), (200, 200));
    let refused = ask(&origins[2]);
    assert_eq!((refused.status, refused.reason()), (503, Some("host_limit")));
    assert_eq!((ask(&origins[0]).status, ask(&origins[1]).status), (200, 200));
}
