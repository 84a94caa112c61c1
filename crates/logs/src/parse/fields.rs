//! The members of a record that names its parts: what they mean, and which of several counts.

use std::borrow::Cow;

use memchr::memchr;

use super::{Unparsed, json, severity, time};
use crate::record::{Record, Severity, Trace, TraceOrigin, UnixNanos, Value};

/// The most attributes that one line may have.
pub const MAX_ATTRIBUTES: usize = 256;

/// Gathers names and values, and puts each where it belongs in the record. Nothing but attributes
/// is changed before [`Fields::finish`]; without it, they are taken back.
pub(super) struct Fields<'r, 'a> {
    record: &'r mut Record<'a>,
    /// How many attributes there were before.
    first: usize,
    /// A bit for each attribute, by [`bit`].
    seen: u64,
    message: Option<Taken<'a, ()>>,
    time: Option<Taken<'a, UnixNanos>>,
    severity: Option<Taken<'a, u8>>,
    trace: Option<Taken<'a, u128>>,
    span: Option<Taken<'a, u64>>,
    parent: Option<Taken<'a, (u128, u64)>>,
    finished: bool,
}

/// A member that has a meaning of its own.
struct Taken<'a, T> {
    /// Lower counts more; each name has its own.
    rank: u8,
    name: Cow<'a, str>,
    value: Value<'a>,
    meaning: T,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Message,
    Time,
    Severity,
    Trace,
    Span,
    Parent,
}

/// What a name means, and its rank among those that mean the same.
fn meaning(name: &str) -> Option<(Meaning, u8)> {
    Some(match name {
        "message" => (Meaning::Message, 0),
        "msg" => (Meaning::Message, 1),
        "log" => (Meaning::Message, 2),
        "body" => (Meaning::Message, 3),
        "event" => (Meaning::Message, 4),
        "time" => (Meaning::Time, 0),
        "timestamp" => (Meaning::Time, 1),
        "@timestamp" => (Meaning::Time, 2),
        "ts" => (Meaning::Time, 3),
        "t" => (Meaning::Time, 4),
        "severity" => (Meaning::Severity, 0),
        "level" => (Meaning::Severity, 1),
        "log.level" => (Meaning::Severity, 2),
        "lvl" => (Meaning::Severity, 3),
        "loglevel" => (Meaning::Severity, 4),
        "trace_id" => (Meaning::Trace, 0),
        "traceId" => (Meaning::Trace, 1),
        "trace.id" => (Meaning::Trace, 2),
        "traceid" => (Meaning::Trace, 3),
        "TraceId" => (Meaning::Trace, 4),
        "span_id" => (Meaning::Span, 0),
        "spanId" => (Meaning::Span, 1),
        "span.id" => (Meaning::Span, 2),
        "spanid" => (Meaning::Span, 3),
        "SpanId" => (Meaning::Span, 4),
        "traceparent" => (Meaning::Parent, 0),
        _ => return None,
    })
}

impl<'r, 'a> Fields<'r, 'a> {
    pub(super) fn new(record: &'r mut Record<'a>) -> Self {
        Self {
            first: record.attributes.len(),
            record,
            seen: 0,
            message: None,
            time: None,
            severity: None,
            trace: None,
            span: None,
            parent: None,
            finished: false,
        }
    }

    /// The next member. What has a meaning by its name but not by its value is an attribute, and so
    /// is all but one of those that mean the same.
    pub(super) fn add(&mut self, name: Cow<'a, str>, value: Value<'a>) -> Result<(), Unparsed> {
        let Some((meaning, rank)) = meaning(&name) else { return self.attribute(name, value) };
        let other = match meaning {
            Meaning::Message => offer(&mut self.message, rank, name, value, is_text),
            Meaning::Time => offer(&mut self.time, rank, name, value, read_time),
            Meaning::Severity => offer(&mut self.severity, rank, name, value, read_severity),
            Meaning::Trace => {
                offer(&mut self.trace, rank, name, value, |value| trace(&value.text()))
            }
            Meaning::Span => offer(&mut self.span, rank, name, value, |value| span(&value.text())),
            Meaning::Parent => {
                offer(&mut self.parent, rank, name, value, |value| parent(&value.text()))
            }
        };
        other.map_or(Ok(()), |(name, value)| self.attribute(name, value))
    }

    /// Of several attributes with one name the last counts, at the place of the first, as readers
    /// of JSON have it.
    fn attribute(&mut self, name: Cow<'a, str>, value: Value<'a>) -> Result<(), Unparsed> {
        let bit = bit(&name);
        let own = self.record.attributes.get_mut(self.first..).unwrap_or_default();
        if self.seen & bit != 0
            && let Some((_, held)) = own.iter_mut().find(|(held, _)| *held == name)
        {
            *held = value;
            return Ok(());
        }
        if own.len() >= MAX_ATTRIBUTES {
            return Err(Unparsed("it has more attributes than a record may have"));
        }
        self.seen |= bit;
        self.record.attributes.push((name, value));
        Ok(())
    }

    /// All members are there.
    pub(super) fn finish(mut self) {
        self.record.body = self.message.take().map(|it| plain(it.value)).unwrap_or_default();
        if let Some(time) = self.time.take() {
            self.record.time = Some(time.meaning);
        }
        if let Some(it) = self.severity.take() {
            let text = Some(it.value.into_text());
            self.record.severity = Severity { number: it.meaning, text };
        }
        self.finish_trace();
        self.finished = true;
    }

    fn finish_trace(&mut self) {
        let (trace, span, parent) = (self.trace.take(), self.span.take(), self.parent.take());
        let origin = TraceOrigin::Record;
        let left = match (trace, span, parent) {
            (Some(trace), span, parent) => {
                let span = span.map_or(0, |span| span.meaning);
                self.record.trace = Some(Trace { trace: trace.meaning, span, origin });
                [None, parent.map(Taken::into_member)]
            }
            (None, span, Some(parent)) => {
                let (trace, by_parent) = parent.meaning;
                self.record.trace = Some(Trace { trace, span: by_parent, origin });
                [span.map(Taken::into_member), None]
            }
            (None, span, None) => [span.map(Taken::into_member), None],
        };
        for (name, value) in left.into_iter().flatten() {
            self.record.attributes.push((name, value));
        }
    }
}

impl Drop for Fields<'_, '_> {
    fn drop(&mut self) {
        if !self.finished {
            self.record.attributes.truncate(self.first);
        }
    }
}

impl<'a, T> Taken<'a, T> {
    fn into_member(self) -> (Cow<'a, str>, Value<'a>) {
        (self.name, self.value)
    }
}

/// Takes a member for its meaning, if it has it and counts more than the one that is held. Gives
/// what becomes an attribute instead.
fn offer<'a, T>(
    held: &mut Option<Taken<'a, T>>,
    rank: u8,
    name: Cow<'a, str>,
    value: Value<'a>,
    read: impl FnOnce(&Value<'a>) -> Option<T>,
) -> Option<(Cow<'a, str>, Value<'a>)> {
    let rank_held = held.as_ref().map_or(u8::MAX, |held| held.rank);
    let Some(meaning) = (rank <= rank_held).then(|| read(&value)).flatten() else {
        return Some((name, value));
    };
    let before = held.replace(Taken { rank, name, value, meaning });
    // The same name again: the last counts.
    before.filter(|_| rank < rank_held).map(Taken::into_member)
}

/// Names of different lengths or ends rarely share a bit.
fn bit(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let [first, last] = [bytes.first(), bytes.last()].map(|byte| u64::from(*byte.unwrap_or(&0)));
    let mixed = (first << 16 | last << 8).wrapping_add(u64::try_from(bytes.len()).unwrap_or(0));
    1 << (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

fn is_text(value: &Value<'_>) -> Option<()> {
    match value {
        Value::Text(_) => Some(()),
        Value::Json(written) => json::quoted(written).map(|_| ()),
    }
}

/// As text where nothing has to be rewritten for it, else as it is.
fn plain(value: Value<'_>) -> Value<'_> {
    match value {
        Value::Json(Cow::Borrowed(written)) => match json::quoted(written) {
            Some(inside) if memchr(b'\\', inside.as_bytes()).is_none() => {
                Value::Text(Cow::Borrowed(inside))
            }
            _ => Value::Json(Cow::Borrowed(written)),
        },
        other => other,
    }
}

fn read_time(value: &Value<'_>) -> Option<UnixNanos> {
    let text = value.text();
    time::timestamp(&text).or_else(|| time::epoch(&text))
}

fn read_severity(value: &Value<'_>) -> Option<u8> {
    let text = value.text();
    severity::by_word(&text).or_else(|| severity::by_level(&text))
}

/// A trace id of W3C Trace Context: 32 hex digits, not all 0.
pub(super) fn trace(text: &str) -> Option<u128> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u128::from_str_radix(text, 16).ok()).flatten().filter(|id| *id != 0)
}

/// A span id: 16 hex digits, not all 0.
pub(super) fn span(text: &str) -> Option<u64> {
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(text, 16).ok()).flatten().filter(|id| *id != 0)
}

/// The value of a `traceparent` header, of version 00 or one that begins alike.
fn parent(text: &str) -> Option<(u128, u64)> {
    let mut parts = text.split('-');
    let version = parts.next().filter(|version| version.len() == 2 && *version != "ff")?;
    let ids = (trace(parts.next()?)?, span(parts.next()?)?);
    let flags = parts.next().filter(|flags| flags.len() == 2)?;
    let hex = version.bytes().chain(flags.bytes()).all(|byte| byte.is_ascii_hexdigit());
    (hex && (version != "00" || parts.next().is_none())).then_some(ids)
}
