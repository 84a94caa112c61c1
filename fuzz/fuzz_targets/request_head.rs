//! A request head means the same however it arrives, and lies within its bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_http1::{Fields, HeadError, Limits, Parsed, parse_request};

const LIMITS: Limits = Limits { head_bytes: 4096, head_fields: 32 };

/// The length of the head and everything that it says; `None` when it is not whole.
fn read(bytes: &[u8]) -> Result<Option<(usize, String)>, HeadError> {
    let mut fields = Fields::new();
    let Parsed::Complete(head) = parse_request(bytes, &LIMITS, &mut fields)? else {
        return Ok(None);
    };
    assert!(bytes[..head.len].ends_with(b"\r\n\r\n"));
    assert!(head.len <= LIMITS.head_bytes && head.fields.len() <= LIMITS.head_fields);
    assert!(
        !head.fields.iter().any(|field| field.value.iter().any(|byte| b"\r\n\0".contains(byte)))
    );
    Ok(Some((head.len, format!("{head:?}"))))
}

fuzz_target!(|data: &[u8]| {
    let Some((&split, bytes)) = data.split_first() else { return };
    let whole = read(bytes);
    let early = read(&bytes[..bytes.len().min(split.into())]);
    match (early, whole) {
        (Ok(None), _) | (Err(_), Err(_)) => {}
        (Ok(early), Ok(whole)) => assert_eq!(early, whole),
        (early, whole) => panic!("{early:?}, then {whole:?}"),
    }
});
