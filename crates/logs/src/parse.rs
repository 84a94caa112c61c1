//! From the text of a line to the parts of a record, by the formats that its source declares.

pub mod clf;
pub mod cri;
pub mod docker;
mod fields;
pub mod json;
pub mod logfmt;
pub mod nginx_error;
pub mod regex;
pub mod severity;
pub mod syslog;
pub mod time;

pub use fields::MAX_ATTRIBUTES;

use std::borrow::Cow;

use pillion_model::logs::{Format, Source};

use self::regex::Pattern;
use crate::record::{Attributes, Record, Severity, Stream, UnixNanos, Value};

/// A line does not follow its format; which rule it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unparsed(pub &'static str);

/// What a container runtime wrote: a line of the app, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// When the runtime read it.
    pub time: Option<UnixNanos>,
    /// Which output of the app it was written to.
    pub stream: Option<Stream>,
    /// More of the same line follows.
    pub partial: bool,
    /// What the app wrote, without the end of the line.
    pub text: Cow<'a, str>,
}

/// The formats of one source that say what is in a record. Those of container runtimes are read
/// before lines are joined, by [`crate::assemble`].
#[derive(Debug)]
pub struct Parser(Vec<Content>);

#[derive(Debug)]
enum Content {
    Json,
    Logfmt,
    Syslog,
    Clf,
    NginxError,
    Regex(Pattern),
}

impl Parser {
    /// Prepares the formats of a source.
    ///
    /// # Errors
    /// An expression is none, or is too large.
    pub fn new(source: &Source) -> Result<Self, ::regex::Error> {
        let contents = source.parse.iter().filter_map(|format| Content::new(format).transpose());
        Ok(Self(contents.collect::<Result<_, _>>()?))
    }

    /// Reads a text into a record whose other fields are filled already: the text becomes its body,
    /// and each format is applied to the body that the one before it left. The first that does not
    /// fit marks the record, and ends it. `record.observed` decides what a time leaves out.
    pub fn parse<'a>(&'a self, text: &'a str, record: &mut Record<'a>) {
        record.body = Value::Text(Cow::Borrowed(text));
        for content in &self.0 {
            if content.parse_body(record).is_err() {
                record.marks.unparsed = true;
                return;
            }
        }
    }
}

impl Content {
    fn new(format: &Format) -> Result<Option<Self>, ::regex::Error> {
        Ok(Some(match format {
            Format::Cri | Format::Docker => return Ok(None),
            Format::Json => Self::Json,
            Format::Logfmt => Self::Logfmt,
            Format::Syslog => Self::Syslog,
            Format::Clf => Self::Clf,
            Format::NginxError => Self::NginxError,
            Format::Regex { pattern, time } => Self::Regex(Pattern::new(pattern, time.clone())?),
        }))
    }

    fn parse_body<'a>(&'a self, record: &mut Record<'a>) -> Result<(), Unparsed> {
        if let Value::Text(Cow::Borrowed(text)) = record.body {
            return self.parse(text, record);
        }
        let text = record.body.text().into_owned();
        let mut inner = Record { observed: record.observed, ..Record::default() };
        self.parse(&text, &mut inner)?;
        take_over(record, inner);
        Ok(())
    }

    fn parse<'a>(&'a self, text: &'a str, record: &mut Record<'a>) -> Result<(), Unparsed> {
        match self {
            Self::Json => json::parse(text, record),
            Self::Logfmt => logfmt::parse(text, record),
            Self::Syslog => syslog::parse(text, record),
            Self::Clf => clf::parse(text, record),
            Self::NginxError => nginx_error::parse(text, record),
            Self::Regex(pattern) => pattern.parse(text, record),
        }
    }
}

/// Moves what was read from a text that does not live as long as the record.
fn take_over(record: &mut Record<'_>, inner: Record<'_>) {
    record.body = owned(inner.body);
    record.time = inner.time.or(record.time);
    record.trace = inner.trace.or(record.trace);
    record.marks.repaired |= inner.marks.repaired;
    if inner.severity.number > 0 {
        let text = inner.severity.text.map(|text| Cow::Owned(text.into_owned()));
        record.severity = Severity { number: inner.severity.number, text };
    }
    let attributes = inner.attributes.into_iter();
    let attributes: Attributes<'_> =
        attributes.map(|(name, value)| (Cow::Owned(name.into_owned()), owned(value))).collect();
    record.attributes.extend(attributes);
}

fn owned(value: Value<'_>) -> Value<'static> {
    match value {
        Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
        Value::Json(written) => Value::Json(Cow::Owned(written.into_owned())),
    }
}

/// Adds an attribute.
fn push<'a>(record: &mut Record<'a>, name: &'a str, value: &'a str) {
    record.attributes.push((Cow::Borrowed(name), Value::Text(Cow::Borrowed(value))));
}

/// Adds an attribute whose value is a number, as it was written: without zeros in front.
fn push_number<'a>(record: &mut Record<'a>, name: &'a str, value: &'a str) {
    record.attributes.push((Cow::Borrowed(name), Value::Json(Cow::Borrowed(value))));
}

/// Whether it is a whole number as JSON writes it.
fn is_number(text: &str) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (text.len() == 1 || !text.starts_with('0'))
}

#[cfg(test)]
pub(crate) mod tests;
