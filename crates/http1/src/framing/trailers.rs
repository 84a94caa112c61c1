//! The trailer section of a chunked body, for whoever frames the body anew.

use crate::grammar;

/// The most bytes that a trailer section may have.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// The most fields that a trailer section may have.
pub const TRAILER_FIELDS_MAX: usize = 64;

/// Fields that frame, route, authenticate or describe a message, or that a recipient has to know
/// before the body: not allowed as trailers (RFC 9110 §6.5.1), and dropped when they come as such.
const FORBIDDEN: [&[u8]; 36] = [
    b"age",
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"date",
    b"expect",
    b"expires",
    b"host",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"keep-alive",
    b"location",
    b"max-forwards",
    b"pragma",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"range",
    b"retry-after",
    b"set-cookie",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"vary",
    b"via",
    b"warning",
    b"www-authenticate",
];

/// The trailers of one body, at most [`TRAILER_BYTES_MAX`] bytes and [`TRAILER_FIELDS_MAX`] fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trailers {
    /// The field lines as they came, each with its CR LF.
    text: Vec<u8>,
}

impl Trailers {
    /// Name and value of each trailer that may be passed on, in order. Values are trimmed.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.text.split(|&byte| byte == b'\n').filter_map(|line| {
            let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
            let value = value.strip_prefix(b":")?.strip_suffix(b"\r")?;
            is_allowed(name).then(|| (name, grammar::trim(value)))
        })
    }

    /// Whether there is none that may be passed on.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    pub(crate) fn push(&mut self, byte: u8) {
        self.text.push(byte);
    }
}

fn is_allowed(name: &[u8]) -> bool {
    !FORBIDDEN.iter().any(|forbidden| forbidden.eq_ignore_ascii_case(name))
}
