//! Retries of bodies that were sent in part, between all pairs of protocols.

use std::sync::atomic::{AtomicUsize, Ordering};

use pillion_testkit::Origin;
use socket2::SockRef;

use crate::frames::{DATA, END_STREAM, HEADERS, greet_client, head, next_of};
use crate::{OK, get, post, start, to};

#[test]
fn a_wait_between_tries_does_not_shorten_the_next_try() {
    let origin = Origin::start(|mut conn| {
        while conn.request().is_some() {
            if conn.number == 0 {
                conn.send("HTTP/1.1 503 x\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n");
                continue;
            }
            conn.send(OK);
        }
    });
    let route = "try_timeout: 900ms, retry: {retries: 1, statuses: [503], backoff_max: 5s}";
    let running = start(&to(origin.address(), route, ""));
    let response = running.connect().send(get("/")).response();
    assert_eq!((response.status, response.reason()), (200, None));
}

/// A PUT with a body of this many bytes in chunks of 1000.
fn put(bytes: usize, chunked: bool) -> Vec<u8> {
    let body = vec![b'x'; bytes];
    let mut request = b"PUT / HTTP/1.1\r\nhost: app\r\n".to_vec();
    if !chunked {
        request.extend(format!("content-length: {bytes}\r\n\r\n").into_bytes());
        request.extend(body);
        return request;
    }
    request.extend(b"transfer-encoding: chunked\r\n\r\n");
    for chunk in body.chunks(1000) {
        request.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        request.extend(chunk);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    request
}

#[test]
fn a_body_is_replayed_whole_up_to_the_cap_and_not_beyond_it() {
    // What is kept of a body with a length is its bytes.
    for (bytes, retried) in [(1, true), (65_536, true), (65_537, false)] {
        let origin = Origin::start(|mut conn| {
            while let Some((_, body)) = conn.request() {
                if conn.number == 0 {
                    conn.send("HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n");
                } else {
                    assert!(body.data.iter().all(|byte| *byte == b'x'));
                    conn.send(OK);
                }
            }
        });
        let route = "retry: {retries: 1, statuses: [503], body: 64KiB}";
        let running = start(&to(origin.address(), route, ""));
        let response = running.connect().send(put(bytes, false)).response();
        assert_eq!(response.status, if retried { 200 } else { 503 }, "{bytes} bytes");
        let lengths: Vec<_> = origin.requests().iter().map(|(_, body)| body.data.len()).collect();
        assert_eq!(lengths, vec![bytes; if retried { 2 } else { 1 }]);
    }
}

#[test]
fn chunks_are_replayed_with_their_framing() {
    let origin = Origin::start(|mut conn| {
        while conn.request().is_some() {
            conn.send(if conn.number == 0 {
                "HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n"
            } else {
                OK
            });
        }
    });
    let route = "retry: {retries: 1, statuses: [503]}";
    let running = start(&to(origin.address(), route, ""));
    assert_eq!(running.connect().send(put(8_200, true)).response().status, 200);
    let bodies: Vec<_> = origin.requests().into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies.len(), 2);
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[1].data.len(), 8_200);
}

#[test]
fn a_body_is_replayed_over_http_2() {
    static TRY: AtomicUsize = AtomicUsize::new(0);
    let origin = Origin::start(|mut conn| {
        if greet_client(&mut conn).is_err() {
            return;
        }
        while let Ok(asked) = next_of(&mut conn, HEADERS) {
            let mut received = 0;
            let mut ended = asked.flags & END_STREAM != 0;
            while !ended {
                let data = next_of(&mut conn, DATA).unwrap();
                received += data.payload.len();
                ended = data.flags & END_STREAM != 0;
            }
            assert_eq!(received, 8_200);
            let first = TRY.fetch_add(1, Ordering::SeqCst) == 0;
            conn.send(head(asked.stream, if first { 503 } else { 204 }, END_STREAM));
        }
    });
    let route = "retry: {retries: 1, statuses: [503]}";
    let running = start(&to(origin.address(), route, "protocol: http2"));
    for chunked in [false, true] {
        TRY.store(0, Ordering::SeqCst);
        assert_eq!(running.connect().send(put(8_200, chunked)).response().status, 204);
        assert_eq!(TRY.load(Ordering::SeqCst), 2);
    }
}

#[test]
fn a_post_is_not_sent_on_a_connection_that_was_closed_with_the_last_answer() {
    // Answer and end travel together, so the end is there before the next request is.
    let origin = Origin::start(|mut conn| {
        if conn.request().is_some() {
            SockRef::from(&*conn.socket()).set_tcp_cork(true).unwrap();
            conn.send(OK);
        }
    });
    let running = start(&to(origin.address(), "retry: {retries: 0}", ""));
    let mut wire = running.connect();
    // Sent ahead, so that the proxy begins with each before it has looked at any other connection.
    for _ in 0..20 {
        wire.send(post("/", "body"));
    }
    for number in 0..20 {
        assert_eq!(wire.response().status, 200, "request {number}");
    }
}
