//! One log record, borrowed from the bytes that were read: the OpenTelemetry log data model.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::parse::json;

/// Nanoseconds since the start of 1970, UTC.
pub type UnixNanos = i64;

/// One log record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record<'a> {
    /// The same for the same bytes of the same file, however often they are read.
    pub id: u128,
    /// When it was read.
    pub observed: UnixNanos,
    /// When it happened, where the record says so.
    pub time: Option<UnixNanos>,
    /// How much it matters.
    pub severity: Severity<'a>,
    /// The message.
    pub body: Value<'a>,
    /// Everything else that the line says, in its order.
    pub attributes: Attributes<'a>,
    /// The trace that it belongs to.
    pub trace: Option<Trace>,
    /// Which output of a program it was written to.
    pub stream: Option<Stream>,
    /// What was done to it.
    pub marks: Marks,
}

/// Names and values. A name may stand twice; the last one counts.
pub type Attributes<'a> = SmallVec<[(Cow<'a, str>, Value<'a>); 16]>;

/// A value, in the form in which it was found, so that what is only passed on is never rewritten.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Text, as it is.
    Text(Cow<'a, str>),
    /// A JSON value, as it was written: a string in its quotes, a number, an object. It is valid.
    Json(Cow<'a, str>),
}

impl Default for Value<'_> {
    fn default() -> Self {
        Self::Text(Cow::Borrowed(""))
    }
}

impl<'a> Value<'a> {
    /// What it says: a JSON string without quotes and escapes, everything else as it was written.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Json(written) => json::text(written),
        }
    }

    /// As [`Value::text`], for as long as the value lives.
    #[must_use]
    pub fn into_text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text,
            Self::Json(Cow::Borrowed(written)) => json::text(written),
            Self::Json(Cow::Owned(written)) => Cow::Owned(json::text(&written).into_owned()),
        }
    }
}

/// How much a record matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Severity<'a> {
    /// 1 (TRACE) to 24 (FATAL4) of the OpenTelemetry log data model; 0: not known.
    pub number: u8,
    /// The word that the record itself uses.
    pub text: Option<Cow<'a, str>>,
}

/// The trace that a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// 16 bytes.
    pub trace: u128,
    /// 8 bytes; 0: not known.
    pub span: u64,
    /// How that is known.
    pub origin: TraceOrigin,
}

/// How the trace of a record is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceOrigin {
    /// The record says so.
    Record,
    /// It was the only request that the app was serving while it wrote the record.
    OnlyRequest,
}

/// Which output of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What was done to a record on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// It was longer than the limit, and cut.
    pub truncated: bool,
    /// It does not follow the declared format, and is kept as it was.
    pub unparsed: bool,
    /// Bytes that are no text were replaced.
    pub repaired: bool,
    /// Something in it was made unreadable.
    pub redacted: bool,
}
