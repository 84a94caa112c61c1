//! Interim responses, and final ones that come early.

use std::io::ErrorKind;

use pillion_testkit::Origin;

use crate::{OK, post, start, to};

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
