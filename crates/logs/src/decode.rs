//! From the bytes of a line to text.

use std::borrow::Cow;

use encoding_rs::{UTF_16BE, UTF_16LE, WINDOWS_1252};
use memchr::memchr;
use pillion_model::logs::Encoding;

/// A line as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The text; borrowed where the bytes are UTF-8 already.
    pub text: Cow<'a, str>,
    /// Bytes that are no text in this encoding were replaced by U+FFFD.
    pub repaired: bool,
    /// How many NUL characters were left out.
    pub nuls: usize,
}

/// Reads the bytes of one line. A byte order mark in front of it and NUL characters are left out.
#[must_use]
pub fn decode(bytes: &[u8], encoding: Encoding) -> Decoded<'_> {
    let (text, repaired) = match encoding {
        Encoding::Utf8 => utf8(bytes),
        Encoding::Utf16Le => UTF_16LE.decode_without_bom_handling(bytes),
        Encoding::Utf16Be => UTF_16BE.decode_without_bom_handling(bytes),
        Encoding::Latin1 => WINDOWS_1252.decode_without_bom_handling(bytes),
    };
    let text = without_mark(text);
    if memchr(0, text.as_bytes()).is_none() {
        return Decoded { text, repaired, nuls: 0 };
    }
    let kept = text.replace('\0', "");
    Decoded { nuls: text.len() - kept.len(), text: Cow::Owned(kept), repaired }
}

fn utf8(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), false),
        Err(_) => (String::from_utf8_lossy(bytes), true),
    }
}

fn without_mark(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Cow::Owned(text) => match text.strip_prefix('\u{feff}') {
            Some(after) => Cow::Owned(after.to_owned()),
            None => Cow::Owned(text),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_encoding_becomes_text() {
        let cases: [(Encoding, &[u8], &str, bool, usize); 13] = [
            (Encoding::Utf8, b"plain", "plain", false, 0),
            (Encoding::Utf8, "gr\u{fc}n €".as_bytes(), "gr\u{fc}n €", false, 0),
            (Encoding::Utf8, b"a\xffb", "a\u{fffd}b", true, 0),
            (Encoding::Utf8, b"a\xe2\x82", "a\u{fffd}", true, 0),
            (Encoding::Utf8, b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}", true, 0),
            (Encoding::Utf8, b"\xef\xbb\xbfmark", "mark", false, 0),
            (Encoding::Utf8, b"a\0\0b", "ab", false, 2),
            (Encoding::Latin1, b"gr\xfcn \x80", "gr\u{fc}n €", false, 0),
            (Encoding::Utf16Le, b"\xff\xfea\0\xfc\0", "a\u{fc}", false, 0),
            (Encoding::Utf16Be, b"\xfe\xff\0a\0\xfc", "a\u{fc}", false, 0),
            (Encoding::Utf16Le, b"\x3d\xd8\x00\xde", "😀", false, 0),
            (Encoding::Utf16Le, b"\x3d\xd8a\0", "\u{fffd}a", true, 0),
            (Encoding::Utf16Le, b"a\0b", "a\u{fffd}", true, 0),
        ];
        for (encoding, bytes, text, repaired, nuls) in cases {
            let expected = Decoded { text: text.into(), repaired, nuls };
            assert_eq!(decode(bytes, encoding), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn text_that_is_utf_8_already_is_not_copied() {
        for bytes in [b"plain".as_slice(), "€".as_bytes(), b"\xef\xbb\xbfmark"] {
            assert!(matches!(decode(bytes, Encoding::Utf8).text, Cow::Borrowed(_)));
        }
        assert!(matches!(decode(b"plain", Encoding::Latin1).text, Cow::Borrowed(_)));
    }
}
