//! What a response head means, and what is refused, rule by rule.

use super::*;
use crate::Chunked;

const LIMITS: Limits = Limits { head_bytes: 4096, head_fields: 32 };
const PLAIN: RequestFacts = RequestFacts { is_head: false, is_connect: false, upgrade: false };
const HEAD: RequestFacts = RequestFacts { is_head: true, ..PLAIN };
const CONNECT: RequestFacts = RequestFacts { is_connect: true, ..PLAIN };
const UPGRADE: RequestFacts = RequestFacts { upgrade: true, ..PLAIN };

fn with_head<T>(
    text: &str,
    request: RequestFacts,
    look: impl FnOnce(&ResponseHead<'_, '_>) -> T,
) -> Result<T, HeadError> {
    let mut fields = Fields::new();
    match parse_response(text.as_bytes(), request, &LIMITS, &mut fields)? {
        Parsed::Complete(head) => Ok(look(&head)),
        Parsed::Partial => panic!("not a whole head: {text:?}"),
    }
}

fn refused(text: &str, request: RequestFacts, expected: &str) {
    match with_head(text, request, |head| format!("{head:?}")) {
        Err(HeadError::Malformed(rule)) => assert!(rule.contains(expected), "{rule} for {text:?}"),
        other => panic!("{other:?} for {text:?}"),
    }
}

fn chunked() -> Framing {
    Framing::Chunked(Chunked::new())
}

#[test]
fn the_body_depends_on_status_request_and_fields() {
    let length = "Content-Length: 5\r\n";
    let te = "Transfer-Encoding: chunked\r\n";
    let cases = [
        ("200", PLAIN, length, Framing::Length(5)),
        ("200", PLAIN, "Content-Length: 0\r\n", Framing::Empty),
        ("200", PLAIN, te, chunked()),
        ("200", PLAIN, "", Framing::UntilClose),
        ("404", CONNECT, length, Framing::Length(5)),
        ("200", HEAD, length, Framing::Empty),
        ("200", HEAD, te, Framing::Empty),
        ("200", HEAD, "", Framing::Empty),
        ("100", PLAIN, "", Framing::Empty),
        ("103", PLAIN, "Link: x\r\n", Framing::Empty),
        ("204", PLAIN, "", Framing::Empty),
        ("204", PLAIN, length, Framing::Empty),
        ("204", PLAIN, te, Framing::Empty),
        ("304", PLAIN, length, Framing::Empty),
        ("205", PLAIN, length, Framing::Length(5)),
        ("200", CONNECT, length, Framing::Empty),
        ("999", PLAIN, length, Framing::Length(5)),
    ];
    for (status, request, lines, expected) in cases {
        let text = format!("HTTP/1.1 {status} x\r\n{lines}\r\n");
        let body = with_head(&text, request, |head| head.body.clone());
        assert_eq!(body, Ok(expected), "{text:?} {request:?}");
    }
}

#[test]
fn a_length_is_told_even_when_no_body_follows() {
    for (status, request) in [("200", HEAD), ("304", PLAIN)] {
        let text = format!("HTTP/1.1 {status} x\r\nContent-Length: 5\r\n\r\n");
        let seen = with_head(&text, request, |head| (head.content_length, head.drop.is_empty()));
        assert_eq!(seen, Ok((Some(5), true)));
    }
}

#[test]
fn connections_are_reused_only_when_the_end_is_certain() {
    let cases = [
        ("1.1 200", PLAIN, "Content-Length: 5\r\n", true),
        ("1.1 200", PLAIN, "Content-Length: 5\r\nConnection: close\r\n", false),
        ("1.1 200", PLAIN, "", false),
        ("1.1 200", HEAD, "", true),
        ("1.1 304", PLAIN, "", true),
        ("1.0 200", PLAIN, "Content-Length: 5\r\n", false),
        ("1.0 200", PLAIN, "Content-Length: 5\r\nConnection: keep-alive\r\n", true),
        ("1.0 200", PLAIN, "Connection: keep-alive\r\n", false),
        ("1.1 204", PLAIN, "", true),
        ("1.1 204", PLAIN, "Content-Length: 0\r\n", true),
        ("1.1 204", PLAIN, "Content-Length: 5\r\n", false),
        ("1.1 204", PLAIN, "Transfer-Encoding: chunked\r\n", false),
    ];
    for (start, request, lines, expected) in cases {
        let text = format!("HTTP/{start} x\r\n{lines}\r\n");
        assert_eq!(with_head(&text, request, |head| head.keep_alive), Ok(expected), "{text:?}");
    }
}

#[test]
fn framing_that_a_response_cannot_have_is_dropped() {
    let cases = [
        ("204", PLAIN, true),
        ("100", PLAIN, true),
        ("200", CONNECT, true),
        ("200", PLAIN, false),
        ("304", PLAIN, false),
    ];
    for (status, request, dropped) in cases {
        let text = format!("HTTP/1.1 {status} x\r\nContent-Length: 5\r\n\r\n");
        let seen = with_head(&text, request, |head| head.drop.contains(0));
        assert_eq!(seen, Ok(dropped), "{text:?}");
    }
}

#[test]
fn tunnels_open_only_when_they_were_asked_for() {
    let switch = "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let seen = with_head(switch, UPGRADE, |head| {
        (head.is_upgrade, head.drop.contains(0), head.drop.contains(1), head.body.clone())
    });
    assert_eq!(seen, Ok((true, true, false, Framing::Empty)));
    refused(switch, PLAIN, "nobody asked for");
    refused(switch, CONNECT, "nobody asked for");
    refused("HTTP/1.1 101 x\r\nConnection: Upgrade\r\n\r\n", UPGRADE, "name its protocol");
    refused("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", UPGRADE, "name its protocol");
    let cases = [("200", CONNECT, true), ("299", CONNECT, true), ("407", CONNECT, false)];
    for (status, request, expected) in cases {
        let text = format!("HTTP/1.1 {status} x\r\n\r\n");
        assert_eq!(with_head(&text, request, |head| head.is_upgrade), Ok(expected), "{text:?}");
    }
    let plain = "HTTP/1.1 200 x\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n";
    let seen = with_head(plain, UPGRADE, |head| (head.is_upgrade, head.drop.contains(0)));
    assert_eq!(seen, Ok((false, true)));
}

#[test]
fn responses_that_read_in_two_ways_are_refused() {
    let cases = [
        ("HTTP/1.1 200 x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "next to"),
        ("HTTP/1.1 200 x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", "given twice"),
        ("HTTP/1.1 200 x\r\nContent-Length: 5, 5\r\n\r\n", "one number"),
        ("HTTP/1.0 200 x\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0"),
        ("HTTP/1.1 200 x\r\nTransfer-Encoding: gzip\r\n\r\n", "has to be chunked"),
        ("HTTP/1.1 200 x\r\nConnection: content-length\r\n\r\n", "frames or routes"),
        ("HTTP/1.1 200 x\r\nA: b\r\n c\r\n\r\n", "token"),
        ("HTTP/1.1 200 x\r\nA : b\r\n\r\n", "token"),
        ("HTTP/1.1 200 x\nA: b\r\n\r\n", "CR LF"),
        ("HTTP/1.1 200\n\r\n", "CR LF"),
        ("HTTP/1.1 200 x\r\nA: b\n\r\n", "CR LF"),
        ("HTTP/1.1 200 x\r\n\n", "CR LF"),
        ("\r\nHTTP/1.1 200 x\r\n\r\n", "empty line"),
        ("HTTP/2.0 200 x\r\n\r\n", "HTTP/1.0 or HTTP/1.1"),
        ("HTTP/1.1  200 x\r\n\r\n", "VERSION SP STATUS"),
        ("HTTP/1.1 20 x\r\n\r\n", "VERSION SP STATUS"),
        ("HTTP/1.1 2000 x\r\n\r\n", "VERSION SP STATUS"),
        ("HTTP/1.1 099 x\r\n\r\n", "below 100"),
        ("HTTP/1.1 200 \u{1}\r\n\r\n", "VERSION SP STATUS"),
    ];
    for (text, rule) in cases {
        refused(text, PLAIN, rule);
    }
}

#[test]
fn reason_phrases_are_kept_as_they_came() {
    let cases: [(&str, &str); 5] = [
        ("HTTP/1.1 200 OK\r\n\r\n", "OK"),
        ("HTTP/1.1 200 Not  so\tfast \r\nA: b\r\n\r\n", "Not  so\tfast "),
        ("HTTP/1.1 200 \r\nA: b\r\n\r\n", ""),
        ("HTTP/1.1 200\r\n\r\n", ""),
        ("HTTP/1.1 200 d\u{e9}j\u{e0}\r\nA: b\r\n\r\n", "d\u{e9}j\u{e0}"),
    ];
    for (text, expected) in cases {
        let seen = with_head(text, PLAIN, |head| head.reason_phrase.to_vec());
        assert_eq!(seen, Ok(expected.as_bytes().to_vec()), "{text:?}");
    }
}
