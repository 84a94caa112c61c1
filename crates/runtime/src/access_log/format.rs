//! One line of the access log as text.

use std::io::Write as _;
use std::net::SocketAddr;

use pillion_model::snapshot::{LogField, LogFormat, LogPart};

use super::batch::Line;
use crate::escape::escape;
use crate::timestamp::rfc3339_ms;

/// What a field holds in one line.
enum Value<'a> {
    None,
    /// Text that somebody else chose.
    Text(&'a [u8]),
    /// A word of ours, which needs no escaping.
    Word(&'static str),
    Number(u64),
    /// Microseconds, written as milliseconds.
    Millis(u64),
    Time(u64),
    Address(SocketAddr),
}

/// Appends the line with its newline. Whatever the fields hold, it is one line of valid UTF-8.
pub(super) fn push_line(format: &LogFormat, line: &Line<'_>, out: &mut Vec<u8>) {
    match format {
        LogFormat::Json => {
            let mut before = b'{';
            for (field, name, _) in LogField::ALL {
                out.push(before);
                before = b',';
                out.push(b'"');
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":");
                push_json(&value(*field, line), out);
            }
            out.push(b'}');
        }
        LogFormat::Template(parts) => {
            for part in parts {
                match part {
                    LogPart::Text(text) => out.extend_from_slice(text.as_bytes()),
                    LogPart::Field(field) => match value(*field, line) {
                        Value::None => out.push(b'-'),
                        value => push_bare(&value, out),
                    },
                }
            }
        }
    }
    out.push(b'\n');
}

fn value<'a>(field: LogField, line: &Line<'a>) -> Value<'a> {
    let numbers = line.numbers;
    match field {
        LogField::Time => Value::Time(numbers.start_unix_us),
        LogField::Direction => Value::Word(numbers.direction.label()),
        LogField::Method => text(line.method),
        LogField::Authority => text(line.authority),
        LogField::Path => text(line.path),
        LogField::Protocol => Value::Word(numbers.protocol.label()),
        LogField::Status => Value::Number(numbers.status.into()),
        LogField::Reason => numbers.reason.map_or(Value::None, |r| Value::Word(r.label())),
        LogField::Route => text(line.route),
        LogField::Upstream => text(line.upstream),
        LogField::Endpoint => text(line.endpoint),
        LogField::Downstream => numbers.downstream.map_or(Value::None, Value::Address),
        LogField::RequestBytes => Value::Number(numbers.request_bytes),
        LogField::ResponseBytes => Value::Number(numbers.response_bytes),
        LogField::DurationMs => Value::Millis(numbers.duration_us),
        LogField::UpstreamMs => Value::Millis(numbers.upstream_us),
        LogField::PillionUs => Value::Number(numbers.pillion_us),
        LogField::Attempts => Value::Number(numbers.attempts.into()),
        LogField::RequestId => text(line.request_id),
        LogField::TraceId => text(line.trace_id()),
        LogField::UserAgent => text(line.user_agent),
    }
}

fn text(text: &[u8]) -> Value<'_> {
    if text.is_empty() { Value::None } else { Value::Text(text) }
}

fn push_json(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::None => out.extend_from_slice(b"null"),
        Value::Number(_) | Value::Millis(_) => push_bare(value, out),
        Value::Text(_) | Value::Word(_) | Value::Time(_) | Value::Address(_) => {
            out.push(b'"');
            push_bare(value, out);
            out.push(b'"');
        }
    }
}

fn push_bare(value: &Value<'_>, out: &mut Vec<u8>) {
    match *value {
        Value::None => {}
        Value::Text(text) => escape(text, out),
        Value::Word(word) => out.extend_from_slice(word.as_bytes()),
        Value::Number(number) => push_number(number, out),
        Value::Millis(us) => {
            push_number(us / 1000, out);
            let rest = us % 1000;
            let digit = |n: u64| b'0' + (n % 10) as u8;
            out.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
        }
        Value::Time(unix_us) => out.extend_from_slice(&rfc3339_ms(unix_us)),
        Value::Address(address) => push_address(address, out),
    }
}

fn push_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
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
