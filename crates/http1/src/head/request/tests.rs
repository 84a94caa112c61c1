//! What a request head means, and what is refused, rule by rule.

use super::*;
use crate::{Chunked, FIELDS_MAX};

const LIMITS: Limits = Limits { head_bytes: 4096, head_fields: 32 };

/// Parses `text` and hands the whole head to `look`.
fn with_head<T>(text: &[u8], look: impl FnOnce(&RequestHead<'_, '_>) -> T) -> Result<T, HeadError> {
    let mut fields = Fields::new();
    match parse_request(text, &LIMITS, &mut fields)? {
        Parsed::Complete(head) => Ok(look(&head)),
        Parsed::Partial => panic!("not a whole head: {:?}", text.escape_ascii().to_string()),
    }
}

/// A GET of HTTP/1.1 with these field lines besides `Host`.
fn with_fields(lines: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
}

fn dropped_names(head: &RequestHead<'_, '_>) -> String {
    let dropped = head.fields.iter().enumerate().filter(|(at, _)| head.drop.contains(*at));
    dropped.map(|(_, field)| field.name).collect::<Vec<_>>().join(" ")
}

fn refused(text: &[u8], expected: &str) {
    match with_head(text, |head| format!("{head:?}")) {
        Err(HeadError::Malformed(rule)) => {
            assert!(rule.contains(expected), "{rule} for {:?}", text.escape_ascii().to_string());
        }
        other => panic!("{other:?} for {:?}", text.escape_ascii().to_string()),
    }
}

#[test]
fn targets_are_taken_apart_by_form() {
    use TargetForm::{Absolute, Asterisk, Authority, Origin};
    let cases: [(&str, TargetForm, &str, &str); 10] = [
        ("GET /", Origin, "host", "/"),
        ("GET /a?b=c&d", Origin, "host", "/a?b=c&d"),
        ("GET //x/../y", Origin, "host", "//x/../y"),
        ("OPTIONS *", Asterisk, "host", "*"),
        ("GET http://b:8080/x?y", Absolute, "b:8080", "/x?y"),
        ("GET HTTPS://b", Absolute, "b", "/"),
        ("OPTIONS http://b", Absolute, "b", "*"),
        ("OPTIONS http://b/", Absolute, "b", "/"),
        ("CONNECT b:443", Authority, "b:443", ""),
        ("CONNECT [::1]:443", Authority, "[::1]:443", ""),
    ];
    for (start, form, authority, path) in cases {
        let text = format!("{start} HTTP/1.1\r\nHost: host\r\n\r\n");
        let seen = with_head(text.as_bytes(), |head| {
            assert_eq!(dropped_names(head).contains("Host"), authority != "host", "{start}");
            (head.form, head.authority.to_vec(), head.path.to_vec())
        });
        assert_eq!(seen, Ok((form, authority.into(), path.into())), "{start}");
    }
}

#[test]
fn targets_that_read_in_two_ways_are_refused() {
    let cases = [
        ("GET *", "a path or an http(s) URI"),
        ("GET a", "a path or an http(s) URI"),
        ("GET a:80", "a path or an http(s) URI"),
        ("GET ftp://a/", "a path or an http(s) URI"),
        ("GET http:/a", "a path or an http(s) URI"),
        ("GET /a#b", "fragment"),
        ("GET http://a/#b", "fragment"),
        ("GET /\u{e9}", "percent-encoded"),
        ("GET http:///", "authority"),
        ("GET http://u@a/", "authority"),
        ("GET http://a:b/", "authority"),
        ("GET http://a\\b/", "authority"),
        ("GET http://a?b", "no path"),
        ("CONNECT a", "HOST:PORT"),
        ("CONNECT a:", "HOST:PORT"),
        ("CONNECT /", "HOST:PORT"),
        ("CONNECT http://a:80/", "HOST:PORT"),
        ("CONNECT a:70000", "HOST:PORT"),
    ];
    for (start, rule) in cases {
        refused(format!("{start} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), rule);
    }
}

#[test]
fn start_lines_and_field_lines_have_one_spelling() {
    let cases: [(&[u8], &str); 33] = [
        (b"\n", "empty line before"),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "empty line before"),
        (b"\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "empty line before"),
        (b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", "CR LF"),
        (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "METHOD SP TARGET"),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "METHOD SP TARGET"),
        (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.0 or HTTP/1.1"),
        (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "METHOD SP TARGET"),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "CR LF"),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.0 or HTTP/1.1"),
        (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "METHOD SP TARGET"),
        (b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", "METHOD SP TARGET"),
        (b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "METHOD SP TARGET"),
        (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "METHOD SP TARGET"),
        (b"GET /\r\n\r\n", "METHOD SP TARGET"),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", "HTTP/1.0 or HTTP/1.1"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "HTTP/1.0 or HTTP/1.1"),
        (b"GET / http/1.1\r\nHost: a\r\n\r\n", "HTTP/1.0 or HTTP/1.1"),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", "CR LF"),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", "CR LF"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", "CR LF"),
        (b"GET / HTTP/1.1\r\nHost: a\n\n", "CR LF"),
        (b"GET / HTTP/1.1\r\nHost: a\nB: c\r\n\r\n", "CR LF"),
        (b"GET / HTTP/1.1\n\n", "CR LF"),
        (b"GET / HTTP/1.1\r\nHost: a\rB: c\r\n\r\n", "control character"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n B: c\r\n\r\n", "token"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n", "token"),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", "token"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "token"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", "token"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nB\r\n\r\n", "token"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nB: \0\r\n\r\n", "control character"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nB: \x0b\r\n\r\n", "control character"),
    ];
    for (text, rule) in cases {
        refused(text, rule);
    }
}

#[test]
fn one_empty_line_before_the_request_is_part_of_its_head() {
    let text = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
    assert_eq!(with_head(text, |head| head.len), Ok(text.len() - 4));
}

#[test]
fn the_host_is_given_once_and_is_a_host() {
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n", "needs a host"),
        ("GET http://a/ HTTP/1.1\r\n\r\n", "needs a host"),
        ("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", "given twice"),
        ("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", "given twice"),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "HOST[:PORT]"),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "HOST[:PORT]"),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "HOST[:PORT]"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "HOST[:PORT]"),
        ("GET / HTTP/1.1\r\nHost: \u{e9}\r\n\r\n", "HOST[:PORT]"),
    ];
    for (text, rule) in cases {
        refused(text.as_bytes(), rule);
    }
    for text in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost:\r\n\r\n"] {
        assert_eq!(with_head(text.as_bytes(), |head| head.authority.to_vec()), Ok(vec![]));
    }
}

#[test]
fn the_body_is_framed_in_one_way_or_not_at_all() {
    let cases: [(&str, Framing); 6] = [
        ("", Framing::Empty),
        ("Content-Length: 0\r\n", Framing::Empty),
        ("content-length: 12\r\n", Framing::Length(12)),
        ("Content-Length: \t0012 \r\n", Framing::Length(12)),
        ("Transfer-Encoding: chunked\r\n", Framing::Chunked(Chunked::new())),
        ("TRANSFER-ENCODING:CHUNKED\r\n", Framing::Chunked(Chunked::new())),
    ];
    for (lines, expected) in cases {
        let body = with_head(&with_fields(lines), |head| head.body.clone());
        assert_eq!(body, Ok(expected), "{lines}");
    }
    let refusals = [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "next to"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "next to"),
        ("Content-Length: 1\r\nContent-Length: 1\r\n", "content-length is given twice"),
        ("Content-Length: 1, 1\r\n", "one number"),
        ("Content-Length: +1\r\n", "one number"),
        ("Content-Length: -1\r\n", "one number"),
        ("Content-Length: 1 2\r\n", "one number"),
        ("Content-Length: 0x1\r\n", "one number"),
        ("Content-Length:\r\n", "one number"),
        ("Content-Length: 10000000000000000000\r\n", "one number"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "encoding is given twice"),
        ("Transfer-Encoding: chunked, chunked\r\n", "has to be chunked"),
        ("Transfer-Encoding: chunked, gzip\r\n", "has to be chunked"),
        ("Transfer-Encoding: gzip\r\n", "has to be chunked"),
        ("Transfer-Encoding: identity\r\n", "has to be chunked"),
        ("Transfer-Encoding:\r\n", "has to be chunked"),
        ("Transfer-Encoding: chunked;a=b\r\n", "has to be chunked"),
        ("Transfer-Encoding: \"chunked\"\r\n", "has to be chunked"),
        ("Transfer-Encoding: xchunked\r\n", "has to be chunked"),
        ("Transfer-Encoding: , chunked\r\n", "has to be chunked"),
        ("Transfer-Encoding: a b, chunked\r\n", "has to be chunked"),
    ];
    for (lines, rule) in refusals {
        refused(&with_fields(lines), rule);
    }
    refused(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0");
    refused(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n\r\n", "CONNECT with");
}

#[test]
fn a_clear_but_unknown_transfer_coding_is_unsupported() {
    for lines in ["Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: identity,Chunked\r\n"]
    {
        let parsed = with_head(&with_fields(lines), |_| ());
        assert!(matches!(parsed, Err(HeadError::Unsupported(_))), "{lines}: {parsed:?}");
    }
}

#[test]
fn fields_of_the_connection_are_not_forwarded() {
    let cases = [
        ("Accept: a\r\n", ""),
        ("Connection: close\r\nKeep-Alive: 5\r\n", "Connection Keep-Alive"),
        ("Proxy-Connection: keep-alive\r\n", "Proxy-Connection"),
        (
            "Connection: x-a, ,X-B\r\nX-A: 1\r\nx-b: 2\r\nx-c: 3\r\nX-a: 4\r\n",
            "Connection X-A x-b X-a",
        ),
        ("X-A: 1\r\nConnection: x-a\r\n", "X-A Connection"),
        ("TE: trailers\r\nConnection: TE\r\n", "Connection"),
        ("TE: gzip, trailers\r\n", "TE"),
        ("Upgrade: websocket\r\n", "Upgrade"),
        ("Upgrade: websocket\r\nConnection: Upgrade\r\n", "Connection"),
        ("Upgrade: h2c\r\nConnection: Upgrade\r\n", "Upgrade Connection"),
        ("Proxy-Authorization: a\r\nContent-Length: 1\r\nTrailer: x\r\n", ""),
    ];
    for (lines, expected) in cases {
        let dropped = with_head(&with_fields(lines), dropped_names);
        assert_eq!(dropped.as_deref(), Ok(expected), "{lines}");
    }
}

#[test]
fn connection_may_not_name_what_frames_or_routes() {
    for name in ["content-length", "Transfer-Encoding", "HOST", "trailer", "expect"] {
        refused(&with_fields(&format!("Connection: a, {name}\r\n")), "frames or routes");
    }
    refused(&with_fields("Connection: :path\r\n"), "token");
    refused(&with_fields("Connection: a b\r\n"), "token");
    let naming = |count| {
        let names: Vec<_> = (0..count).map(|at| format!("x{at}")).collect();
        with_fields(&format!("Connection: close, keep-alive, {}\r\n", names.join(",")))
    };
    assert_eq!(with_head(&naming(16), |_| ()), Ok(()));
    refused(&naming(17), "more than 16");
}

#[test]
fn what_the_client_wants_is_read_by_its_version() {
    let cases = [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: keep-alive, Close\r\n", false),
        ("1.1", "Connection: x\r\nConnection: CLOSE\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ];
    for (version, lines, expected) in cases {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(with_head(text.as_bytes(), |head| head.keep_alive), Ok(expected), "{text}");
    }
}

#[test]
fn upgrade_expect_and_te_are_read_once_they_mean_something() {
    // Version, field lines, upgrade, expect_continue, te_trailers.
    let cases = [
        ("1.1", "Connection: upgrade\r\nUpgrade: websocket\r\n", true, false, false),
        ("1.1", "Connection: upgrade\r\n", false, false, false),
        ("1.1", "Upgrade: websocket\r\n", false, false, false),
        ("1.1", "Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b, H2C\r\n", false, false, false),
        ("1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n", false, false, false),
        ("1.1", "Expect: 100-Continue\r\n", false, true, false),
        ("1.1", "Expect: something\r\n", false, false, false),
        ("1.0", "Expect: 100-continue\r\n", false, false, false),
        ("1.1", "TE: trailers\r\n", false, false, true),
        ("1.1", "TE: deflate;q=0.5, Trailers\r\n", false, false, true),
        ("1.1", "TE: deflate\r\n", false, false, false),
    ];
    for (version, lines, upgrade, expect_continue, te_trailers) in cases {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
        let seen = with_head(text.as_bytes(), |head| {
            (head.upgrade, head.expect_continue, head.te_trailers)
        });
        assert_eq!(seen, Ok((upgrade, expect_continue, te_trailers)), "{text}");
    }
}

#[test]
fn a_tunnel_is_not_upgraded() {
    let text = b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let seen = with_head(text, |head| (head.upgrade, dropped_names(head)));
    assert_eq!(seen, Ok((false, "Host Connection Upgrade".to_owned())));
}

#[test]
fn limits_hold_at_the_limit_and_refuse_one_more() {
    let text = with_fields("A: b\r\n");
    let parse = |text: &[u8], head_bytes, head_fields| {
        let mut fields = Fields::new();
        let parsed = parse_request(text, &Limits { head_bytes, head_fields }, &mut fields);
        parsed.map(|parsed| matches!(parsed, Parsed::Complete(_)))
    };
    assert_eq!(parse(&text, text.len(), 2), Ok(true));
    assert_eq!(parse(&text, text.len() - 1, 2), Err(HeadError::TooLarge));
    assert_eq!(parse(&text, text.len(), 1), Err(HeadError::TooManyFields));
    let unfinished = &text[..text.len() - 1];
    assert_eq!(parse(unfinished, text.len(), 2), Ok(false));
    assert_eq!(parse(unfinished, unfinished.len(), 2), Err(HeadError::TooLarge));
    let many = |count: usize| with_fields(&"a: b\r\n".repeat(count - 1));
    assert_eq!(parse(&many(FIELDS_MAX), 1 << 16, 1000), Ok(true));
    assert_eq!(parse(&many(FIELDS_MAX + 1), 1 << 16, 1000), Err(HeadError::TooManyFields));
}

#[test]
fn methods_end_at_32_bytes() {
    let request = |len| format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(len)).into_bytes();
    assert_eq!(with_head(&request(32), |head| head.method.len()), Ok(32));
    refused(&request(33), "32 bytes");
}

#[test]
fn kept_lines_are_copied_byte_for_byte() {
    let lines = "ACCEPT:  a \r\nConnection: x-b\r\nx-A:b\r\nX-B: c\r\nlast: \t\r\n";
    let text = with_fields(lines);
    let copied = with_head(&text, |head| {
        let mut out = Vec::new();
        crate::copy_fields(&text[..head.len], head.fields, head.drop, &mut out);
        String::from_utf8(out)
    });
    let expected = "Host: a\r\nACCEPT:  a \r\nx-A:b\r\nlast: \t\r\n".to_owned();
    assert_eq!(copied, Ok(Ok(expected)));
}
