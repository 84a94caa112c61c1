//! Text that a stranger may have chosen, made safe for a line of a log: always UTF-8, never a
//! control character.

use std::io::Write as _;

/// Appends `text` as the inside of a JSON string (RFC 8259 §7). Bytes that are no UTF-8 become
/// U+FFFD. Beside what JSON asks for, DEL and the C1 controls are escaped too, for terminals act on
/// them.
pub(crate) fn escape(text: &[u8], out: &mut Vec<u8>) {
    // Without a branch in the loop, so that it is done 16 bytes at a time; nearly all text is so.
    if text.iter().fold(true, |plain, byte| plain & is_plain(*byte)) {
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

const fn is_plain(byte: u8) -> bool {
    (byte >= b' ') & (byte < 0x7f) & (byte != b'"') & (byte != b'\\')
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

    use super::escape;

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
