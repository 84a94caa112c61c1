//! OTLP in JSON: protobuf's mapping to JSON, but for ids, which are hexadecimal. Members that are not
//! known are left.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use crate::encode::otlp::proto::{
    AnyValue, ArrayValue, KeyValue, KeyValueList, Resource, Scope, any_value,
};
use crate::encode::otlp::request::{LogRecord, Request, ResourceLogs, ScopeLogs};

/// Reads a request; the error says what is wrong.
pub(super) fn read(bytes: &[u8]) -> Result<Request, String> {
    let json: Json =
        serde_json::from_slice(bytes).map_err(|error| format!("the body is no JSON: {error}"))?;
    if !json.is_object() {
        return Err("the body is no JSON object".to_owned());
    }
    let resource_logs = list(&json, "resourceLogs", |resource| {
        let attributes = list(&resource["resource"], "attributes", pair)?;
        let scope_logs = list(resource, "scopeLogs", |scope| {
            let name = text(&scope["scope"], "name")?;
            let version = text(&scope["scope"], "version")?;
            let log_records = list(scope, "logRecords", record)?;
            Ok(ScopeLogs { scope: Some(Scope { name, version }), log_records })
        })?;
        Ok(ResourceLogs { resource: Some(Resource { attributes }), scope_logs })
    })?;
    Ok(Request { resource_logs })
}

fn record(json: &Json) -> Result<LogRecord, String> {
    let severity = number(&json["severityNumber"], "severityNumber")?;
    Ok(LogRecord {
        time_unix_nano: number(&json["timeUnixNano"], "timeUnixNano")?,
        observed_time_unix_nano: number(&json["observedTimeUnixNano"], "observedTimeUnixNano")?,
        severity_number: i32::try_from(severity).unwrap_or(0),
        severity_text: text(json, "severityText")?,
        body: Some(&json["body"]).filter(|body| !body.is_null()).map(as_value).transpose()?,
        attributes: list(json, "attributes", pair)?,
        trace_id: hex(json, "traceId")?,
        span_id: hex(json, "spanId")?,
        event_name: text(json, "eventName")?,
    })
}

fn pair(json: &Json) -> Result<KeyValue, String> {
    Ok(KeyValue { key: text(json, "key")?, value: Some(as_value(&json["value"])?) })
}

/// Recursion ends where `serde_json` has ended it: 128 levels.
fn as_value(json: &Json) -> Result<AnyValue, String> {
    use any_value::Value;
    let Some((kind, content)) = json.as_object().and_then(|object| object.iter().next()) else {
        return Ok(AnyValue { value: None });
    };
    let wrong = || format!("{kind}: {content} does not fit");
    let value = match kind.as_str() {
        "stringValue" => Value::Text(content.as_str().ok_or_else(wrong)?.to_owned()),
        "boolValue" => Value::Bool(content.as_bool().ok_or_else(wrong)?),
        "intValue" => {
            let text = content.as_str().and_then(|text| text.parse().ok());
            Value::Int(text.or_else(|| content.as_i64()).ok_or_else(wrong)?)
        }
        "doubleValue" => {
            let text = content.as_str().and_then(|text| text.parse().ok());
            Value::Double(text.or_else(|| content.as_f64()).ok_or_else(wrong)?)
        }
        "bytesValue" => {
            let bytes = content.as_str().and_then(|text| STANDARD.decode(text).ok());
            Value::Bytes(bytes.ok_or_else(wrong)?)
        }
        "arrayValue" => Value::Array(ArrayValue { values: list(content, "values", as_value)? }),
        "kvlistValue" => Value::Object(KeyValueList { values: list(content, "values", pair)? }),
        _ => return Ok(AnyValue { value: None }),
    };
    Ok(AnyValue { value: Some(value) })
}

fn list<T>(
    json: &Json,
    name: &str,
    each: impl Fn(&Json) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    match &json[name] {
        Json::Null => Ok(Vec::new()),
        Json::Array(elements) => elements.iter().map(each).collect(),
        _ => Err(format!("{name} is no list")),
    }
}

fn text(json: &Json, name: &str) -> Result<String, String> {
    match &json[name] {
        Json::Null => Ok(String::new()),
        Json::String(text) => Ok(text.clone()),
        _ => Err(format!("{name} is no string")),
    }
}

/// A number, or a string that says one: 64 bits are written so.
fn number(json: &Json, name: &str) -> Result<u64, String> {
    let number = match json {
        Json::Null => Some(0),
        Json::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    number.ok_or_else(|| format!("{name} is no number: {json}"))
}

fn hex(json: &Json, name: &str) -> Result<Vec<u8>, String> {
    let digits = text(json, name)?;
    let wrong = || format!("{name} is not hexadecimal: {digits}");
    if digits.len() % 2 == 1 {
        return Err(wrong());
    }
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    };
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
    bytes.ok_or_else(wrong)
}
