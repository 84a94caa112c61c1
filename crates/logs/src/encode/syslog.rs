//! Messages of syslog (RFC 5424), without what frames them on a connection.

use std::borrow::Cow;

use super::field::{severity, stream_name};
use super::{Origin, Stamps, attributes, happened, json, text};
use crate::record::{Record, TraceOrigin};

/// The longest host name and name of a program, and of a parameter (RFC 5424 §6).
const HOST_LENGTH: usize = 255;
const PROGRAM_LENGTH: usize = 48;
const NAME_LENGTH: usize = 32;
/// What our structured data is named after. The number is the one that RFC 5612 sets aside.
const OURS: &str = "pillion@32473";
const ATTRIBUTES: &str = "attributes@32473";

/// Writes what is the same on every record: host, program, and the fields that we leave empty.
pub(super) fn fill(origin: &mut Origin) {
    let host = origin.first_of(&["host.name", "k8s.pod.name"]).unwrap_or("-");
    let program = origin.first_of(&["service.name"]).unwrap_or(&origin.source);
    let head =
        format!(" {} {} - - [{OURS}", name(host, HOST_LENGTH), name(program, PROGRAM_LENGTH));
    let mut head = head.into_bytes();
    parameter("source", &origin.source, &mut head);
    origin.head = head;
}

/// Appends a message.
pub(super) fn message(
    facility: u8,
    (record, origin): (&Record<'_>, &Origin),
    stamps: &mut Stamps,
    out: &mut Vec<u8>,
) {
    out.push(b'<');
    text::number(facility * 8 + level(record.severity.number), out);
    out.extend_from_slice(b">1 ");
    stamps.time.microseconds(happened(record), out);
    out.extend_from_slice(&origin.head);
    facts(record, out);
    let mut begin = ATTRIBUTES;
    for (name, value) in attributes(&record.attributes) {
        if !begin.is_empty() {
            out.extend_from_slice(b"][");
            out.extend_from_slice(begin.as_bytes());
            begin = "";
        }
        parameter(&self::name(name, NAME_LENGTH), &text::plain(value), out);
    }
    out.extend_from_slice(b"] ");
    out.extend_from_slice(text::plain(&record.body).as_bytes());
}

fn facts(record: &Record<'_>, out: &mut Vec<u8>) {
    hex("id", &record.id.to_be_bytes(), out);
    let severity = severity(record);
    if !severity.is_empty() {
        parameter("severity", severity, out);
    }
    if let Some(trace) = &record.trace {
        hex("trace_id", &trace.trace.to_be_bytes(), out);
        if trace.span != 0 {
            hex("span_id", &trace.span.to_be_bytes(), out);
        }
        if trace.origin == TraceOrigin::OnlyRequest {
            parameter("trace_origin", "only_request", out);
        }
    }
    if let Some(stream) = record.stream {
        parameter("stream", stream_name(stream), out);
    }
    for mark in json::mark_names(record.marks) {
        parameter(mark, "true", out);
    }
}

/// Appends ` name="0123…"`.
fn hex(name: &str, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    text::hex(bytes, out);
    out.push(b'"');
}

/// Appends ` name="value"`.
fn parameter(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    let mut rest = value.as_bytes();
    while let Some(at) = memchr::memchr3(b'"', b'\\', b']', rest) {
        let (plain, odd) = rest.split_at(at);
        out.extend_from_slice(plain);
        out.push(b'\\');
        out.extend(odd.first());
        rest = odd.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// A name with everything replaced that it may not have: it is printable ASCII.
fn name(name: &str, longest: usize) -> Cow<'_, str> {
    let is_good = |byte: &u8| byte.is_ascii_graphic() && !b"=]\"".contains(byte);
    if name.is_empty() {
        return Cow::Borrowed("-");
    }
    if name.len() <= longest && name.as_bytes().iter().all(is_good) {
        return Cow::Borrowed(name);
    }
    let is_good = |c: char| u8::try_from(c).is_ok_and(|byte| is_good(&byte));
    name.chars().map(|c| if is_good(c) { c } else { '_' }).take(longest).collect()
}

/// The severity of syslog for a number of the OpenTelemetry log data model, as its appendix maps
/// them; but what is fatal is critical, for an emergency is shown on every terminal of a machine.
const fn level(number: u8) -> u8 {
    match number {
        1..=8 => 7,
        10..=12 => 5,
        13..=16 => 4,
        17 => 3,
        18..=24 => 2,
        _ => 6,
    }
}

#[cfg(test)]
mod tests {
    use pillion_model::logs::{Output, SyslogOutput, SyslogTransport};

    use super::super::tests::encoded;
    use super::*;

    #[test]
    fn a_message_has_its_trace_and_attributes_as_structured_data() {
        let transport = SyslogTransport::Unix("/dev/log".into());
        let (messages, _) = encoded(&Output::Syslog(SyslogOutput { transport, facility: 16 }));
        let messages: Vec<_> =
            messages.iter().map(|bytes| str::from_utf8(bytes).unwrap()).collect();
        let full = concat!(
            r#"<134>1 2024-02-29T12:34:56.789012Z node-1 shop - - [pillion@32473 source="app" "#,
            r#"id="0102030405060708090a0b0c0d0e0f10" severity="INFO" "#,
            r#"trace_id="4bf92f3577b34da6a3ce929d0e0e4736" span_id="00f067aa0ba902b7" "#,
            r#"trace_origin="only_request" stream="stderr" redacted="true"]"#,
            r#"[attributes@32473 status="200" user="{\"id\":7,\"name\":\"Ann\"}" path="/a\"b"] "#,
            "GET \"/\" done\n"
        );
        let bare = concat!(
            r#"<134>1 2024-02-29T12:34:56.789012Z node-1 shop - - [pillion@32473 source="app" "#,
            r#"id="00000000000000000000000000000000"] hi"#
        );
        assert_eq!(messages, [full, bare]);
    }

    #[test]
    fn names_and_values_cannot_break_out_of_the_structured_data() {
        let mut out = Vec::new();
        parameter(&name("a b=\"]é", NAME_LENGTH), "x\"]\\ y", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), r#" a_b____="x\"\]\\ y""#);
        assert_eq!(name(&"n".repeat(40), NAME_LENGTH).len(), NAME_LENGTH);
        assert_eq!(name("", NAME_LENGTH), "-");
    }

    #[test]
    fn severities_are_those_of_syslog() {
        let levels: Vec<u8> = [0, 1, 5, 9, 10, 13, 17, 18, 21].map(level).to_vec();
        assert_eq!(levels, [6, 7, 7, 6, 5, 4, 3, 2, 2]);
    }
}
