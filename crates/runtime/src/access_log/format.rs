//! One line of the access log as text.

use std::io::Write as _;
use std::net::SocketAddr;

use pillion_model::snapshot::{LogField, LogFormat, LogPart};

use super::batch::Line;
use crate::decimal::{push_number, three_digits};
use crate::escape::escape;
use crate::timestamp::Stamp;

/// Makes lines of a format.
pub(super) struct Formatter {
    format: LogFormat,
    stamp: Stamp,
}

/// One line while it is written.
struct Pen<'a> {
    line: &'a Line<'a>,
    stamp: &'a mut Stamp,
    out: &'a mut Vec<u8>,
}

/// What a field holds in one line.
enum Value<'a> {
    None,
    /// Text that needs no escaping.
    Plain(&'a [u8]),
    /// Text that somebody else chose.
    Foreign(&'a [u8]),
    Number(u64),
    /// Microseconds, written as milliseconds.
    Millis(u64),
    Time(u64),
    Address(SocketAddr),
}

impl Formatter {
    pub(super) fn new(format: LogFormat) -> Self {
        Self { format, stamp: Stamp::default() }
    }

    /// Appends the line with its newline. Whatever the fields hold, it is one line of valid UTF-8.
    pub(super) fn push_line(&mut self, line: &Line<'_>, out: &mut Vec<u8>) {
        let mut pen = Pen { line, stamp: &mut self.stamp, out };
        match &self.format {
            LogFormat::Json => pen.json(),
            LogFormat::Template(parts) => pen.template(parts),
        }
        pen.out.push(b'\n');
    }
}

impl Pen<'_> {
    fn template(&mut self, parts: &[LogPart]) {
        for part in parts {
            match part {
                LogPart::Text(text) => self.out.extend_from_slice(text.as_bytes()),
                LogPart::Field(field) => match value(*field, self.line) {
                    Value::None => self.out.push(b'-'),
                    value => self.bare(&value),
                },
            }
        }
    }

    /// The fields of [`LogField::ALL`] in their order. Written out and inlined, not a loop: so the
    /// compiler knows the length of each key and the kind of each value.
    fn json(&mut self) {
        self.member(br#"{"time":"#, LogField::Time);
        self.member(br#","direction":"#, LogField::Direction);
        self.member(br#","method":"#, LogField::Method);
        self.member(br#","authority":"#, LogField::Authority);
        self.member(br#","path":"#, LogField::Path);
        self.member(br#","protocol":"#, LogField::Protocol);
        self.member(br#","status":"#, LogField::Status);
        self.member(br#","reason":"#, LogField::Reason);
        self.member(br#","route":"#, LogField::Route);
        self.member(br#","upstream":"#, LogField::Upstream);
        self.member(br#","endpoint":"#, LogField::Endpoint);
        self.member(br#","downstream":"#, LogField::Downstream);
        self.member(br#","request_bytes":"#, LogField::RequestBytes);
        self.member(br#","response_bytes":"#, LogField::ResponseBytes);
        self.member(br#","duration_ms":"#, LogField::DurationMs);
        self.member(br#","upstream_ms":"#, LogField::UpstreamMs);
        self.member(br#","pillion_us":"#, LogField::PillionUs);
        self.member(br#","attempts":"#, LogField::Attempts);
        self.member(br#","request_id":"#, LogField::RequestId);
        self.member(br#","trace_id":"#, LogField::TraceId);
        self.member(br#","user_agent":"#, LogField::UserAgent);
        self.out.push(b'}');
    }

    #[inline(always)]
    fn member(&mut self, key: &[u8], field: LogField) {
        self.out.extend_from_slice(key);
        match value(field, self.line) {
            Value::None => self.out.extend_from_slice(b"null"),
            value @ (Value::Number(_) | Value::Millis(_)) => self.bare(&value),
            value @ (Value::Plain(_) | Value::Foreign(_) | Value::Time(_) | Value::Address(_)) => {
                self.out.push(b'"');
                self.bare(&value);
                self.out.push(b'"');
            }
        }
    }

    #[inline(always)]
    fn bare(&mut self, value: &Value<'_>) {
        match *value {
            Value::None => {}
            Value::Plain(text) => self.out.extend_from_slice(text),
            Value::Foreign(text) => escape(text, self.out),
            Value::Number(number) => push_number(number, self.out),
            Value::Millis(us) => push_millis(us, self.out),
            Value::Time(unix_us) => self.out.extend_from_slice(self.stamp.rfc3339_ms(unix_us)),
            Value::Address(address) => push_address(address, self.out),
        }
    }
}

#[inline(always)]
fn value<'a>(field: LogField, line: &Line<'a>) -> Value<'a> {
    let numbers = line.numbers;
    match field {
        LogField::Time => Value::Time(numbers.start_unix_us),
        LogField::Direction => word(numbers.direction.label()),
        LogField::Method => foreign(line.method, line),
        LogField::Authority => foreign(line.authority, line),
        LogField::Path => foreign(line.path, line),
        LogField::Protocol => word(numbers.protocol.label()),
        LogField::Status => Value::Number(numbers.status.into()),
        LogField::Reason => numbers.reason.map_or(Value::None, |reason| word(reason.label())),
        LogField::Route => foreign(line.route, line),
        LogField::Upstream => foreign(line.upstream, line),
        LogField::Endpoint => foreign(line.endpoint, line),
        LogField::Downstream => numbers.downstream.map_or(Value::None, Value::Address),
        LogField::RequestBytes => Value::Number(numbers.request_bytes),
        LogField::ResponseBytes => Value::Number(numbers.response_bytes),
        LogField::DurationMs => Value::Millis(numbers.duration_us),
        LogField::UpstreamMs => Value::Millis(numbers.upstream_us),
        LogField::PillionUs => Value::Number(numbers.pillion_us),
        LogField::Attempts => Value::Number(numbers.attempts.into()),
        LogField::RequestId => foreign(line.request_id, line),
        LogField::TraceId => line.trace_id().map_or(Value::None, |id| Value::Foreign(id)),
        LogField::UserAgent => foreign(line.user_agent, line),
    }
}

/// A word of ours.
const fn word(label: &'static str) -> Value<'static> {
    Value::Plain(label.as_bytes())
}

#[inline(always)]
fn foreign<'a>(text: &'a [u8], line: &Line<'a>) -> Value<'a> {
    match text {
        [] => Value::None,
        _ if line.plain => Value::Plain(text),
        _ => Value::Foreign(text),
    }
}

fn push_millis(us: u64, out: &mut Vec<u8>) {
    push_number(us / 1000, out);
    let [hundreds, tens, ones] = three_digits(us);
    out.extend_from_slice(&[b'.', hundreds, tens, ones]);
}

fn push_address(address: SocketAddr, out: &mut Vec<u8>) {
    match address {
        SocketAddr::V4(v4) => {
            let [a, b, c, d] = v4.ip().octets();
            for (octet, after) in [(a, b'.'), (b, b'.'), (c, b'.'), (d, b':')] {
                push_number(octet.into(), out);
                out.push(after);
            }
            push_number(v4.port().into(), out);
        }
        SocketAddr::V6(v6) => {
            // A Vec takes everything: there is no error to hand on.
            let _always_ok = write!(out, "{v6}");
        }
    }
}
