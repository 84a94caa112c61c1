//! A response head means the same however it arrives, and after it was forwarded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_http1::{
    Fields, Limits, Parsed, RequestFacts, ResponseHead, copy_fields, parse_response,
};

const LIMITS: Limits = Limits { head_bytes: 4096, head_fields: 32 };

fn forward(bytes: &[u8], head: &ResponseHead<'_, '_>) -> Vec<u8> {
    let mut out = bytes[..8].to_vec();
    out.extend_from_slice(format!(" {:03} ", head.status).as_bytes());
    out.extend_from_slice(head.reason_phrase);
    out.extend_from_slice(b"\r\n");
    copy_fields(&bytes[..head.len], head.fields, head.drop, &mut out);
    if head.status == 101 {
        out.extend_from_slice(b"connection: upgrade\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

fuzz_target!(|data: &[u8]| {
    let Some((&facts, bytes)) = data.split_first() else { return };
    let request = RequestFacts {
        is_head: facts & 1 != 0,
        is_connect: facts & 2 != 0,
        upgrade: facts & 4 != 0,
    };
    let mut fields = Fields::new();
    let Ok(Parsed::Complete(head)) = parse_response(bytes, request, &LIMITS, &mut fields) else {
        return;
    };
    assert!(bytes[..head.len].ends_with(b"\r\n\r\n"));
    for end in [0, 8, 12, head.len / 2, head.len - 1] {
        let mut fields = Fields::new();
        let early = parse_response(&bytes[..end.min(head.len - 1)], request, &LIMITS, &mut fields);
        assert!(matches!(early, Ok(Parsed::Partial)), "{early:?}");
    }
    let out = forward(bytes, &head);
    let mut fields = Fields::new();
    // What is written may be a little longer than what came.
    let limits = Limits { head_bytes: 2 * LIMITS.head_bytes, head_fields: LIMITS.head_fields + 1 };
    let again = match parse_response(&out, request, &limits, &mut fields) {
        Ok(Parsed::Complete(again)) => again,
        other => panic!("{other:?}"),
    };
    assert_eq!(again.len, out.len());
    assert_eq!(
        (again.status, again.reason_phrase, again.body, again.is_upgrade),
        (head.status, head.reason_phrase, head.body, head.is_upgrade)
    );
});
