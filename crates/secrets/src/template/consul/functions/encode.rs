//! Writing bytes and text in other forms.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE};

use super::format::printed;
use super::{ANY, Call, Fault, Function, Value, function};
use crate::template::output::Output;

pub(super) const FUNCTIONS: &[Function] = &[
    function("base64Encode", 1, 1, |call| Ok(Value::text(STANDARD.encode(call.text(0)?)))),
    function("base64Decode", 1, 1, |call| decoded(call, &STANDARD)),
    function("base64URLEncode", 1, 1, |call| Ok(Value::text(URL_SAFE.encode(call.text(0)?)))),
    function("base64URLDecode", 1, 1, |call| decoded(call, &URL_SAFE)),
    function("sprig_b64enc", 1, 1, |call| Ok(Value::text(STANDARD.encode(call.text(0)?)))),
    function("sprig_b64dec", 1, 1, |call| decoded(call, &STANDARD)),
    function("sha256Hex", 1, 1, |call| Ok(Value::text(sha256(call.text(0)?)))),
    function("sprig_sha256sum", 1, 1, |call| Ok(Value::text(sha256(call.text(0)?)))),
    function("hmacSHA256Hex", 2, 2, |call| {
        // The message comes first.
        let key = hmac::Key::new(hmac::HMAC_SHA256, call.text(1)?.as_bytes());
        Ok(Value::text(hex(hmac::sign(&key, call.text(0)?.as_bytes()).as_ref())))
    }),
    function("html", 1, ANY, |call| escaped(&printed(call)?.into_text(), html)),
    function("js", 1, ANY, |call| escaped(&printed(call)?.into_text(), js)),
    function("urlquery", 1, ANY, |call| {
        let mut out = Output::default();
        for byte in printed(call)?.into_text().bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    out.push(char::from(byte).encode_utf8(&mut [0; 4]))?;
                }
                b' ' => out.push("+")?,
                _ => out.push(&format!("%{byte:02X}"))?,
            }
        }
        Ok(out.into())
    }),
];

fn decoded(call: &Call<'_>, engine: &GeneralPurpose) -> Result<Value, Fault> {
    // Go reads over line ends.
    let text = call.text(0)?.replace(['\n', '\r'], "");
    let bytes = engine.decode(text).map_err(|_| call.fault("this is not base64"))?;
    let text = String::from_utf8(bytes).map_err(|_| call.fault("what comes out is not UTF-8"))?;
    Ok(Value::text(text))
}

/// The SHA-256 of a text in hexadecimal digits.
pub(in crate::template) fn sha256(text: &str) -> String {
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn escaped(text: &str, escape: fn(char) -> Option<String>) -> Result<Value, Fault> {
    let mut out = Output::default();
    for letter in text.chars() {
        match escape(letter) {
            Some(escaped) => out.push(&escaped)?,
            None => out.push(letter.encode_utf8(&mut [0; 4]))?,
        }
    }
    Ok(out.into())
}

fn html(letter: char) -> Option<String> {
    let escaped = match letter {
        '\0' => "\u{fffd}",
        '"' => "&#34;",
        '\'' => "&#39;",
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        _ => return None,
    };
    Some(escaped.to_owned())
}

fn js(letter: char) -> Option<String> {
    Some(match letter {
        '\\' | '\'' | '"' => format!("\\{letter}"),
        '<' | '>' | '&' | '=' => format!("\\u{:04X}", u32::from(letter)),
        _ if letter < ' ' => format!("\\u{:04X}", u32::from(letter)),
        _ => return None,
    })
}
