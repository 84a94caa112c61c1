//! Pipelined requests: each byte belongs to one of them, and what is forwarded means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_http1::{
    Fields, Framing, Limits, Parsed, RequestHead, TargetForm, Version, copy_fields, parse_request,
};

const LIMITS: Limits = Limits { head_bytes: 4096, head_fields: 32 };
/// What is written may be a little longer than what came: the authority moves into a field.
const LIMITS_AGAIN: Limits = Limits { head_bytes: 8192, head_fields: 34 };

/// How many bytes of `rest` are the body, and its payload; `None` when it is broken or not whole.
fn body(framing: &Framing, rest: &[u8], piece: usize) -> Option<(usize, Vec<u8>)> {
    let mut verbatim = framing.clone();
    let mut len = 0;
    for piece in rest.chunks(piece) {
        match verbatim.advance(piece) {
            Ok(taken) => len += taken,
            Err(_) => {
                assert!(payload(framing, rest).is_none(), "refused verbatim only");
                return None;
            }
        }
    }
    let payload = payload(framing, rest);
    assert_eq!(payload.is_some(), verbatim.is_complete());
    let (decoded, payload) = payload?;
    assert_eq!(decoded, len);
    Some((len, payload))
}

fn payload(framing: &Framing, rest: &[u8]) -> Option<(usize, Vec<u8>)> {
    let mut framing = framing.clone();
    let (mut len, mut payload) = (0, Vec::new());
    while len < rest.len() && !framing.is_complete() {
        let step = framing.decode(&rest[len..]).ok()?;
        payload.extend_from_slice(&rest[len..][step.payload]);
        len += step.consumed;
    }
    framing.is_complete().then_some((len, payload))
}

/// The head as an origin is sent it.
fn forward(bytes: &[u8], head: &RequestHead<'_, '_>) -> Vec<u8> {
    let tunnel = head.form == TargetForm::Authority;
    let target = if tunnel { head.target } else { head.path };
    let version: &[u8] = match head.version {
        Version::Http10 => b" HTTP/1.0\r\n",
        Version::Http11 => b" HTTP/1.1\r\n",
    };
    let mut out = [head.method, b" ", target, version].concat();
    if tunnel || head.form == TargetForm::Absolute {
        out.extend_from_slice(&[b"host: ", head.authority, b"\r\n"].concat());
    }
    copy_fields(&bytes[..head.len], head.fields, head.drop, &mut out);
    if head.upgrade {
        out.extend_from_slice(b"connection: upgrade\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The next reader of what is forwarded has to see the same message, and nothing left to drop.
fn check_forwarded(bytes: &[u8], head: &RequestHead<'_, '_>) {
    let out = forward(bytes, head);
    let mut fields = Fields::new();
    let again = match parse_request(&out, &LIMITS_AGAIN, &mut fields) {
        Ok(Parsed::Complete(again)) => again,
        other => panic!("{other:?} from {}", out.escape_ascii()),
    };
    assert_eq!(again.len, out.len());
    assert_eq!((again.method, again.path, again.version), (head.method, head.path, head.version));
    assert_eq!((again.authority, &again.body), (head.authority, &head.body));
    assert_eq!((again.upgrade, again.expect_continue), (head.upgrade, head.expect_continue));
    for (position, field) in again.fields.iter().enumerate() {
        let ours = field.name.eq_ignore_ascii_case("connection")
            || head.form == TargetForm::Authority && field.name.eq_ignore_ascii_case("host");
        assert!(!again.drop.contains(position) || ours, "{} is left to drop", field.name);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&piece, mut bytes)) = data.split_first() else { return };
    let piece = usize::from(piece).max(1);
    loop {
        let mut fields = Fields::new();
        let Ok(Parsed::Complete(head)) = parse_request(bytes, &LIMITS, &mut fields) else { return };
        assert!(head.len <= bytes.len());
        check_forwarded(bytes, &head);
        let rest = &bytes[head.len..];
        let Some((len, payload)) = body(&head.body, rest, piece) else { return };
        assert!(payload.len() <= len && len <= rest.len());
        if let Framing::Length(expected) = head.body {
            assert_eq!(expected, len as u64);
        }
        bytes = &rest[len..];
    }
});
