//! Upstreams and clients that fail: a clear answer, the reason where one looks for it, and nothing
//! left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pillion_testkit::{ClosedPort, End, Gate, Origin, Pillion, Wire};

use crate::{get, in_front_of, inbound_to, pillion, post};

/// Pillion before an origin, on a route with further settings and without retries.
fn with_route(origin: &Origin, settings: &str) -> Pillion {
    let route = format!("{{upstream: origin, retry: {{retries: 0}}, {settings}}}");
    pillion().config(inbound_to(origin.address()).replace("{upstream: origin}", &route)).start()
}

/// The response says so, the log says so, the metric says so.
fn assert_refused(pillion: &Pillion, wire: &mut Wire, status: u16, reason: &str) {
    let response = wire.response();
    assert_eq!((response.status, response.reason()), (status, Some(reason)));
    assert!(response.header("proxy-status").unwrap().starts_with("pillion; error="));
    assert!(response.text().contains(reason), "{}", response.text());
    assert_eq!(pillion.logged("reason", reason)["status"], status);
    let metric = format!("pillion_requests_total{{reason=\"{reason}\",code=\"{status}\"}}");
    pillion.wait_for_metric(&metric, 1.0);
}

/// No exchange, connection or waiting request is left.
fn assert_nothing_is_left(pillion: &Pillion, wire: Wire) {
    drop(wire);
    pillion.wait_for_metric("pillion_connections{direction=\"inbound\"}", 0.0);
    pillion.wait_for_metric("pillion_upstream_connections", 0.0);
}

#[test]
fn an_endpoint_that_refuses() {
    let port = ClosedPort::new();
    let pillion = in_front_of(port.address());
    let mut wire = pillion.connect_inbound();
    wire.send(post("/", "body"));
    assert_refused(&pillion, &mut wire, 502, "upstream_connect_refused");
    assert_nothing_is_left(&pillion, wire);
}

#[test]
fn an_endpoint_that_never_answers() {
    let origin = Origin::start(|mut conn| {
        conn.request();
        conn.wait_for_end();
    });
    let pillion = with_route(&origin, "timeout: 150ms");
    let mut wire = pillion.connect_inbound();
    wire.send(get("/"));
    assert_refused(&pillion, &mut wire, 504, "upstream_timeout");
    assert_nothing_is_left(&pillion, wire);
}

#[test]
fn an_endpoint_that_does_not_accept() {
    let port = ClosedPort::new();
    port.listen(0);
    // The backlog of 0 holds one connection; the next one waits for its SYN to be answered.
    let filler = Wire::connect(port.address());
    let config =
        inbound_to(port.address()).replace("endpoints:", "connect_timeout: 150ms, endpoints:");
    let config = config.replace("{upstream: origin}", "{upstream: origin, retry: {retries: 0}}");
    let pillion = pillion().config(config).start();
    let mut wire = pillion.connect_inbound();
    wire.send(get("/"));
    assert_refused(&pillion, &mut wire, 504, "upstream_connect_timeout");
    drop(filler);
}

#[test]
fn an_endpoint_that_is_too_busy_to_accept_for_a_moment_is_waited_for() {
    let port = ClosedPort::new();
    port.listen(0);
    let filler = Wire::connect(port.address());
    let pillion = in_front_of(port.address());
    let mut wire = pillion.connect_inbound();
    wire.send(post("/", "body"));
    pillion.wait_for_metric("pillion_upstream_connections", 1.0);
    // Its first SYN was dropped by the full backlog; the next finds room.
    drop((port.accept(), filler));
    let mut app = port.accept();
    app.try_read_head().unwrap();
    app.try_send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
    assert_eq!(wire.response().text(), "ok");
}

#[test]
fn an_endpoint_that_closes_without_a_word() {
    let origin = Origin::start(|mut conn| drop(conn.request()));
    let pillion = with_route(&origin, "");
    let mut wire = pillion.connect_inbound();
    wire.send(get("/"));
    assert_refused(&pillion, &mut wire, 502, "upstream_closed");
    assert_nothing_is_left(&pillion, wire);
}

#[test]
fn an_endpoint_that_resets_before_it_answers() {
    let origin = Origin::start(|mut conn| {
        conn.request();
        conn.reset();
    });
    let pillion = with_route(&origin, "");
    let mut wire = pillion.connect_inbound();
    wire.send(get("/"));
    assert_refused(&pillion, &mut wire, 502, "upstream_closed");
    assert_nothing_is_left(&pillion, wire);
}

#[test]
fn an_endpoint_that_answers_garbage() {
    let cases = [
        "\0\u{1}\u{2} garbage\r\n\r\n",
        "HTTP/1.1 99 X\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\nserver: bare\n\n",
        "HTTP/1.1 200 OK\r\nx: a\r\n folded\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: never-asked\r\nconnection: upgrade\r\n\r\n",
    ];
    for answer in cases {
        let origin = Origin::once(answer);
        let pillion = with_route(&origin, "");
        let mut wire = pillion.connect_inbound();
        wire.send(get("/"));
        assert_refused(&pillion, &mut wire, 502, "upstream_malformed");
        assert_nothing_is_left(&pillion, wire);
    }
}

#[test]
fn a_response_head_that_is_too_large() {
    let origin = Origin::once(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(40_000)));
    let pillion = with_route(&origin, "");
    let mut wire = pillion.connect_inbound();
    wire.send(get("/"));
    assert_refused(&pillion, &mut wire, 502, "upstream_head_too_large");
}

#[test]
fn a_response_that_is_cut_off_does_not_look_complete() {
    let cases = [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n01234",
    ];
    for answer in cases {
        let origin = Origin::once(answer);
        let pillion = with_route(&origin, "");
        let mut wire = pillion.connect_inbound();
        let head = wire.send(get("/")).head();
        assert!(head.line.starts_with("HTTP/1.1 200"), "{head:?}");
        let (body, _) = wire.read_to_end();
        assert!(!body.ends_with(b"0\r\n\r\n"), "{}", body.escape_ascii());
        assert_eq!(pillion.logged("reason", "upstream_truncated")["status"], 200);
        pillion.wait_for_metric("pillion_requests_total{reason=\"upstream_truncated\"}", 1.0);
        assert_nothing_is_left(&pillion, wire);
    }
}

#[test]
fn a_cut_off_response_to_an_old_client_ends_in_a_reset() {
    // Only the end of the connection would end it, so an orderly end would be a lie.
    let origin =
        Origin::once("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n");
    let pillion = with_route(&origin, "");
    let mut wire = pillion.connect_inbound();
    wire.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(wire.read_to_end().1, End::Reset);
}

#[test]
fn a_response_that_falls_silent() {
    let origin = Origin::start(|mut conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789");
        conn.wait_for_end();
    });
    let pillion = with_route(&origin, "stream_idle_timeout: 150ms");
    let mut wire = pillion.connect_inbound();
    wire.send(get("/")).head();
    assert_eq!(wire.read_to_end().0, b"0123456789");
    pillion.logged("reason", "upstream_idle_timeout");
    assert_nothing_is_left(&pillion, wire);
}

#[test]
fn a_slow_body_that_keeps_moving_is_not_cut_off() {
    let origin = Origin::start(|mut conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n");
        for _ in 0..8 {
            // Slow on purpose: together far longer than the timeout, each alone far shorter.
            std::thread::sleep(std::time::Duration::from_millis(100));
            conn.send("x");
        }
    });
    let pillion = with_route(&origin, "stream_idle_timeout: 600ms");
    let response = pillion.connect_inbound().send(get("/")).response();
    assert_eq!(response.text(), "xxxxxxxx");
}

#[test]
fn a_client_that_leaves_while_the_app_works_frees_the_app() {
    let (working, left) = (Gate::new(), Gate::new());
    let (began, ended) = (working.clone(), left.clone());
    let origin = Origin::start(move |mut conn| {
        conn.request();
        began.open();
        conn.wait_for_end();
        ended.open();
    });
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    wire.send(get("/"));
    working.wait();
    drop(wire);
    left.wait();
    assert_eq!(pillion.logged("reason", "downstream_abort")["status"], 499);
    pillion.wait_for_metric("pillion_upstream_connections", 0.0);
}

#[test]
fn a_client_that_leaves_inside_a_response_frees_the_app() {
    let left = Gate::new();
    let ended = left.clone();
    let origin = Origin::start(move |mut conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while conn.try_send("4\r\nmore\r\n").is_ok() {
            // Until Pillion hangs up.
        }
        ended.open();
    });
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    wire.send(get("/")).head();
    wire.read_exact(100);
    pillion_testkit::Stream::from(wire).reset();
    left.wait();
    pillion.logged("reason", "downstream_abort");
    pillion.wait_for_metric("pillion_connections{direction=\"inbound\"}", 0.0);
}

#[test]
fn a_client_that_leaves_inside_its_body_is_no_complete_request() {
    let origin = Origin::saying("hello");
    let pillion = in_front_of(origin.address());
    for framing in
        ["content-length: 100\r\n\r\n01234", "transfer-encoding: chunked\r\n\r\n5\r\n01234\r\n"]
    {
        let mut wire = pillion.connect_inbound();
        wire.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}"));
        wire.half_close();
        wire.read_to_end();
    }
    pillion.wait_for_metric("pillion_requests_total{reason=\"downstream_abort\"}", 2.0);
    assert_eq!(origin.requests().len(), 0);
    pillion.wait_for_metric("pillion_upstream_connections", 0.0);
}

#[test]
fn a_request_body_that_stops() {
    let origin = Origin::saying("hello");
    let pillion = with_route(&origin, "stream_idle_timeout: 150ms");
    let mut wire = pillion.connect_inbound();
    wire.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n01234");
    assert_refused(&pillion, &mut wire, 408, "downstream_body_timeout");
    assert_eq!(origin.requests().len(), 0);
    assert_nothing_is_left(&pillion, wire);
}

#[test]
fn a_request_head_that_stops() {
    let origin = Origin::saying("hello");
    let config =
        inbound_to(origin.address()).replace("inbound: {", "inbound: {head_timeout: 150ms, ");
    let pillion = pillion().config(config).start();
    let mut wire = pillion.connect_inbound();
    wire.send("GET / HTTP/1.1\r\nhost: a\r\nx-half");
    assert_refused(&pillion, &mut wire, 408, "downstream_head_timeout");
    assert_eq!(wire.read_to_end().0, b"");
    assert_nothing_is_left(&pillion, wire);
}

#[test]
fn a_client_that_leaves_inside_its_head_disturbs_nobody() {
    let origin = Origin::saying("hello");
    let pillion = in_front_of(origin.address());
    let mut other = pillion.connect_inbound();
    for part in ["G", "GET / HT", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nhost: a\r\nx"] {
        let mut wire = pillion.connect_inbound();
        wire.send(part);
        drop(wire);
        assert_eq!(other.send(get("/")).response().status, 200);
    }
    pillion.wait_for_metric("pillion_connections{direction=\"inbound\"}", 1.0);
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    let origin = Origin::saying("hello");
    let config = inbound_to(origin.address())
        .replace("inbound: {", "inbound: {head_timeout: 150ms, idle_timeout: 150ms, ");
    let pillion = pillion().config(config).start();
    let mut wire = pillion.connect_inbound();
    assert_eq!(wire.read_to_end().0, b"", "silent from the start");
    for beginning in ["G", "PRI * HT"] {
        let mut wire = pillion.connect_inbound();
        wire.send(beginning);
        assert_ne!(wire.read_to_end().0, b"HTTP/1.1 200", "silent after {beginning}");
    }
    let mut wire = pillion.connect_inbound();
    wire.send(get("/")).response();
    assert_eq!(wire.read_to_end(), (Vec::new(), End::Closed), "silent after a request");
}

#[test]
fn garbage_is_answered_400_where_only_http_is_spoken() {
    let origin = Origin::saying("hello");
    let config = inbound_to(origin.address()).replace("inbound: {", "inbound: {protocol: http, ");
    let pillion = pillion().config(config).start();
    let mut wire = pillion.connect_inbound();
    wire.send(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03");
    let response = wire.response();
    assert_eq!(response.status, 400);
    let reason = response.reason().unwrap().to_owned();
    assert!(["downstream_protocol", "downstream_malformed"].contains(&reason.as_str()), "{reason}");
    pillion.logged("reason", reason);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_host_that_does_not_resolve() {
    let config = "upstreams: {origin: {endpoints: [\"no-such-host.invalid:80\"]}}\n\
                  inbound: {routes: [{upstream: origin}]}\n";
    let pillion = pillion().config(config).start();
    let mut wire = pillion.connect_inbound();
    wire.send(get("/"));
    assert_refused(&pillion, &mut wire, 502, "dns_failure");
}

#[test]
fn a_name_with_several_addresses_is_served_by_those_that_work() {
    // `localhost` is often ::1 too, where nobody listens on this port.
    let origin = Origin::saying("hello");
    let name = format!("localhost:{}", origin.address().port());
    let config = format!(
        "upstreams: {{origin: {{endpoints: [\"{name}\"]}}}}\n\
         inbound: {{routes: [{{upstream: origin}}]}}\n"
    );
    let pillion = pillion().config(config).start();
    for _ in 0..10 {
        assert_eq!(pillion.connect_inbound().send(post("/", "body")).response().status, 200);
    }
    let sent = format!("GET / HTTP/1.1\r\nhost: {name}\r\n\r\n");
    assert_eq!(pillion.connect_outbound().send(sent).response().status, 200);
}

#[test]
fn one_endpoint_that_fails_does_not_harm_the_others() {
    let (closed, good) = (ClosedPort::new(), Origin::saying("hello"));
    let config = format!(
        "upstreams: {{origin: {{balance: round_robin, endpoints: [\"{}\", \"{}\"]}}}}\n\
         inbound: {{routes: [{{upstream: origin}}]}}\n",
        closed.address(),
        good.address()
    );
    let pillion = pillion().config(config).start();
    let mut wire = pillion.connect_inbound();
    for _ in 0..20 {
        // Nothing reached the endpoint that refused, so even a POST goes to the other.
        assert_eq!(wire.send(post("/", "body")).response().status, 200);
    }
    assert_eq!(good.requests().len(), 20);
}

#[test]
fn faults_of_some_exchanges_leave_no_connection_behind() {
    let turn = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start(move |mut conn| {
        if conn.request().is_none() {
            return;
        }
        match turn.fetch_add(1, Ordering::SeqCst) % 4 {
            0 => conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
            1 => conn.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort"),
            2 => conn.send("garbage"),
            _ => return conn.reset(),
        }
        conn.half_close();
        conn.wait_for_end();
    });
    let pillion = with_route(&origin, "");
    for _ in 0..100 {
        let mut wire = pillion.connect_inbound();
        wire.send(get("/"));
        wire.half_close();
        wire.read_to_end();
    }
    pillion.wait_for_metric("pillion_connections{direction=\"inbound\"}", 0.0);
    pillion.wait_for_metric("pillion_upstream_connections", 0.0);
    pillion.wait_for_metric("pillion_requests_total", 100.0);
}
