//! Text that a stranger may have chosen, made safe for a line of a log: always UTF-8, never a
//! control character.

use std::io::Write as _;

/// Bytes that are looked at together: two vectors of the smallest x86-64 and ARM64 processors.
const BLOCK: usize = 32;

/// Appends `text` as the inside of a JSON string (RFC 8259 §7). Bytes that are no UTF-8 become
/// U+FFFD. Beside what JSON asks for, DEL and the C1 controls are escaped too, for terminals act on
/// them.
pub(crate) fn escape(text: &[u8], out: &mut Vec<u8>) {
    if is_plain(text) {
        out.extend_from_slice(text);
        return;
    }
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            push(character, out);
        }
        if !chunk.invalid().is_empty() {
            push(char::REPLACEMENT_CHARACTER, out);
        }
    }
}

/// Whether [`escape`] leaves `text` as it is, for nothing in it is but printable ASCII without
/// quotation mark and backslash. Nearly all text is so.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    // The rest is looked at in a whole block too, where there is one: some bytes twice costs less
    // than some bytes one by one.
    let rest_plain = match text.last_chunk::<BLOCK>() {
        Some(block) if !rest.is_empty() => all_plain(block),
        _ => all_plain(rest),
    };
    rest_plain && blocks.iter().all(|block| all_plain(block))
}

#[inline(always)]
fn all_plain(text: &[u8]) -> bool {
    // Without a way out before the end, and on bytes, not on `bool`s: so that it becomes a few
    // vector instructions where the length is known.
    text.iter().fold(0, |odd, byte| odd | u8::from(is_odd(*byte))) == 0
}

const fn is_odd(byte: u8) -> bool {
    (byte < b' ') | (byte >= 0x7f) | (byte == b'"') | (byte == b'\\')
}

fn push(character: char, out: &mut Vec<u8>) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        control if control.is_control() => {
            // A Vec takes everything: there is no error to hand on.
            let _always_ok = write!(out, "\\u{:04x}", u32::from(control));
        }
        other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{escape, is_plain};

    fn escaped(text: &[u8]) -> String {
        let mut out = Vec::new();
        escape(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn control_characters_and_quotes_are_escaped() {
        for (text, expected) in [
            (&b"plain /path?x=1"[..], "plain /path?x=1"),
            (b"", ""),
            (b"a\"b\\c", r#"a\"b\\c"#),
            (b"1\r\n2\t3", r"1\r\n2\t3"),
            (b"\x1b[31mred\x7f\x00", r"\u001b[31mred\u007f\u0000"),
            ("C1 \u{9b}31m".as_bytes(), r"C1 \u009b31m"),
            ("grüß 🦀".as_bytes(), "grüß 🦀"),
            (b"cut \xf0\x9f\xa6", "cut \u{fffd}"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn a_byte_that_is_not_plain_is_found_wherever_it_is() {
        for length in [1, 15, 31, 32, 33, 63, 64, 65, 100] {
            let plain = vec![b'~'; length];
            assert!(is_plain(&plain));
            for at in 0..length {
                for odd in [0, 0x1f, b'"', b'\\', 0x7f, 0x80, 0xff] {
                    let mut text = plain.clone();
                    text[at] = odd;
                    assert!(!is_plain(&text), "{odd:#x} at {at} of {length}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_json_string_that_reads_back(text: Vec<u8>) {
            let json = format!("\"{}\"", escaped(&text));
            prop_assert!(!json.contains(char::is_control));
            let back: String = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(back, String::from_utf8_lossy(&text));
        }
    }
}
