//! Requests that could be read in two ways are refused, each with the reason where one looks for it.

use pillion_testkit::{Origin, eventually, python};

use crate::{get, inbound_to, peer, pillion};

/// What is wrong, and the request; `~` stands for the end of a line.
const REFUSED: &[(&str, &str)] = &[
    (
        "length beside chunks",
        "POST / HTTP/1.1~host: a~content-length: 4~transfer-encoding: chunked~~0~~",
    ),
    (
        "chunks beside length",
        "POST / HTTP/1.1~host: a~transfer-encoding: chunked~content-length: 4~~0~~",
    ),
    ("two lengths", "POST / HTTP/1.1~host: a~content-length: 4~content-length: 5~~abcd"),
    ("the same length twice", "POST / HTTP/1.1~host: a~content-length: 4~content-length: 4~~abcd"),
    ("a list of lengths", "POST / HTTP/1.1~host: a~content-length: 4, 4~~abcd"),
    ("a signed length", "POST / HTTP/1.1~host: a~content-length: +4~~abcd"),
    ("a negative length", "POST / HTTP/1.1~host: a~content-length: -4~~abcd"),
    ("a hexadecimal length", "POST / HTTP/1.1~host: a~content-length: 0x4~~abcd"),
    ("an empty length", "POST / HTTP/1.1~host: a~content-length:~~abcd"),
    ("a length beyond 64 bits", "POST / HTTP/1.1~host: a~content-length: 99999999999999999999~~"),
    ("chunked twice", "POST / HTTP/1.1~host: a~transfer-encoding: chunked, chunked~~0~~"),
    (
        "chunked in two fields",
        "POST / HTTP/1.1~host: a~transfer-encoding: chunked~transfer-encoding: chunked~~0~~",
    ),
    ("chunked not last", "POST / HTTP/1.1~host: a~transfer-encoding: chunked, gzip~~0~~"),
    ("identity", "POST / HTTP/1.1~host: a~transfer-encoding: identity~~"),
    ("almost chunked", "POST / HTTP/1.1~host: a~transfer-encoding: xchunked~~0~~"),
    (
        "chunked behind a vertical tab",
        "POST / HTTP/1.1~host: a~transfer-encoding: \u{b}chunked~~0~~",
    ),
    ("chunks in HTTP/1.0", "POST / HTTP/1.0~host: a~transfer-encoding: chunked~~0~~"),
    ("a folded field", "GET / HTTP/1.1~host: a~x: 1~ folded~~"),
    ("a bare line feed", "GET / HTTP/1.1\nhost: a~~"),
    ("bare line feeds only", "GET / HTTP/1.1\nhost: a\n\n"),
    ("a bare carriage return", "GET / HTTP/1.1~host: a~x: a\rb~~"),
    ("a zero byte", "GET / HTTP/1.1~host: a~x: a\0b~~"),
    ("a space before the colon", "GET / HTTP/1.1~host: a~content-length : 0~~"),
    ("a name with a space", "GET / HTTP/1.1~host: a~x y: 1~~"),
    ("a field without a name", "GET / HTTP/1.1~host: a~: 1~~"),
    ("a field without a colon", "GET / HTTP/1.1~host: a~nocolon~~"),
    ("no host", "GET / HTTP/1.1~x: 1~~"),
    ("two hosts", "GET / HTTP/1.1~host: a~host: b~~"),
    ("a host with a path", "GET / HTTP/1.1~host: a/b~~"),
    ("a host with a user", "GET / HTTP/1.1~host: u@a~~"),
    (
        "connection names a length",
        "POST / HTTP/1.1~host: a~connection: content-length~content-length: 4~~abcd",
    ),
    (
        "connection names the coding",
        "POST / HTTP/1.1~host: a~connection: transfer-encoding~transfer-encoding: chunked~~0~~",
    ),
    ("connection names the host", "GET / HTTP/1.1~host: a~connection: host~~"),
    ("a target with a space", "GET /a b HTTP/1.1~host: a~~"),
    ("a target with a fragment", "GET /a#b HTTP/1.1~host: a~~"),
    ("a relative target", "GET a HTTP/1.1~host: a~~"),
    ("no target", "GET  HTTP/1.1~host: a~~"),
    ("a version of the future", "GET / HTTP/3.7~host: a~~"),
    ("lower case version", "GET / http/1.1~host: a~~"),
];

/// The same for what only the body shows.
const BAD_BODIES: &[(&str, &str)] = &[
    ("a signed chunk size", "+4~abcd~0~~"),
    ("a chunk size with a prefix", "0x4~abcd~0~~"),
    ("a chunk size with a space", "4 ~abcd~0~~"),
    ("a chunk size beyond 64 bits", "fffffffffffffffff~abcd~0~~"),
    ("an empty chunk size", "~abcd~0~~"),
    ("a chunk that is longer than its size", "2~abcd~0~~"),
    ("a chunk ended by a line feed", "4~abcd\n0~~"),
    ("a chunk size ended by a line feed", "4\nabcd~0~~"),
    ("an extension with a carriage return", "4;a\rb~abcd~0~~"),
];

#[test]
fn a_head_that_can_be_read_in_two_ways_is_answered_400_and_the_connection_closed() {
    let origin = Origin::saying("hello");
    let config = inbound_to(origin.address());
    let pillion =
        pillion().config(config.replace("inbound: {", "inbound: {protocol: http, ")).start();
    for (what, request) in REFUSED {
        // First a good one, so that it is not the first bytes of the connection that decide.
        let mut wire = pillion.connect_inbound();
        wire.send(get("/good")).response();
        wire.send(request.replace('~', "\r\n"));
        let response = wire.response();
        assert_eq!(
            (response.status, response.reason()),
            (400, Some("downstream_malformed")),
            "{what}"
        );
        wire.half_close();
        assert_eq!(wire.read_to_end().0, b"", "{what}: nothing after the refusal is served");
    }
    let refused = REFUSED.len();
    pillion
        .wait_for_metric("pillion_requests_total{reason=\"downstream_malformed\"}", refused as f64);
    eventually("each is logged", || {
        let log = pillion.access_log();
        log.iter().filter(|line| line["reason"] == "downstream_malformed").count() == refused
    });
    assert!(origin.requests().iter().all(|(head, _)| head.line == "GET /good HTTP/1.1"));
}

#[test]
fn a_body_that_can_be_read_in_two_ways_never_completes_at_the_app() {
    for (what, body) in BAD_BODIES {
        let origin = Origin::saying("hello");
        let pillion = crate::in_front_of(origin.address());
        let mut wire = pillion.connect_inbound();
        wire.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
        wire.send(body.replace('~', "\r\n"));
        let response = wire.response();
        assert_eq!(
            (response.status, response.reason()),
            (400, Some("downstream_malformed")),
            "{what}"
        );
        pillion.logged("reason", "downstream_malformed");
        assert_eq!(origin.requests().len(), 0, "{what}");
    }
}

#[test]
fn a_coding_that_is_clear_but_unknown_is_answered_501() {
    let origin = Origin::saying("hello");
    let pillion = crate::in_front_of(origin.address());
    let response = pillion
        .connect_inbound()
        .send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n")
        .response();
    assert_eq!((response.status, response.reason()), (501, Some("downstream_unsupported")));
}

#[test]
fn a_request_that_comes_back_is_a_loop() {
    let pillion = pillion().start();
    let address = pillion.outbound();
    let response = pillion
        .connect_outbound()
        .send(format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n"))
        .response();
    assert_eq!(response.status, 508);
    assert_eq!(response.reason(), Some("loop"));
}

#[test]
fn what_http_2_forbids_never_reaches_an_app_of_http_1() {
    let origin = Origin::saying("hello");
    let config = inbound_to(origin.address()).replace("endpoints:", "protocol: http1, endpoints:");
    let pillion = pillion().config(config).start();
    let output = std::process::Command::new(python())
        .arg(peer("h2_peer.py"))
        .args(["malformed", &pillion.inbound().to_string()])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let passed: Vec<_> = told.lines().filter(|line| line.ends_with(": 200")).collect();
    // A fragment is dropped, and a client need not name a host: neither can be misread.
    assert_eq!(passed, ["a fragment in the path: 200", "no authority: 200"], "{told}");
    assert_eq!(told.lines().count(), 26, "{told}");
    let seen: Vec<_> =
        origin.requests().into_iter().map(|(head, _)| (head.line, head.fields)).collect();
    assert_eq!(seen.len(), passed.len(), "{seen:?}");
    let of = |at: usize, name: &str| seen[at].1.iter().find(|(known, _)| known == name).cloned();
    assert_eq!(seen[0].0, "POST /a HTTP/1.1");
    assert_eq!(of(1, "host").unwrap().1, "");
    assert_eq!(pillion.connect_inbound().send(get("/good")).response().status, 200);
}
