//! The forms that a secret takes when a program prints it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use zeroize::Zeroizing;

/// A form; overwritten when it is dropped.
pub(super) type Form = Zeroizing<Vec<u8>>;

/// A shorter secret is a word that may stand anywhere, and is left.
pub(super) const SHORTEST: usize = 4;
/// Shorter ones are not looked for in base64, and shorter lines not on their own.
const SHORTEST_PART: usize = 8;
/// The most bytes that one becomes: `\\u0000` in JSON that stands in JSON.
const LONGEST_ESCAPE: usize = 12;

/// Appends the forms of a secret, without white space around it: those who print one mostly leave
/// that out. Returns whether it is long enough to be looked for.
pub(super) fn add(secret: &[u8], forms: &mut Vec<Form>) -> bool {
    let secret = secret.trim_ascii();
    if secret.len() < SHORTEST {
        return false;
    }
    forms.push(Zeroizing::new(secret.to_vec()));
    let text = Zeroizing::new(String::from_utf8_lossy(secret).into_owned());
    if text.as_bytes() != secret {
        // What its bytes become when the line that has them is made text.
        forms.push(Zeroizing::new(text.as_bytes().to_vec()));
    }
    add_json(&text, forms);
    for leave in URL_FORMS {
        forms.push(url(secret, leave));
    }
    if secret.len() >= SHORTEST_PART {
        add_base64(secret, forms);
        add_lines(&text, forms);
    }
    true
}

/// Each line of its own: programs print keys line by line, and lines are looked at one by one.
fn add_lines(text: &str, forms: &mut Vec<Form>) {
    let lines = text.lines().map(str::trim);
    if text.lines().nth(1).is_none() {
        return;
    }
    // The dashes of PEM (RFC 7468) stand in every certificate, and tell nothing.
    for line in lines.filter(|line| line.len() >= SHORTEST_PART && !line.starts_with("-----")) {
        forms.push(Zeroizing::new(line.as_bytes().to_vec()));
        add_json(line, forms);
    }
}

/// As the inside of a JSON string: as short as allowed; with what is special in HTML or all that is
/// not ASCII as `\u`; with `\/`; and in JSON that stands in a JSON string.
fn add_json(text: &str, forms: &mut Vec<Form>) {
    let plain = json(text, |_| false);
    forms.push(as_form(&json(&plain, |_| false)));
    forms.push(as_form(&json(text, |character| matches!(character, '<' | '>' | '&' | '\''))));
    forms.push(as_form(&json(text, |character| matches!(character, '<' | '>' | '&'))));
    forms.push(as_form(&json(text, |character| !character.is_ascii())));
    if plain.contains('/') {
        let mut slashes = Zeroizing::new(String::with_capacity(2 * plain.len()));
        for character in plain.chars() {
            slashes.push_str(if character == '/' { "\\" } else { "" });
            slashes.push(character);
        }
        forms.push(as_form(&slashes));
    }
    forms.push(as_form(&plain));
}

fn as_form(text: &str) -> Form {
    Zeroizing::new(text.as_bytes().to_vec())
}

fn json(text: &str, escaped: impl Fn(char) -> bool) -> Zeroizing<String> {
    // Large enough from the start: growing would leave copies behind.
    let mut out = Zeroizing::new(String::with_capacity(text.len() * LONGEST_ESCAPE));
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            other if other < ' ' || escaped(other) => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    // A String takes everything.
                    let _always_ok = write!(out, "\\u{unit:04x}");
                }
            }
            other => out.push(other),
        }
    }
    out
}

/// What an encoder of URLs leaves as it is beside letters, digits and `-._`, and its hexadecimal
/// digits.
struct UrlForm {
    left: &'static [u8],
    plus_is_space: bool,
    lower: bool,
}

/// RFC 3986 in capitals and small letters; JavaScript's `encodeURIComponent`; HTML forms; paths.
const URL_FORMS: [&UrlForm; 5] = [
    &UrlForm { left: b"~", plus_is_space: false, lower: false },
    &UrlForm { left: b"~", plus_is_space: false, lower: true },
    &UrlForm { left: b"~!'()*", plus_is_space: false, lower: false },
    &UrlForm { left: b"*", plus_is_space: true, lower: false },
    &UrlForm { left: b"~/", plus_is_space: false, lower: false },
];

fn url(secret: &[u8], form: &UrlForm) -> Form {
    let digits: &[u8; 16] = if form.lower { b"0123456789abcdef" } else { b"0123456789ABCDEF" };
    let digit = |nibble: u8| digits.get(usize::from(nibble)).copied().unwrap_or(b'0');
    let mut out = Zeroizing::new(Vec::with_capacity(secret.len() * 3));
    for byte in secret {
        match *byte {
            b' ' if form.plus_is_space => out.push(b'+'),
            byte if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) => out.push(byte),
            byte if form.left.contains(&byte) => out.push(byte),
            byte => out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0xf)]),
        }
    }
    out
}

/// In base64, after 0, 1 or 2 other bytes, without the characters that those before and after have
/// a part in.
fn add_base64(secret: &[u8], forms: &mut Vec<Form>) {
    for alphabet in [&alphabet::STANDARD, &alphabet::URL_SAFE] {
        let engine = GeneralPurpose::new(alphabet, NO_PAD);
        for before in 0..3 {
            let mut bytes = Zeroizing::new(vec![0; before + secret.len()]);
            if let Some(place) = bytes.get_mut(before..) {
                place.copy_from_slice(secret);
            }
            let mut out = Zeroizing::new(vec![0; bytes.len().div_ceil(3) * 4]);
            let length = engine.encode_slice(&*bytes, &mut out).unwrap_or(0);
            // A character is 6 bits: of the first `before` bytes the last one may be shared, and so
            // may the last one of all.
            let own = (before * 8).div_ceil(6)..(bytes.len() * 8 / 6).min(length);
            forms.push(Zeroizing::new(out.get(own).unwrap_or_default().to_vec()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    fn forms(secret: &str) -> BTreeSet<String> {
        let mut forms = Vec::new();
        assert!(add(secret.as_bytes(), &mut forms));
        forms.iter().map(|form| String::from_utf8(form.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_secret_is_looked_for_as_programs_write_it() {
        let forms = forms(" p\"ä&s/ w~*\n");
        for expected in [
            "p\"ä&s/ w~*",
            "p\\\"ä&s/ w~*",
            "p\\\\\\\"ä&s/ w~*",
            "p\\\"ä\\u0026s/ w~*",
            "p\\\"\\u00e4&s/ w~*",
            "p\\\"ä&s\\/ w~*",
            "p%22%C3%A4%26s%2F%20w~%2A",
            "p%22%c3%a4%26s%2f%20w~%2a",
            "p%22%C3%A4%26s%2F%20w~*",
            "p%22%C3%A4%26s%2F+w%7E*",
            "p%22%C3%A4%26s/%20w~%2A",
        ] {
            assert!(forms.contains(expected), "{expected} in {forms:?}");
        }
    }

    #[test]
    fn base64_is_found_whatever_stands_around_the_secret() {
        let secret = "s3cr~t??>";
        let forms = forms(secret);
        for before in ["", "a", "ab", "abc", "user:"] {
            for after in ["", "z", "zy"] {
                let whole = format!("{before}{secret}{after}");
                for encoded in [STANDARD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)] {
                    let found = forms.iter().filter(|form| encoded.contains(*form));
                    assert!(found.map(String::len).max() >= Some(11), "{whole}: {encoded}");
                }
            }
        }
    }

    #[test]
    fn lines_of_a_key_are_looked_for_but_not_its_dashes() {
        let forms = forms("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\nshort\n-----END PRIVATE KEY-----\n");
        assert!(forms.contains("MIIEvQIBADAN"));
        assert!(!forms.contains("short"));
        assert!(!forms.contains("-----BEGIN PRIVATE KEY-----"));
    }

    #[test]
    fn a_word_of_three_bytes_is_no_secret() {
        let mut forms = Vec::new();
        assert!(!add(b"abc\n", &mut forms));
        assert!(forms.is_empty());
        assert!(add(b"abcd", &mut forms));
    }
}
