//! Which protocol a connection speaks, from its first bytes.

use crate::METHOD_BYTES_MAX;
use crate::grammar;

/// The connection preface of HTTP/2, RFC 9113 §3.4.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// So many bytes always decide.
pub const PREFACE_BYTES_MAX: usize = METHOD_BYTES_MAX + 2;

/// Methods after which any target is taken for HTTP/1; after others only a path is, because many
/// text protocols begin with a word and a space too.
const METHODS: [&[u8]; 10] = [
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    b"CONNECT",
    b"OPTIONS",
    b"TRACE",
    b"PATCH",
    b"PROPFIND",
];

/// What the first bytes of a connection amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preface {
    /// The whole HTTP/2 preface.
    Http2,
    /// The beginning of it (also of nothing at all): read more.
    MaybeHttp2,
    /// A method and the start of a target: parse it as HTTP/1.
    Http1,
    /// The beginning of that: read more.
    MaybeHttp1,
    /// Another protocol.
    NotHttp,
}

/// Tells which protocol `start`, the first bytes of a connection, belongs to. Decides within
/// [`PREFACE_BYTES_MAX`] bytes.
pub fn is_preface(start: &[u8]) -> Preface {
    if start.starts_with(HTTP2) {
        return Preface::Http2;
    }
    if HTTP2.starts_with(start) {
        return Preface::MaybeHttp2;
    }
    let method_len = start.iter().take_while(|&&byte| grammar::is_token_byte(byte)).count();
    if method_len > METHOD_BYTES_MAX {
        return Preface::NotHttp;
    }
    match start.split_at(method_len) {
        (_, []) => Preface::MaybeHttp1,
        ([], _) => Preface::NotHttp,
        (method, [b' ', ..]) if METHODS.contains(&method) => Preface::Http1,
        (_, [b' ']) => Preface::MaybeHttp1,
        (_, [b' ', b'/', ..]) => Preface::Http1,
        _ => Preface::NotHttp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_protocol() {
        let cases: [(&[u8], Preface); 24] = [
            (b"", Preface::MaybeHttp2),
            (b"P", Preface::MaybeHttp2),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", Preface::MaybeHttp2),
            (HTTP2, Preface::Http2),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", Preface::Http2),
            (b"PO", Preface::MaybeHttp1),
            (b"GET", Preface::MaybeHttp1),
            (b"GET ", Preface::Http1),
            (b"GET / HTTP/1.1\r\n", Preface::Http1),
            (b"CONNECT a:1", Preface::Http1),
            (b"OPTIONS *", Preface::Http1),
            (b"PURGE /x", Preface::Http1),
            (b"PURGE ", Preface::MaybeHttp1),
            (b"PRIX /", Preface::Http1),
            (b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF", Preface::MaybeHttp1),
            (b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG", Preface::NotHttp),
            (b"\x16\x03\x01", Preface::NotHttp),
            (b"*1\r\n$4\r\nPING\r\n", Preface::NotHttp),
            (b"EHLO mail", Preface::NotHttp),
            (b"SSH-2.0-OpenSSH_9.2p1 Debian", Preface::NotHttp),
            (b" GET /", Preface::NotHttp),
            (b"\r\nGET /", Preface::NotHttp),
            (b"\n", Preface::NotHttp),
            (b"GET\t/", Preface::NotHttp),
        ];
        for (start, expected) in cases {
            assert_eq!(is_preface(start), expected, "{:?}", start.escape_ascii().to_string());
        }
    }

    #[test]
    fn no_undecided_start_is_longer_than_the_bound() {
        let undecided = |preface| matches!(preface, Preface::MaybeHttp1 | Preface::MaybeHttp2);
        let longest = [b"A".repeat(METHOD_BYTES_MAX), b" ".to_vec()].concat();
        assert!(undecided(is_preface(&longest)));
        for byte in 0..=255u8 {
            let start = [&longest[..], &[byte]].concat();
            assert_eq!(start.len(), PREFACE_BYTES_MAX);
            assert!(!undecided(is_preface(&start)), "{byte:#x}");
        }
    }
}
