//! Where bodies end, byte by byte, and which chunked bodies are refused.

use super::*;
use crate::{EXTENSION_BYTES_MAX, TRAILER_BYTES_MAX, TRAILER_FIELDS_MAX, Trailers};

fn chunked() -> Framing {
    Framing::Chunked(Chunked::new())
}

/// Decodes all of `body`: the payload, the bytes consumed, the trailers.
fn decode(body: &[u8]) -> Result<(Vec<u8>, usize, Trailers), FramingError> {
    let mut framing = chunked();
    let (mut payload, mut at) = (Vec::new(), 0);
    while at < body.len() && !framing.is_complete() {
        let decoded = framing.decode(&body[at..])?;
        payload.extend_from_slice(&body[at..][decoded.payload]);
        at += decoded.consumed;
    }
    assert!(framing.is_complete(), "unfinished: {:?}", body.escape_ascii().to_string());
    let Framing::Chunked(mut chunked) = framing else { panic!("not chunked") };
    Ok((payload, at, chunked.take_trailers()))
}

fn refused(body: &[u8], expected: &str) {
    let mut verbatim = chunked();
    let error = verbatim.advance(body).expect_err("refused");
    assert!(error.to_string().contains(expected), "{error} for {}", body.escape_ascii());
    assert_eq!(decode(body).expect_err("refused"), error);
}

#[test]
fn a_length_counts_down_and_leaves_the_rest() {
    let mut framing = Framing::Length(5);
    assert_eq!(framing.payload_hint(), Some(5));
    assert_eq!(framing.advance(b"abc"), Ok(3));
    assert!(!framing.is_complete());
    assert_eq!(framing.decode(b"defg"), Ok(Decoded { consumed: 2, payload: 0..2 }));
    assert!(framing.is_complete());
    assert_eq!(framing.advance(b"g"), Ok(0));
    assert_eq!(Framing::Length(u64::MAX).advance(b"abc"), Ok(3));
}

#[test]
fn an_empty_body_takes_nothing_and_an_endless_one_everything() {
    assert!(Framing::Empty.is_complete());
    assert_eq!(Framing::Empty.advance(b"abc"), Ok(0));
    assert_eq!(Framing::Empty.payload_hint(), Some(0));
    let mut endless = Framing::UntilClose;
    assert_eq!(endless.advance(b"abc"), Ok(3));
    assert_eq!(endless.decode(b"abc"), Ok(Decoded { consumed: 3, payload: 0..3 }));
    assert!(!endless.is_complete());
    assert_eq!(endless.payload_hint(), None);
}

#[test]
fn chunks_are_joined_and_the_rest_is_left() {
    let cases: [(&str, &str, usize); 7] = [
        ("0\r\n\r\n", "", 0),
        ("0\r\n\r\nGET /", "", 5),
        ("3\r\nabc\r\n0\r\n\r\n", "abc", 0),
        ("3\r\nabc\r\nA\r\n0123456789\r\n00\r\n\r\nx", "abc0123456789", 1),
        ("3;a=b;c=\"d e\"\r\nabc\r\n0;x\r\n\r\n", "abc", 0),
        ("0000000000000003\r\na\r\n\r\n0\r\n\r\n", "a\r\n", 0),
        ("1\r\na\r\n0\r\nX-T: 1\r\nY:\r\n\r\nz", "a", 1),
    ];
    for (body, payload, rest) in cases {
        let (seen, consumed, _) = decode(body.as_bytes()).expect(body);
        assert_eq!((seen.as_slice(), consumed), (payload.as_bytes(), body.len() - rest), "{body}");
        let mut verbatim = chunked();
        assert_eq!(verbatim.advance(body.as_bytes()), Ok(body.len() - rest), "{body}");
        assert!(verbatim.is_complete());
    }
}

#[test]
fn small_bodies_are_decoded_in_one_step() {
    let body = b"3\r\nabc\r\n0\r\n\r\nGET";
    let mut framing = chunked();
    assert_eq!(framing.decode(body), Ok(Decoded { consumed: body.len() - 3, payload: 3..6 }));
    assert!(framing.is_complete());
}

#[test]
fn chunked_bodies_that_read_in_two_ways_are_refused() {
    let cases: [(&[u8], &str); 28] = [
        (b"\r\n", "hexadecimal"),
        (b";a\r\n", "hexadecimal"),
        (b" 3\r\nabc\r\n", "hexadecimal"),
        (b"3 \r\nabc\r\n", "hexadecimal"),
        (b"3\t;a\r\nabc\r\n", "hexadecimal"),
        (b"0x3\r\nabc\r\n", "hexadecimal"),
        (b"+3\r\nabc\r\n", "hexadecimal"),
        (b"-3\r\nabc\r\n", "hexadecimal"),
        (b"3,\r\nabc\r\n", "hexadecimal"),
        (b"g\r\n", "hexadecimal"),
        (b"3\nabc\r\n", "hexadecimal"),
        (b"3\r\rabc\r\n", "CR LF"),
        (b"3\rabc\r\n", "CR LF"),
        (b"3;a\nabc\r\n", "control character"),
        (b"3;a\0\r\nabc\r\n", "control character"),
        (b"3;a\rb\r\nabc\r\n", "CR LF"),
        (b"3\r\nabcd\r\n", "chunk data"),
        (b"3\r\nabc\n", "chunk data"),
        (b"3\r\nabc\rx", "chunk data"),
        (b"0\r\n\n", "token"),
        (b"0\r\n a: b\r\n\r\n", "token"),
        (b"0\r\na : b\r\n\r\n", "token"),
        (b"0\r\na\r\n\r\n", "token"),
        (b"0\r\n: b\r\n\r\n", "token"),
        (b"0\r\na: b\n\r\n", "control character"),
        (b"0\r\na: b\r\n c\r\n\r\n", "token"),
        (b"0\r\na: b\rc\r\n\r\n", "CR LF"),
        (b"0\r\n\rx", "CR LF"),
    ];
    for (body, rule) in cases {
        refused(body, rule);
    }
}

#[test]
fn bounds_hold_at_the_bound_and_refuse_one_more() {
    let size = |digits: usize| format!("{}\r\n\r\n", "0".repeat(digits)).into_bytes();
    assert!(decode(&size(16)).is_ok());
    refused(&size(17), "16 digits");
    let extension = |len: usize| {
        format!("1;{0}\r\na\r\n1;{0}\r\nb\r\n0\r\n\r\n", "x".repeat(len - 1)).into_bytes()
    };
    assert!(decode(&extension(EXTENSION_BYTES_MAX.into())).is_ok());
    refused(&extension(usize::from(EXTENSION_BYTES_MAX) + 1), "extensions");
    let bytes = |len: usize| format!("0\r\na:{}\r\n\r\n", "x".repeat(len - 4)).into_bytes();
    assert!(decode(&bytes(TRAILER_BYTES_MAX)).is_ok());
    refused(&bytes(TRAILER_BYTES_MAX + 1), "8 KiB");
    let lines = |count: usize| format!("0\r\n{}\r\n", "a: b\r\n".repeat(count)).into_bytes();
    assert!(decode(&lines(TRAILER_FIELDS_MAX)).is_ok());
    refused(&lines(TRAILER_FIELDS_MAX + 1), "64 trailers");
}

#[test]
fn the_largest_size_does_not_overflow() {
    let mut framing = chunked();
    let start = b"ffffffffffffffff\r\nabc";
    assert_eq!(framing.advance(start), Ok(start.len()));
    assert!(!framing.is_complete());
}

#[test]
fn trailers_are_kept_without_those_that_may_not_be_one() {
    let body = "0\r\ngrpc-status: 0\r\nHost: evil\r\nX-Sum:  \ta b \r\nCONTENT-LENGTH: 5\r\n\
                set-cookie: a\r\nempty:\r\n\r\n";
    let (_, _, trailers) = decode(body.as_bytes()).expect("valid");
    let seen: Vec<(&[u8], &[u8])> = trailers.iter().collect();
    let expected: [(&[u8], &[u8]); 3] =
        [(b"grpc-status", b"0"), (b"X-Sum", b"a b"), (b"empty", b"")];
    assert_eq!(seen, expected);
    assert!(!trailers.is_empty());
    let (_, _, forbidden_only) = decode(b"0\r\nHost: a\r\n\r\n").expect("valid");
    assert!(forbidden_only.is_empty());
}

#[test]
fn trailers_are_not_kept_when_the_body_is_only_advanced() {
    let mut framing = chunked();
    assert!(framing.advance(b"0\r\na: b\r\n\r\n").is_ok());
    let Framing::Chunked(mut chunked) = framing else { panic!("not chunked") };
    assert!(chunked.take_trailers().is_empty());
}
