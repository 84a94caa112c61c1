//! Text and values as JSON, copied in runs: nothing is looked at character by character.

use std::borrow::Cow;

use crate::record::Value;

/// Bytes that are looked at together.
const WORD: usize = size_of::<u64>();
const ONES: u64 = u64::MAX / 255;
const HIGH: u64 = ONES * 0x80;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends text as a JSON string (RFC 8259 §7), in its quotes.
pub(super) fn quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escaped(text, out);
    out.push(b'"');
}

/// Appends text as the inside of a JSON string.
pub(super) fn escaped(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some((plain, odd, after)) = split_at_odd(rest) {
        out.extend_from_slice(plain);
        match odd {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                out.extend_from_slice(b"\\u00");
                hex(&[control], out);
            }
        }
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// What stands before the first byte that cannot stand in a JSON string, that byte, and the rest.
fn split_at_odd(text: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let at = first_odd(text)?;
    let (odd, after) = text.get(at..)?.split_first()?;
    Some((text.get(..at)?, *odd, after))
}

fn first_odd(text: &[u8]) -> Option<usize> {
    let (words, rest) = text.as_chunks::<WORD>();
    for (index, word) in words.iter().enumerate() {
        let odd = odd_bytes(u64::from_le_bytes(*word));
        if odd != 0 {
            return Some(index * WORD + first_byte(odd));
        }
    }
    let before = text.len() - rest.len();
    match text.last_chunk::<WORD>() {
        // The last whole word begins among bytes that are known to be plain.
        Some(word) if !rest.is_empty() => {
            let odd = odd_bytes(u64::from_le_bytes(*word));
            (odd != 0).then(|| text.len() - WORD + first_byte(odd))
        }
        Some(_) => None,
        None => rest.iter().position(|byte| is_odd(*byte)).map(|at| before + at),
    }
}

/// The high bit of each byte that is a control character, a quotation mark or a backslash. A byte
/// above the first of them may be marked too, because of the carry; the first is always right.
const fn odd_bytes(word: u64) -> u64 {
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (control | zero_bytes(word ^ (ONES * 0x22)) | zero_bytes(word ^ (ONES * 0x5c))) & HIGH
}

const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word
}

const fn first_byte(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

const fn is_odd(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// Appends a JSON value as it was written, on one line: a line break in valid JSON is only ever
/// between its parts, where a space says the same.
pub(super) fn json(written: &str, out: &mut Vec<u8>) {
    let mut rest = written.as_bytes();
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        out.push(b' ');
        rest = rest.get(at + 1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// Appends a value as JSON.
pub(super) fn value(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => quoted(text, out),
        Value::Json(written) => json(written, out),
    }
}

/// Appends a value as a JSON string: an object as the text that it was written as.
pub(super) fn string(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Json(written) if is_string(written) => json(written, out),
        Value::Text(text) | Value::Json(text) => quoted(text, out),
    }
}

/// A value as text: a JSON string without its quotes, everything else as it was written.
pub(super) fn plain<'a>(value: &'a Value<'_>) -> Cow<'a, str> {
    match value {
        Value::Json(written) if is_string(written) => unquoted(written),
        Value::Text(text) | Value::Json(text) => Cow::Borrowed(text),
    }
}

/// Whether a JSON value is a string.
pub(super) fn is_string(written: &str) -> bool {
    written.starts_with('"')
}

fn unquoted(written: &str) -> Cow<'_, str> {
    let inside = written.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match inside {
        Some(inside) if memchr::memchr(b'\\', inside.as_bytes()).is_none() => inside.into(),
        // It is valid; were it not, it would be passed on as it is.
        _ => serde_json::from_str(written).map_or(Cow::Borrowed(written), Cow::Owned),
    }
}

/// Appends bytes as lower case hexadecimal digits.
pub(super) fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    let digit = |four: u8| HEX.get(usize::from(four)).copied().unwrap_or_default();
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

/// Appends a number in decimal digits.
pub(super) fn number(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_becomes_a_json_string() {
        for (text, expected) in [
            ("", r#""""#),
            ("plain /path?x=1", r#""plain /path?x=1""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("1\r\n2\t3", r#""1\r\n2\t3""#),
            ("\u{1b}[31mred\0", r#""\u001b[31mred\u0000""#),
            ("grüß 🦀", r#""grüß 🦀""#),
        ] {
            assert_eq!(written(|out| quoted(text, out)), expected);
        }
    }

    #[test]
    fn a_byte_that_has_to_be_escaped_is_found_wherever_it_is() {
        for length in [1, 7, 8, 9, 15, 16, 17, 40] {
            for at in 0..length {
                for odd in ["\0", "\u{1f}", "\"", "\\"] {
                    let mut text = "!".repeat(length);
                    text.replace_range(at..=at, odd);
                    let json = written(|out| quoted(&text, out));
                    assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
                }
            }
        }
    }

    #[test]
    fn json_stays_on_one_line_however_it_was_written() {
        let pretty = "{\n  \"a\": \"x\\ny\",\r\n\t\"b\": [1,\n2]\n}";
        let line = written(|out| json(pretty, out));
        assert!(!line.contains(['\n', '\r']), "{line}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&line), value(pretty));
    }

    #[test]
    fn values_are_text_or_strings_where_that_is_asked_for() {
        for (value, as_value, as_string, as_text) in [
            (Value::Text("a\"b".into()), r#""a\"b""#, r#""a\"b""#, "a\"b"),
            (Value::Json(r#""a\nb""#.into()), r#""a\nb""#, r#""a\nb""#, "a\nb"),
            (Value::Json(r#""ab""#.into()), r#""ab""#, r#""ab""#, "ab"),
            (Value::Json("1.50".into()), "1.50", r#""1.50""#, "1.50"),
            (Value::Json(r#"{"a":1}"#.into()), r#"{"a":1}"#, r#""{\"a\":1}""#, r#"{"a":1}"#),
        ] {
            assert_eq!(written(|out| super::value(&value, out)), as_value);
            assert_eq!(written(|out| string(&value, out)), as_string);
            assert_eq!(plain(&value), as_text);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_json_string_that_reads_back(text: String) {
            let json = written(|out| quoted(&text, out));
            prop_assert!(!json.contains(|c: char| c < ' '));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
