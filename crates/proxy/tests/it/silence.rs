//! Endpoints that fall silent, and how it is found out that nobody is there any more.

use std::sync::mpsc;

use pillion_testkit::{Conn, Gate, Origin, eventually, in_private_network};

use crate::frames::{
    ACK, DATA, END_STREAM, HEADERS, PING, frame, greet_client, head, next, next_of,
};
use crate::{get, post, start, to};

/// Asked soon, and by nothing but HTTP/2.
const IMPATIENT: &str = "protocol: http2, h2_ping: 500ms, tcp_keepalive: off";

/// Answers all streams, except on its first connection: there it does not even answer a PING.
fn deaf_at_first() -> Origin {
    Origin::start(|mut conn| {
        if greet_client(&mut conn).is_err() {
            return;
        }
        if conn.number == 0 {
            return conn.wait_for_end();
        }
        while let Ok(asked) = next_of(&mut conn, HEADERS) {
            conn.send(head(asked.stream, 204, END_STREAM));
        }
    })
}

#[test]
fn a_request_is_tried_again_when_nobody_answers_a_ping() {
    let origin = deaf_at_first();
    let running = start(&to(origin.address(), "", IMPATIENT));
    assert_eq!(running.connect().send(get("/")).response().status, 204);
    let retries = "pillion_retries_total{upstream=\"origin\",cause=\"upstream_lost\"}";
    assert_eq!(running.metric(retries), 1.0);
    assert_eq!(origin.connections(), 2);
}

#[test]
fn a_request_that_may_have_been_served_is_not_tried_again() {
    let origin = deaf_at_first();
    let running = start(&to(origin.address(), "", IMPATIENT));
    let mut wire = running.connect();
    let response = wire.send(post("/", "body")).response();
    assert_eq!((response.status, response.reason()), (502, Some("upstream_lost")));
    assert_eq!(wire.send(post("/", "body")).response().status, 204, "on another connection");
}

#[test]
fn a_response_whose_endpoint_is_gone_ends_with_its_reason() {
    let origin = Origin::start(|mut conn| {
        if greet_client(&mut conn).is_err() {
            return;
        }
        let asked = next_of(&mut conn, HEADERS).unwrap();
        conn.send(head(asked.stream, 200, 0));
        conn.send(frame(DATA, 0, asked.stream, b"half"));
        conn.wait_for_end();
    });
    let running = start(&to(origin.address(), "", IMPATIENT));
    let mut wire = running.connect();
    wire.send(get("/"));
    assert!(wire.head().line.contains("200"));
    let (body, _) = wire.read_to_end();
    assert_eq!(body, b"4\r\nhalf\r\n", "no end that looks like one");
    let ended = "pillion_requests_total{direction=\"inbound\",route=\"route-1\",\
                 upstream=\"origin\",code=\"200\",reason=\"upstream_lost\"}";
    eventually("it is counted", || running.metric(ended) == 1.0);
}

#[test]
fn an_endpoint_that_answers_is_kept_however_long_its_stream_is_silent() {
    let origin = Origin::start(|mut conn| {
        if greet_client(&mut conn).is_err() {
            return;
        }
        let asked = next_of(&mut conn, HEADERS).unwrap();
        for _ in 0..2 {
            let ping = next_of(&mut conn, PING).unwrap();
            conn.send(frame(PING, ACK, 0, &ping.payload));
        }
        conn.send(head(asked.stream, 204, END_STREAM));
        conn.wait_for_end();
    });
    let upstream = IMPATIENT.replace("500ms", "1s");
    let running = start(&to(origin.address(), "retry: {retries: 0}", &upstream));
    assert_eq!(running.connect().send(get("/")).response().status, 204);
}

/// Sends what is asked on to the end of the connection.
fn kinds_until_the_end(conn: &mut Conn, kinds: &mpsc::Sender<u8>) {
    while let Ok(frame) = next(conn) {
        if frame.kind == HEADERS {
            conn.send(head(frame.stream, 204, END_STREAM));
        }
        kinds.send(frame.kind).unwrap();
    }
}

#[test]
fn nobody_is_asked_while_no_stream_is_open_or_when_it_is_off() {
    for ping in ["100ms", "off"] {
        let (sent, kinds) = mpsc::channel();
        let origin = Origin::start(move |mut conn| {
            if greet_client(&mut conn).is_ok() {
                kinds_until_the_end(&mut conn, &sent);
            }
        });
        let upstream = IMPATIENT.replace("500ms", ping) + ", idle_timeout: 500ms";
        let running = start(&to(origin.address(), "", &upstream));
        assert_eq!(running.connect().send(get("/")).response().status, 204);
        // The connection ends when it has been unused for long enough to be asked often.
        eventually("the connection is closed", || {
            running.proxy.upstreams().iter().all(|upstream| upstream.connections == 0)
        });
        drop((running, origin));
        let kinds: Vec<u8> = kinds.iter().collect();
        assert!(kinds.contains(&HEADERS) && !kinds.contains(&PING), "{ping}: {kinds:?}");
    }
}

#[test]
fn a_machine_that_vanishes_without_a_word_is_missed() {
    for (upstream, is_h2) in [
        ("protocol: http1, tcp_keepalive: 1s", false),
        ("protocol: http2, tcp_keepalive: 1s, h2_ping: off", true),
        (IMPATIENT, true),
    ] {
        in_private_network(|network| {
            let asked = Gate::new();
            let seen = asked.clone();
            let at: std::net::SocketAddr = "127.0.0.9:80".parse().unwrap();
            let origin = Origin::start_at(at, move |mut conn| {
                let read = match is_h2 {
                    true => {
                        greet_client(&mut conn).and_then(|()| next_of(&mut conn, HEADERS)).is_ok()
                    }
                    false => conn.head().is_some(),
                };
                if read {
                    seen.open();
                    // The end of the connection vanishes, too.
                    drop(conn.try_read_to_end());
                }
            });
            let running = start(&to(origin.address(), "retry: {retries: 0}", upstream));
            let mut wire = running.connect();
            wire.send(get("/"));
            asked.wait();
            network.lose(at.ip());
            let response = wire.response();
            let answer = (response.status, response.reason());
            assert_eq!(answer, (502, Some("upstream_lost")), "{upstream}");
        });
    }
}
