//! Valid messages, and inputs that are nearly valid.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A valid request, and what has to be read from it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    pub(crate) head_len: usize,
    pub(crate) method: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) keep_alive: bool,
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Length(Vec<u8>),
    Chunked { chunks: Vec<Vec<u8>>, extension: &'static str, trailers: &'static str },
}

fn body() -> impl Strategy<Value = Body> {
    let bytes = || vec(any::<u8>(), 0..40);
    let extension = select(vec!["", ";a", ";name=value", ";q=\"a b\""]);
    let trailers = select(vec!["", "X-T: 1\r\n", "a:\r\nGrpc-Status: 0 \r\n"]);
    prop_oneof![
        Just(Body::None),
        bytes().prop_map(Body::Length),
        (vec(vec(any::<u8>(), 1..20), 0..4), extension, trailers).prop_map(
            |(chunks, extension, trailers)| Body::Chunked { chunks, extension, trailers }
        ),
    ]
}

impl Body {
    fn field(&self, shout: bool) -> Option<String> {
        let line = match self {
            Self::None => return None,
            Self::Length(bytes) => format!("Content-Length: {}", bytes.len()),
            Self::Chunked { .. } => "Transfer-Encoding:chunked ".to_owned(),
        };
        Some(if shout { line.to_uppercase() } else { line })
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Length(bytes) => out.extend_from_slice(bytes),
            Self::Chunked { chunks, extension, trailers } => {
                for chunk in chunks {
                    out.extend_from_slice(format!("{:X}{extension}\r\n", chunk.len()).as_bytes());
                    out.extend_from_slice(chunk);
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(format!("0{extension}\r\n{trailers}\r\n").as_bytes());
            }
        }
    }

    fn payload(&self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Length(bytes) => bytes.clone(),
            Self::Chunked { chunks, .. } => chunks.concat(),
        }
    }
}

/// A valid request of HTTP/1.1.
pub(crate) fn request() -> impl Strategy<Value = Request> {
    let method = prop_oneof![
        select(vec!["GET", "POST", "DELETE", "OPTIONS"]).prop_map(str::to_owned),
        "[A-Za-z!#$%&'*+.^_`|~-]{1,32}"
            .prop_filter("is taken apart differently", |method| { method != "CONNECT" }),
    ];
    let target = prop_oneof![
        "/[A-Za-z0-9/._~%!$&'()*+,;=:@?\"|{}^-]{0,30}",
        "https?://[a-z0-9.-]{1,12}(:[0-9]{0,4})?(/[a-z?=]{0,8})?",
    ];
    let field = prop_oneof![
        "[xX]-[A-Za-z0-9_!#$-]{1,8}:[ \t]{0,2}[!-~\u{e9}]([ -~]{0,20}[!-~])?[ \t]{0,2}",
        select(vec![
            "Accept: */*",
            "empty:",
            "TE: trailers",
            "te: gzip",
            "Keep-Alive: timeout=5",
            "Connection: x-a, keep-alive",
            "connection: Close",
            "Expect: 100-continue",
            "Upgrade: websocket",
            "Connection: upgrade",
        ])
        .prop_map(str::to_owned),
    ];
    let host = "[Hh]ost:[ ]{0,2}[a-z0-9._-]{0,12}";
    let parts = (method, target, vec(field, 0..8), host, body());
    (parts, any::<(bool, bool)>(), any::<(prop::sample::Index, prop::sample::Index)>()).prop_map(
        |((method, target, mut lines, host, body), (shout, empty_line), (at, framing_at))| {
            lines.insert(at.index(lines.len() + 1), host);
            if let Some(line) = body.field(shout) {
                lines.insert(framing_at.index(lines.len() + 1), line);
            }
            let keep_alive = !lines.iter().any(|line| line == "connection: Close");
            let before = if empty_line { "\r\n" } else { "" };
            let head =
                format!("{before}{method} {target} HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"));
            let (head_len, payload) = (head.len(), body.payload());
            let mut bytes = head.into_bytes();
            body.write(&mut bytes);
            Request { bytes, head_len, method, payload, keep_alive }
        },
    )
}

/// A valid response head, without its body.
pub(crate) fn response_head() -> impl Strategy<Value = Vec<u8>> {
    let field = select(vec![
        "Date: now",
        "Content-Length: 5",
        "Connection: close",
        "connection: x-a",
        "X-A: 1",
        "Server:  s ",
        "Upgrade: h2",
        "Set-Cookie: a=b; c",
    ]);
    (select(vec!["1.0", "1.1"]), 100..1000u16, "( [ -~\u{e9}]{0,12})?", vec(field, 0..6)).prop_map(
        |(version, status, reason, mut lines)| {
            lines.sort_unstable();
            lines.dedup();
            let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            format!("HTTP/{version} {status}{reason}\r\n{lines}\r\n").into_bytes()
        },
    )
}

/// Bytes that are mostly chunked coding.
pub(crate) fn nearly_chunked() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => select(vec![
            "0\r\n\r\n", "1\r\na\r\n", "3\r\nabc\r\n", "A\r\n0123456789\r\n", "2;x=y\r\n\r\n\r\n",
            "0\r\nX: y\r\n\r\n", "00\r\n\r\n",
        ]),
        2 => select(vec![
            "\r\n", "\n", "\r", "0\r\n", "3", ";", " ", "a: b\r\n", ":", "x", "\0", "ffffffffffffffff",
            "1\na\r\n", "1 \r\na\r\n", "0;\r\n", "1;\"\r\n",
        ]),
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes())
}

/// `bytes` with a few bytes changed, cut out or put in.
pub(crate) fn mutated(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![select(b"\r\n\t :,;0123456789\0\x7f\x80/?#@[]".to_vec()), any::<u8>(),];
    let change = (any::<prop::sample::Index>(), 0..3u8, byte);
    (bytes, vec(change, 1..4)).prop_map(|(mut bytes, changes)| {
        for (at, kind, byte) in changes {
            let at = at.index(bytes.len() + 1);
            match (kind, bytes.get_mut(at)) {
                (0, Some(old)) => *old = byte,
                (1, Some(_)) => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}
