//! The character classes and small grammars of RFC 9110, RFC 9112 and RFC 3986.

use std::net::Ipv6Addr;

const TOKEN: u8 = 1;
const TEXT: u8 = 2;
const HOST: u8 = 4;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = class(byte as u8);
        byte += 1;
    }
    classes
}

const fn class(byte: u8) -> u8 {
    let text = if matches!(byte, b'\t' | b' '..=b'~' | 0x80..) { TEXT } else { 0 };
    let alphanumeric = byte.is_ascii_alphanumeric();
    let token = alphanumeric
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
    // Of RFC 3986 reg-name, without the comma (it would read as a list) and without percent
    // encoding (readers differ in whether they decode it).
    let host = alphanumeric
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b'+' | b';' | b'=');
    text | if token { TOKEN } else { 0 } | if host { HOST } else { 0 }
}

/// `tchar`, RFC 9110 §5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & TOKEN != 0
}

/// What a field value may hold: HTAB, SP, VCHAR, obs-text (RFC 9110 §5.5).
pub(crate) fn is_text_byte(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & TEXT != 0
}

/// `token`, RFC 9110 §5.6.2: not empty.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

/// Removes optional white space, RFC 9110 §5.6.3: SP and HTAB only.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(start) = text.iter().position(|byte| !blank(byte)) else { return &[] };
    let end = text.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

/// The elements of a comma-separated list, trimmed, the empty ones left out (RFC 9110 §5.6.1).
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// Whether `text` is `uri-host [ ":" [ port ] ]` with a host, and how its port reads.
///
/// Stricter than RFC 3986 §3.2: no user information, no percent encoding, no comma, a port of at
/// most 65535, and a bracketed host has to be an IPv6 address without a zone.
pub(crate) fn authority(text: &[u8]) -> Option<Port> {
    let (host_is_good, rest) = match text.split_first()? {
        (b'[', inner) => {
            let close = memchr::memchr(b']', inner)?;
            let (address, rest) = inner.split_at_checked(close)?;
            (is_ipv6(address), rest.get(1..)?)
        }
        _ => {
            let (host, rest) = text.split_at(host_len(text));
            (!host.is_empty(), rest)
        }
    };
    match rest.split_first() {
        _ if !host_is_good => None,
        None => Some(Port::Absent),
        Some((b':', [])) => Some(Port::Empty),
        Some((b':', digits)) => is_port(digits).then_some(Port::Given),
        Some(_) => None,
    }
}

/// How the port of an authority reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// No colon after the host.
    Absent,
    /// A colon with nothing behind it.
    Empty,
    /// A number.
    Given,
}

fn host_len(text: &[u8]) -> usize {
    text.iter().take_while(|&&byte| CLASSES[usize::from(byte)] & HOST != 0).count()
}

fn is_ipv6(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

fn is_port(digits: &[u8]) -> bool {
    digits.len() <= 5 && number(digits).is_some_and(|port| port <= u64::from(u16::MAX))
}

/// A decimal number of 1 to 19 digits: no sign, no space. 19 digits always fit.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_bytes_are_those_of_the_rfc() {
        for byte in 0..=255u8 {
            let expected = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_token_byte(byte), expected, "{byte:#x}");
        }
    }

    #[test]
    fn host_bytes_exclude_whatever_could_end_or_list_a_host() {
        for byte in 0..=255u8 {
            let expected = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&byte);
            assert_eq!(host_len(&[byte]) == 1, expected, "{byte:#x}");
        }
    }

    #[test]
    fn authorities_are_accepted_only_when_they_read_one_way() {
        let cases: [(&str, Option<Port>); 25] = [
            ("a", Some(Port::Absent)),
            ("my_service.local", Some(Port::Absent)),
            ("a:", Some(Port::Empty)),
            ("a:80", Some(Port::Given)),
            ("a:65535", Some(Port::Given)),
            ("[::1]", Some(Port::Absent)),
            ("[::1]:8080", Some(Port::Given)),
            ("[::ffff:10.0.0.1]:1", Some(Port::Given)),
            ("", None),
            (":80", None),
            ("a:65536", None),
            ("a:000080", None),
            ("a:+80", None),
            ("a:80:80", None),
            ("a b", None),
            ("a,b", None),
            ("a/b", None),
            ("a?b", None),
            ("user@a", None),
            ("a%2fb", None),
            ("a\\b", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[fe80::1%25eth0]", None),
            ("[v1.x]", None),
        ];
        for (text, expected) in cases {
            assert_eq!(authority(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_have_one_to_nineteen_digits_and_nothing_else() {
        let cases: [(&str, Option<u64>); 9] = [
            ("0", Some(0)),
            ("007", Some(7)),
            ("9999999999999999999", Some(9_999_999_999_999_999_999)),
            ("", None),
            ("00000000000000000001", None),
            ("+1", None),
            ("-1", None),
            ("1 ", None),
            ("0x1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(number(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn lists_leave_out_blank_elements() {
        let elements: Vec<&[u8]> = list(b" a ,, \t,b\t, ").collect();
        assert_eq!(elements, [&b"a"[..], b"b"]);
    }
}
