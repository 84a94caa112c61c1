//! Interim responses, and final ones that come early.

use std::io::ErrorKind;

use pillion_testkit::{Origin, Stream, Wire};

use crate::frames::{
    DATA, END_STREAM, HEADERS, RST_STREAM, greet_client, greet_server, head, next, next_of, request,
};
use crate::{OK, get, post, start, to};

#[test]
fn interim_responses_are_held_back_while_the_client_does_not_read() {
    const LIMIT: usize = 64 << 20;
    let hint = format!("HTTP/1.1 103 Early Hints\r\nlink: </{}>\r\n\r\n", "x".repeat(8 << 10));
    let (sent, received) = std::sync::mpsc::channel();
    let origin = Origin::start(move |mut conn| {
        if conn.head().is_none() {
            return;
        }
        conn.socket().set_write_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
        let mut total = 0;
        while total < LIMIT {
            match conn.try_send(&hint) {
                Ok(()) => total += hint.len(),
                Err(error) => {
                    let blocked = matches!(error.kind(), ErrorKind::WouldBlock);
                    sent.send((total, blocked)).unwrap();
                    return;
                }
            }
        }
        sent.send((total, false)).unwrap();
    });
    let running = start(&to(origin.address(), "", ""));
    let mut wire = running.connect();
    wire.send("GET / HTTP/1.1\r\nhost: app\r\n\r\n");
    let (total, blocked) = received.recv().unwrap();
    assert!(blocked, "the app could send {total} bytes of interim responses that nobody took");
}

#[test]
fn many_interim_responses_reach_a_client_that_reads() {
    const MANY: usize = 2_000;
    let origin = Origin::start(|mut conn| {
        while conn.request().is_some() {
            for _ in 0..MANY {
                conn.send("HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n");
            }
            conn.send(OK);
        }
    });
    let running = start(&to(origin.address(), "", ""));
    let mut wire = running.connect();
    for _ in 0..2 {
        let response = wire.send("GET / HTTP/1.1\r\nhost: app\r\n\r\n").response();
        assert_eq!((response.status, response.interim.len()), (200, MANY));
    }
}

#[test]
fn an_answer_before_the_end_of_the_request_says_that_the_connection_closes() {
    let origin = Origin::start(|mut conn| {
        if conn.head().is_some() {
            conn.send("HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\n\r\n");
            conn.wait_for_end();
        }
    });
    let running = start(&to(origin.address(), "", ""));
    let mut wire = running.connect();
    let asks = "POST / HTTP/1.1\r\nhost: app\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n";
    let response = wire.send(asks).response();
    assert_eq!(response.status, 417);
    assert_eq!(response.header("connection"), Some("close"), "the client may send no request here");
    assert_eq!(wire.read_to_end().0, b"");
}

#[test]
fn a_connection_is_usable_again_after_100_continue() {
    let origin = Origin::start(|mut conn| {
        while let Some(head) = conn.head() {
            if head.field("expect").is_some() {
                conn.send("HTTP/1.1 100 Continue\r\n\r\n");
            }
            if conn.try_read_exact(4).is_err() {
                return;
            }
            conn.send(OK);
        }
    });
    let running = start(&to(origin.address(), "", ""));
    let mut wire = running.connect();
    for _ in 0..3 {
        let asks =
            "POST / HTTP/1.1\r\nhost: app\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n";
        wire.send(asks);
        assert!(wire.head().line.contains("100"));
        let response = wire.send("body").response();
        assert_eq!((response.status, response.header("connection")), (200, None));
        assert_eq!(wire.send(post("/", "next")).response().status, 200);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_app_of_http_2_asks_for_a_body_before_it_is_sent() {
    let origin = Origin::start(|mut conn| {
        if greet_client(&mut conn).is_err() {
            return;
        }
        while let Ok(asked) = next_of(&mut conn, HEADERS) {
            conn.send(head(asked.stream, 100, 0));
            let body = next_of(&mut conn, DATA).unwrap();
            assert_eq!((body.payload.as_slice(), body.stream), (&b"body"[..], asked.stream));
            conn.send(head(asked.stream, 204, END_STREAM));
        }
    });
    let running = start(&to(origin.address(), "", "protocol: http2"));
    let mut wire = running.connect();
    for _ in 0..2 {
        let asks =
            "POST / HTTP/1.1\r\nhost: app\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n";
        wire.send(asks);
        assert_eq!(wire.head().line, "HTTP/1.1 100 Continue");
        assert_eq!(wire.send("body").response().status, 204);
    }
}

#[test]
fn an_app_of_http_2_cannot_switch_protocols() {
    let origin = Origin::start(|mut conn| {
        if greet_client(&mut conn).is_err() {
            return;
        }
        while let Ok(asked) = next_of(&mut conn, HEADERS) {
            conn.send(head(asked.stream, 101, 0));
            conn.send(head(asked.stream, 204, END_STREAM));
        }
    });
    let running = start(&to(origin.address(), "retry: {retries: 0}", "protocol: http2"));
    let response = running.connect().send(get("/")).response();
    assert_eq!((response.status, response.reason()), (502, Some("upstream_malformed")));
}

#[test]
fn a_client_of_http_2_gets_some_interim_responses_and_the_final_one() {
    let origin = Origin::start(|mut conn| {
        while conn.request().is_some() {
            for _ in 0..100 {
                conn.send("HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n");
            }
            conn.send("HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let running = start(&to(origin.address(), "", "protocol: http1"));
    let mut client: Stream = Wire::connect(running.inbound).into();
    greet_server(&mut client);
    for stream in [1, 3] {
        client.try_send(request(stream, "GET", END_STREAM)).unwrap();
        let mut interims = 0;
        loop {
            let frame = next(&mut client).unwrap();
            assert_ne!(frame.kind, RST_STREAM);
            match (frame.kind, frame.flags & END_STREAM) {
                (HEADERS, 0) => interims += 1,
                (HEADERS, _) => break,
                _ => {}
            }
        }
        assert_eq!(interims, 16);
    }
}
