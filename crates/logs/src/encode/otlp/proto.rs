//! The messages of OTLP logs, with the field numbers of `opentelemetry-proto`, version 1.

use prost::{Message, Oneof};
use serde_json::Value as Json;

/// `opentelemetry.proto.common.v1.AnyValue`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AnyValue {
    #[prost(oneof = "any_value::Value", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub(crate) value: Option<any_value::Value>,
}

/// What an [`AnyValue`] may be.
pub(crate) mod any_value {
    use super::{ArrayValue, KeyValueList, Oneof};

    #[derive(Clone, PartialEq, Oneof)]
    pub(crate) enum Value {
        #[prost(string, tag = "1")]
        Text(String),
        #[prost(bool, tag = "2")]
        Bool(bool),
        #[prost(int64, tag = "3")]
        Int(i64),
        #[prost(double, tag = "4")]
        Double(f64),
        #[prost(message, tag = "5")]
        Array(ArrayValue),
        #[prost(message, tag = "6")]
        Object(KeyValueList),
        #[prost(bytes = "vec", tag = "7")]
        Bytes(Vec<u8>),
    }
}

/// `opentelemetry.proto.common.v1.ArrayValue`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    pub(crate) values: Vec<AnyValue>,
}

/// `opentelemetry.proto.common.v1.KeyValueList`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct KeyValueList {
    #[prost(message, repeated, tag = "1")]
    pub(crate) values: Vec<KeyValue>,
}

/// `opentelemetry.proto.common.v1.KeyValue`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) value: Option<AnyValue>,
}

/// `opentelemetry.proto.resource.v1.Resource`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(crate) attributes: Vec<KeyValue>,
}

/// `opentelemetry.proto.common.v1.InstrumentationScope`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Scope {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) version: String,
}

/// `opentelemetry.proto.collector.logs.v1.ExportLogsServiceResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Response {
    #[prost(message, optional, tag = "1")]
    pub(crate) partial_success: Option<PartialSuccess>,
}

/// `opentelemetry.proto.collector.logs.v1.ExportLogsPartialSuccess`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(crate) rejected: i64,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

impl AnyValue {
    /// Text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { value: Some(any_value::Value::Text(text.into())) }
    }

    /// The value of JSON; null is a value without content.
    pub(crate) fn from_json(json: Json) -> Self {
        use any_value::Value;
        let value = match json {
            Json::Null => return Self { value: None },
            Json::Bool(value) => Value::Bool(value),
            Json::String(text) => Value::Text(text),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => Value::Int(number),
                (None, Some(number)) => Value::Double(number),
                (None, None) => Value::Text(number.to_string()),
            },
            Json::Array(values) => Value::Array(ArrayValue {
                values: values.into_iter().map(Self::from_json).collect(),
            }),
            Json::Object(fields) => {
                let values = fields.into_iter();
                let values = values.map(|(key, json)| KeyValue::new(key, Self::from_json(json)));
                Value::Object(KeyValueList { values: values.collect() })
            }
        };
        Self { value: Some(value) }
    }
}

impl KeyValue {
    /// A name and its value.
    pub(crate) fn new(key: impl Into<String>, value: AnyValue) -> Self {
        Self { key: key.into(), value: Some(value) }
    }
}

/// What a receiver reads; we write it without these.
#[cfg(test)]
mod request {
    use super::{AnyValue, KeyValue, Message, Resource, Scope};

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Request {
        #[prost(message, repeated, tag = "1")]
        pub(crate) resource_logs: Vec<ResourceLogs>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct ResourceLogs {
        #[prost(message, optional, tag = "1")]
        pub(crate) resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) scope_logs: Vec<ScopeLogs>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct ScopeLogs {
        #[prost(message, optional, tag = "1")]
        pub(crate) scope: Option<Scope>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) log_records: Vec<LogRecord>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct LogRecord {
        #[prost(fixed64, tag = "1")]
        pub(crate) time_unix_nano: u64,
        #[prost(int32, tag = "2")]
        pub(crate) severity_number: i32,
        #[prost(string, tag = "3")]
        pub(crate) severity_text: String,
        #[prost(message, optional, tag = "5")]
        pub(crate) body: Option<AnyValue>,
        #[prost(message, repeated, tag = "6")]
        pub(crate) attributes: Vec<KeyValue>,
        #[prost(bytes = "vec", tag = "9")]
        pub(crate) trace_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "10")]
        pub(crate) span_id: Vec<u8>,
        #[prost(fixed64, tag = "11")]
        pub(crate) observed_time_unix_nano: u64,
    }
}

#[cfg(test)]
pub(crate) use request::Request;
