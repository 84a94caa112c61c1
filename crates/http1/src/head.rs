//! What request heads and response heads have in common: limits, storage, errors, line ends.

pub(crate) mod hop;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod target;

use std::fmt;
use std::mem::MaybeUninit;

use crate::Field;

/// The most fields that one head can have, whatever the configuration says.
pub const FIELDS_MAX: usize = 128;

/// Bounds on one head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes from the first of the start line to the end of the empty line.
    pub head_bytes: usize,
    /// Field lines; what exceeds [`FIELDS_MAX`] counts as [`FIELDS_MAX`].
    pub head_fields: usize,
}

impl Limits {
    /// The part of `buf` that a head may lie in, so that the work is bounded as well.
    fn window<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        buf.get(..self.head_bytes).unwrap_or(buf)
    }

    /// What an unfinished head means: wait for more, or give up.
    fn partial<T>(&self, window: &[u8]) -> Result<Parsed<T>, HeadError> {
        if window.len() >= self.head_bytes { Err(HeadError::TooLarge) } else { Ok(Parsed::Partial) }
    }
}

/// Room on the stack for the fields of one head, 4 KiB that are not initialised.
pub struct Fields<'b>([MaybeUninit<Field<'b>>; FIELDS_MAX]);

impl<'b> Fields<'b> {
    /// Room for [`FIELDS_MAX`] fields.
    pub const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; FIELDS_MAX])
    }

    fn room(&mut self, limits: &Limits) -> &mut [MaybeUninit<Field<'b>>] {
        let len = limits.head_fields.min(FIELDS_MAX);
        self.0.get_mut(..len).unwrap_or_default()
    }
}

impl Default for Fields<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// The version in a start line. Every other one is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0, RFC 1945.
    Http10,
    /// HTTP/1.1, RFC 9112.
    Http11,
}

impl Version {
    fn from_minor(minor: u8) -> Self {
        if minor == 0 { Self::Http10 } else { Self::Http11 }
    }
}

/// What the bytes so far amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// A whole head.
    Complete(T),
    /// The beginning of a head: read more, then parse again from the start.
    Partial,
}

/// Why a head is refused. After it nothing on the connection can be trusted: answer and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// It breaks a rule, or could be read in two ways (400, or 502 for a response). Holds the
    /// rule, one phrase for logs.
    Malformed(&'static str),
    /// More than [`Limits::head_bytes`] (431, or 502 for a response).
    TooLarge,
    /// More than [`Limits::head_fields`] (431, or 502 for a response).
    TooManyFields,
    /// It is clear, but needs what is not supported (501, or 502 for a response). Holds what.
    Unsupported(&'static str),
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(rule) => write!(f, "malformed head: {rule}"),
            Self::TooLarge => f.write_str("the head has more bytes than the limit"),
            Self::TooManyFields => f.write_str("the head has more fields than the limit"),
            Self::Unsupported(what) => write!(f, "not supported: {what}"),
        }
    }
}

impl std::error::Error for HeadError {}

impl From<httparse::Error> for HeadError {
    fn from(error: httparse::Error) -> Self {
        use httparse::Error;
        match error {
            Error::TooManyHeaders => Self::TooManyFields,
            Error::HeaderName => Self::Malformed("a field name may only hold token characters"),
            Error::HeaderValue => Self::Malformed("a field value holds a control character"),
            Error::NewLine => Self::Malformed("a line has to end in CR LF"),
            Error::Status => Self::Malformed("the status line is not VERSION SP STATUS SP REASON"),
            Error::Token => Self::Malformed("the request line is not METHOD SP TARGET SP VERSION"),
            Error::Version => Self::Malformed("the version has to be HTTP/1.0 or HTTP/1.1"),
        }
    }
}

/// Where the line of the field at `position` starts in `head`; for the position after the last
/// field, where the empty line starts.
pub(crate) fn line_start(head: &[u8], fields: &[Field<'_>], position: usize) -> usize {
    match fields.get(position) {
        Some(field) => (field.name.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize),
        None => head.len().saturating_sub(2),
    }
}

/// Refuses a bare LF, which httparse takes for the end of a line. Each line starts where the one
/// before it ends, so two bytes before each start are looked at instead of the whole head. That
/// covers the empty line as well: were it a bare LF, the line before it would not end where two
/// bytes for an empty line begin.
fn check_line_ends(head: &[u8], fields: &[Field<'_>]) -> Result<(), HeadError> {
    let starts_after_crlf = |position| {
        let before = head.get(..line_start(head, fields, position));
        before.is_some_and(|before| before.ends_with(b"\r\n"))
    };
    if (0..=fields.len()).all(starts_after_crlf) {
        Ok(())
    } else {
        Err(HeadError::Malformed("a line has to end in CR LF"))
    }
}
