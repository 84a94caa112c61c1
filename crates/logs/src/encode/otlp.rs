//! Log records of OTLP. What is appended is an element of `ScopeLogs.log_records`, so that records
//! one after another are already the inside of a request.

pub(crate) mod proto;

use std::sync::Arc;

use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::field::{severity, stream_name};
use super::{Origin, attributes, json, text};
use crate::record::{Record, TraceOrigin, Value};
use proto::{AnyValue, any_value};

/// Field numbers of `LogRecord`, `KeyValue` and `AnyValue` in `opentelemetry-proto`, version 1.
mod tag {
    pub(super) const TIME: u32 = 1;
    pub(super) const SEVERITY_NUMBER: u32 = 2;
    pub(super) const SEVERITY_TEXT: u32 = 3;
    pub(super) const BODY: u32 = 5;
    pub(super) const ATTRIBUTES: u32 = 6;
    pub(super) const TRACE_ID: u32 = 9;
    pub(super) const SPAN_ID: u32 = 10;
    pub(super) const OBSERVED: u32 = 11;
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
    pub(super) const STRING: u32 = 1;
}
/// `ScopeLogs.log_records`.
pub(crate) const RECORD: u32 = 2;

/// Writes records, without an allocation for each.
#[derive(Debug, Default)]
pub(super) struct Writer {
    record: Vec<u8>,
}

/// Writes what is the same on every record. Records of one resource travel together, whatever
/// their source is, so that the source is an attribute.
pub(super) fn fill(origin: &mut Origin) {
    let mut resource = Vec::new();
    json::pairs(&origin.resource, &mut resource);
    origin.partition = Arc::from(String::from_utf8_lossy(&resource));
    let mut tail = Vec::new();
    text_attribute("pillion.source", &origin.source, &mut tail);
    origin.tail = tail;
}

impl Writer {
    pub(super) fn record(&mut self, record: &Record<'_>, origin: &Origin, out: &mut Vec<u8>) {
        self.record.clear();
        fields(record, &mut self.record);
        self.record.extend_from_slice(&origin.tail);
        bytes(RECORD, &self.record, out);
    }
}

fn fields(record: &Record<'_>, out: &mut Vec<u8>) {
    let nanos = |at: i64| u64::try_from(at).unwrap_or(0);
    if let Some(time) = record.time {
        fixed64(tag::TIME, nanos(time), out);
    }
    fixed64(tag::OBSERVED, nanos(record.observed), out);
    if record.severity.number > 0 {
        encode_key(tag::SEVERITY_NUMBER, WireType::Varint, out);
        encode_varint(record.severity.number.into(), out);
    }
    let severity = severity(record);
    if !severity.is_empty() {
        bytes(tag::SEVERITY_TEXT, severity.as_bytes(), out);
    }
    value_field(tag::BODY, &record.body, out);
    for (name, value) in attributes(&record.attributes) {
        attribute(name, value, out);
    }
    if let Some(trace) = &record.trace {
        bytes(tag::TRACE_ID, &trace.trace.to_be_bytes(), out);
        if trace.span != 0 {
            bytes(tag::SPAN_ID, &trace.span.to_be_bytes(), out);
        }
        if trace.origin == TraceOrigin::OnlyRequest {
            text_attribute("pillion.trace_origin", "only_request", out);
        }
    }
    if let Some(stream) = record.stream {
        text_attribute("log.iostream", stream_name(stream), out);
    }
    for mark in json::mark_names(record.marks) {
        text_attribute(&format!("pillion.{mark}"), "true", out);
    }
    let mut id = Vec::with_capacity(2 * size_of::<u128>());
    text::hex(&record.id.to_be_bytes(), &mut id);
    text_attribute("log.record.uid", &String::from_utf8_lossy(&id), out);
}

fn text_attribute(name: &str, value: &str, out: &mut Vec<u8>) {
    let value_length = field_length(value.len());
    encode_key(tag::ATTRIBUTES, WireType::LengthDelimited, out);
    encode_length(field_length(name.len()) + field_length(value_length), out);
    bytes(tag::KEY, name.as_bytes(), out);
    text_value(tag::VALUE, value, out);
}

fn attribute(name: &str, value: &Value<'_>, out: &mut Vec<u8>) {
    if let Some(text) = as_text(value) {
        return text_attribute(name, &text, out);
    }
    let value = parsed(value);
    encode_key(tag::ATTRIBUTES, WireType::LengthDelimited, out);
    encode_length(field_length(name.len()) + field_length(value.encoded_len()), out);
    bytes(tag::KEY, name.as_bytes(), out);
    message(tag::VALUE, &value, out);
}

fn value_field(tag: u32, value: &Value<'_>, out: &mut Vec<u8>) {
    match as_text(value) {
        Some(text) => text_value(tag, &text, out),
        None => message(tag, &parsed(value), out),
    }
}

/// The text of what is text.
fn as_text<'a>(value: &'a Value<'_>) -> Option<std::borrow::Cow<'a, str>> {
    match value {
        Value::Json(written) if !text::is_string(written) => None,
        Value::Text(_) | Value::Json(_) => Some(text::plain(value)),
    }
}

/// The value of JSON. What JSON may write and the type cannot hold, such as a number without end,
/// stays text.
fn parsed(value: &Value<'_>) -> AnyValue {
    let text = text::plain(value);
    match serde_json::from_str(&text) {
        Ok(json) => AnyValue::from_json(json),
        Err(_) => AnyValue { value: Some(any_value::Value::Text(text.into_owned())) },
    }
}

fn text_value(tag: u32, text: &str, out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_length(field_length(text.len()), out);
    bytes(tag::STRING, text.as_bytes(), out);
}

fn message(tag: u32, message: &AnyValue, out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_length(message.encoded_len(), out);
    message.encode_raw(out);
}

fn bytes(tag: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn fixed64(tag: u32, value: u64, out: &mut Vec<u8>) {
    encode_key(tag, WireType::SixtyFourBit, out);
    out.extend_from_slice(&value.to_le_bytes());
}

fn encode_length(length: usize, out: &mut Vec<u8>) {
    encode_varint(u64::try_from(length).unwrap_or(u64::MAX), out);
}

/// What a field of so many bytes takes; every field here has a number below 16, and so a key of
/// one byte.
fn field_length(length: usize) -> usize {
    1 + encoded_len_varint(u64::try_from(length).unwrap_or(u64::MAX)) + length
}
