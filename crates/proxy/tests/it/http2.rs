//! HTTP/2: streams and connections that end in unusual ways.

use std::sync::atomic::{AtomicUsize, Ordering};

use pillion_testkit::{End, Gate, Origin, Stream, Wire};

use crate::frames::{
    self, ACK, DATA, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS, frame, greet_client,
    greet_server, head, next_of, request,
};
use crate::{get, post, start, to};

const H2: &str = "protocol: http2";

#[test]
fn a_post_that_times_out_over_http_2_is_not_sent_again() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    let origin = Origin::start(|mut conn| {
        if greet_client(&mut conn).is_err() {
            return;
        }
        while next_of(&mut conn, HEADERS).is_ok() {
            SEEN.fetch_add(1, Ordering::SeqCst);
        }
    });
    let running = start(&to(origin.address(), "try_timeout: 200ms, timeout: 5s", H2));
    let response = running.connect().send(post("/", "body")).response();
    assert_eq!((response.status, response.reason()), (504, Some("upstream_timeout")));
    assert_eq!(SEEN.load(Ordering::SeqCst), 1, "a POST that may have acted was sent again");
}

#[test]
fn a_response_that_has_no_body_by_its_status_gets_none_over_http_1() {
    for status in [204, 304] {
        let origin = Origin::start(move |mut conn| {
            if greet_client(&mut conn).is_err() {
                return;
            }
            while let Ok(asked) = next_of(&mut conn, HEADERS) {
                conn.send(head(asked.stream, status, 0));
                conn.send(frame(DATA, END_STREAM, asked.stream, b""));
            }
        });
        let running = start(&to(origin.address(), "", H2));
        let mut wire = running.connect();
        for _ in 0..3 {
            let response = wire.send(get("/")).response();
            assert_eq!(response.status, status);
            assert_eq!(response.header("transfer-encoding"), None);
        }
    }
}

/// Serves one stream of the first connection, and after `GOAWAY` that one alone until the gate
/// opens; other connections serve everything.
fn going_away(gate: Gate) -> Origin {
    Origin::start(move |mut conn| {
        if greet_client(&mut conn).is_err() {
            return;
        }
        if conn.number > 0 {
            while let Ok(asked) = next_of(&mut conn, HEADERS) {
                conn.send(head(asked.stream, 204, END_STREAM));
            }
            return;
        }
        let asked = next_of(&mut conn, HEADERS).unwrap();
        conn.send(head(asked.stream, 200, 0));
        conn.send(frame(DATA, 0, asked.stream, b"a"));
        let last = asked.stream.to_be_bytes();
        conn.send(frame(GOAWAY, 0, 0, &[&last[..], &[0; 4]].concat()));
        gate.wait();
        conn.send(frame(DATA, END_STREAM, asked.stream, b"b"));
    })
}

#[test]
fn an_endpoint_that_goes_away_gets_no_new_streams_and_ends_the_old_ones() {
    let gate = Gate::new();
    let origin = going_away(gate.clone());
    // Even without retries: nothing has to be sent twice.
    let running = start(&to(origin.address(), "retry: {retries: 0}", H2));
    let mut slow = running.connect();
    slow.send(get("/slow"));
    assert!(slow.head().line.contains("200"));
    let mut wire = running.connect();
    for _ in 0..3 {
        assert_eq!(wire.send(post("/", "body")).response().status, 204);
    }
    gate.open();
    let mut rest = Vec::new();
    while !rest.ends_with(b"0\r\n\r\n") {
        rest.extend(slow.read_exact(1));
    }
    assert_eq!(rest, b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n");
}

#[test]
fn a_stream_that_a_goaway_left_out_is_sent_again_whatever_its_method() {
    let origin = Origin::start(|mut conn| {
        if greet_client(&mut conn).is_err() {
            return;
        }
        while let Ok(asked) = next_of(&mut conn, HEADERS) {
            if conn.number == 0 && asked.stream > 1 {
                conn.send(frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
                // Closed at once, the connection could be reset before the frame is read.
                return conn.wait_for_end();
            }
            conn.send(head(asked.stream, 204, END_STREAM));
        }
    });
    let running = start(&to(origin.address(), "retry: {retries: 0}", H2));
    let mut wire = running.connect();
    for _ in 0..3 {
        assert_eq!(wire.send(post("/", "body")).response().status, 204);
    }
}

#[test]
fn an_idle_client_is_told_to_go_and_one_that_does_not_answer_is_cut_off() {
    let origin = Origin::saying("hello");
    let text =
        to(origin.address(), "", "").replace("inbound: {", "inbound: {idle_timeout: 300ms, ");
    let running = start(&text);
    let mut client: Stream = Wire::connect(running.inbound).into();
    greet_server(&mut client);
    client.try_send(request(1, "GET", END_STREAM)).unwrap();
    next_of(&mut client, HEADERS).unwrap();
    // Never answers the PING that comes with it.
    next_of(&mut client, GOAWAY).unwrap();
    running.wait_for_rest();
}

#[test]
fn a_drain_does_not_wait_for_a_client_that_does_not_answer() {
    let origin = Origin::saying("hello");
    let running = start(&to(origin.address(), "", ""));
    let mut client: Stream = Wire::connect(running.inbound).into();
    greet_server(&mut client);
    client.try_send(request(1, "GET", END_STREAM)).unwrap();
    next_of(&mut client, HEADERS).unwrap();
    let drain = running
        .proxy
        .drain(pillion_model::snapshot::Direction::Inbound, std::time::Duration::from_secs(15));
    assert_eq!(running.control.block_on(drain).cut, 0);
}

#[test]
fn a_stream_that_the_client_resets_inside_its_body_frees_everything() {
    let origin = Origin::start(|mut conn| {
        if conn.head().is_some() {
            conn.wait_for_end();
        }
    });
    let running = start(&to(origin.address(), "", "protocol: http1"));
    let mut client: Stream = Wire::connect(running.inbound).into();
    greet_server(&mut client);
    for stream in [1, 3, 5] {
        client.try_send(request(stream, "POST", 0)).unwrap();
        client.try_send(frame(DATA, 0, stream, b"half")).unwrap();
        client.try_send(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])).unwrap();
    }
    pillion_testkit::eventually("nothing in flight", || {
        let upstreams = running.proxy.upstreams();
        let origin = upstreams.iter().find(|upstream| upstream.name == "origin").unwrap();
        origin.requests == 0 && origin.connections == 0
    });
    let aborted = "pillion_requests_total{direction=\"inbound\",route=\"route-1\",\
                   upstream=\"origin\",code=\"499\",reason=\"downstream_abort\"}";
    pillion_testkit::eventually("three aborts", || (running.metric(aborted) - 3.0).abs() < 0.1);
}

#[test]
fn a_client_of_http_2_beyond_the_limit_of_connections_is_cut_without_harm() {
    let origin = Origin::saying("hello");
    let running = start(&format!("limits: {{connections: 1}}\n{}", to(origin.address(), "", "")));
    let mut first = running.connect();
    assert_eq!(first.send(get("/")).response().status, 200);
    let mut second = running.connect();
    let (answer, end) = second.read_to_end();
    assert!(answer.starts_with(b"HTTP/1.1 503 "), "{}", answer.escape_ascii());
    assert_eq!(end, End::Closed);
    assert_eq!(first.send(get("/")).response().status, 200);
}

#[test]
fn settings_are_answered() {
    let origin = Origin::saying("hello");
    let running = start(&to(origin.address(), "", ""));
    let mut client: Stream = Wire::connect(running.inbound).into();
    greet_server(&mut client);
    let acknowledged = loop {
        let frame = frames::next(&mut client).unwrap();
        if frame.kind == SETTINGS && frame.flags & ACK != 0 {
            break true;
        }
    };
    assert!(acknowledged);
}
