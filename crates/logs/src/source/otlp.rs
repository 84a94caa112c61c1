//! OTLP logs, version 1: over HTTP with protobuf or JSON, and over gRPC, on one port.

use std::borrow::Cow;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use prost::Message;
use serde_json::Value as Json;

use super::body::{self, Refusal, unpack};
use super::http::{self as answers, Answer, COME_AGAIN_SECONDS, media_type};
use super::intake::{Content, Feed, Given, Intake};
use super::{Peer, otlp_json};
use crate::encode::otlp::proto::{
    AnyValue, KeyValue, PartialSuccess, Resource, Response, Scope, any_value,
};
use crate::encode::otlp::request::{LogRecord, Request as Logs};
use crate::record::{Attributes, Record, Severity, Trace, TraceOrigin, UnixNanos, Value};

const HTTP_PATH: &str = "/v1/logs";
const GRPC_PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const GRPC: &str = "application/grpc";
/// In front of a message: whether it is packed, and its length.
const FRAME_HEAD: usize = 5;

/// Log records as an OTLP sender gave them.
#[derive(Debug)]
pub struct Otlp {
    request: Logs,
    records: usize,
    bytes: usize,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, Copy, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

impl Otlp {
    fn new(request: Logs, bytes: usize) -> Self {
        let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
        let records = scopes.map(|scope| scope.log_records.len()).sum();
        Self { request, records, bytes }
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes of the request.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes in memory, about: what is short costs more there than on its way.
    pub(super) fn held(&self) -> usize {
        self.bytes * 2 + self.records * size_of::<LogRecord>()
    }

    /// Each record, in its order, read at `observed`. What its resource says, and the name of its
    /// scope, are attributes of it; those of the record itself count more.
    pub fn records(&self, observed: UnixNanos) -> impl Iterator<Item = Record<'_>> {
        self.request.resource_logs.iter().flat_map(move |resource| {
            resource.scope_logs.iter().flat_map(move |scope| {
                let of = (resource.resource.as_ref(), scope.scope.as_ref());
                scope.log_records.iter().map(move |record| as_record(record, of, observed))
            })
        })
    }
}

fn as_record<'a>(
    record: &'a LogRecord,
    of: (Option<&'a Resource>, Option<&'a Scope>),
    observed: UnixNanos,
) -> Record<'a> {
    let (resource, scope) = of;
    let mut attributes = Attributes::new();
    let pairs = resource.iter().flat_map(|resource| &resource.attributes);
    attributes.extend(pairs.map(as_attribute));
    let scope = scope.map(|scope| scope.name.as_str()).filter(|name| !name.is_empty());
    let event = Some(record.event_name.as_str()).filter(|name| !name.is_empty());
    for (name, value) in [("otel.scope.name", scope), ("event.name", event)] {
        attributes.extend(value.map(|value| (name.into(), Value::Text(value.into()))));
    }
    attributes.extend(record.attributes.iter().map(as_attribute));
    let text = Some(record.severity_text.as_str()).filter(|text| !text.is_empty());
    let number = u8::try_from(record.severity_number).ok().filter(|number| *number <= 24);
    Record {
        observed,
        time: i64::try_from(record.time_unix_nano).ok().filter(|time| *time > 0),
        severity: Severity { number: number.unwrap_or(0), text: text.map(Cow::Borrowed) },
        body: record.body.as_ref().map(as_value).unwrap_or_default(),
        attributes,
        trace: trace(record),
        ..Record::default()
    }
}

/// A trace that is not 16 bytes long is none.
fn trace(record: &LogRecord) -> Option<Trace> {
    let trace = u128::from_be_bytes(record.trace_id.as_slice().try_into().ok()?);
    let span = record.span_id.as_slice().try_into().map_or(0, u64::from_be_bytes);
    (trace != 0).then_some(Trace { trace, span, origin: TraceOrigin::Record })
}

fn as_attribute(pair: &KeyValue) -> (Cow<'_, str>, Value<'_>) {
    let value = pair.value.as_ref().map_or(Value::Json("null".into()), as_value);
    (Cow::Borrowed(&pair.key), value)
}

fn as_value(value: &AnyValue) -> Value<'_> {
    match &value.value {
        Some(any_value::Value::Text(text)) => Value::Text(Cow::Borrowed(text)),
        Some(any_value::Value::Bytes(bytes)) => Value::Text(STANDARD.encode(bytes).into()),
        _ => Value::Json(as_json(value).to_string().into()),
    }
}

fn as_json(value: &AnyValue) -> Json {
    match &value.value {
        None => Json::Null,
        Some(any_value::Value::Text(text)) => text.as_str().into(),
        Some(any_value::Value::Bool(value)) => (*value).into(),
        Some(any_value::Value::Int(value)) => (*value).into(),
        Some(any_value::Value::Double(value)) => (*value).into(),
        Some(any_value::Value::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        Some(any_value::Value::Array(list)) => list.values.iter().map(as_json).collect(),
        Some(any_value::Value::Object(object)) => {
            let members = object.values.iter();
            let value = |member: &KeyValue| member.value.as_ref().map_or(Json::Null, as_json);
            members.map(|member| (member.key.clone(), value(member))).collect()
        }
    }
}

/// Answers a request over HTTP or gRPC.
pub(super) async fn answer(request: Request<Incoming>, intake: &Rc<Intake>, peer: Peer) -> Answer {
    let kind = media_type(request.headers()).to_owned();
    if kind.starts_with(GRPC) {
        return match accept_grpc(request, intake, peer).await {
            Ok(response) => grpc_ok(&response),
            Err(refusal) => grpc_refusal(&refusal, intake),
        };
    }
    let is_json = kind.eq_ignore_ascii_case(JSON);
    match accept_http(request, &kind, intake, peer).await {
        Ok(response) => encoded(StatusCode::OK, is_json, &response, &json_response(&response)),
        Err(refusal) => {
            let code = grpc_code(&refusal);
            let message = refusal.to_string();
            let json = serde_json::json!({ "code": code, "message": message });
            let status = Status { code, message, details: Vec::new() };
            let mut answer = encoded(answers::note(&refusal, intake), is_json, &status, &json);
            answers::decorate(&refusal, answer.headers_mut());
            answer
        }
    }
}

fn encoded(status: StatusCode, is_json: bool, message: &impl Message, json: &Json) -> Answer {
    if is_json {
        return answers::respond(status, JSON, json.to_string().into());
    }
    answers::respond(status, PROTOBUF, message.encode_to_vec().into())
}

fn json_response(response: &Response) -> Json {
    let partial = response.partial_success.as_ref().map(|partial| {
        let rejected = partial.rejected.to_string();
        serde_json::json!({ "rejectedLogRecords": rejected, "errorMessage": partial.message })
    });
    partial
        .map_or(serde_json::json!({}), |partial| serde_json::json!({ "partialSuccess": partial }))
}

async fn accept_http(
    request: Request<Incoming>,
    kind: &str,
    intake: &Rc<Intake>,
    peer: Peer,
) -> Result<Response, Refusal> {
    if request.uri().path() != HTTP_PATH {
        return Err(Refusal::NotFound);
    }
    if request.method() != Method::POST {
        return Err(Refusal::Method);
    }
    let (head, body) = request.into_parts();
    let (bytes, charge) = body::read(&head.headers, body, intake).await?;
    let logs = if kind.eq_ignore_ascii_case(JSON) {
        otlp_json::read(&bytes).map_err(Refusal::Bad)?
    } else if kind.eq_ignore_ascii_case(PROTOBUF) {
        decode(&bytes)?
    } else {
        return Err(Refusal::MediaType);
    };
    drop(charge);
    give(Otlp::new(logs, bytes.len()), intake, peer)
}

async fn accept_grpc(
    request: Request<Incoming>,
    intake: &Rc<Intake>,
    peer: Peer,
) -> Result<Response, Refusal> {
    if request.uri().path() != GRPC_PATH {
        return Err(Refusal::NotFound);
    }
    let (head, body) = request.into_parts();
    let (bytes, charge) = body::read(&HeaderMap::new(), body, intake).await?;
    let cut = || Refusal::Bad("the gRPC message is cut".to_owned());
    let (frame, message) = bytes.split_first_chunk::<FRAME_HEAD>().ok_or_else(cut)?;
    let [packed, length @ ..] = *frame;
    if usize::try_from(u32::from_be_bytes(length)).ok() != Some(message.len()) {
        return Err(cut());
    }
    let encoding = head.headers.get("grpc-encoding").and_then(|value| value.to_str().ok());
    let encoding = if packed == 0 { "identity" } else { encoding.unwrap_or("?") };
    let message = unpack(message, encoding)?;
    drop(charge);
    give(Otlp::new(decode(&message)?, message.len()), intake, peer)
}

fn decode(bytes: &[u8]) -> Result<Logs, Refusal> {
    Logs::decode(bytes).map_err(|error| Refusal::Bad(format!("the body is no OTLP: {error}")))
}

/// Hands the records on. What was dropped for want of room, as configured, is told as rejected: it
/// is not to be sent again.
fn give(logs: Otlp, intake: &Rc<Intake>, peer: Peer) -> Result<Response, Refusal> {
    let records = logs.len();
    if records == 0 {
        return Ok(Response::default());
    }
    let given = Feed::new(intake, None).try_give(Content::Otlp(logs), peer)?;
    let partial_success = (given == Given::Dropped).then(|| PartialSuccess {
        rejected: i64::try_from(records).unwrap_or(i64::MAX),
        message: "dropped: there is no room".to_owned(),
    });
    Ok(Response { partial_success })
}

/// The gRPC status of a refusal. Those that OTLP has a sender try again: `UNAVAILABLE` alone.
fn grpc_code(refusal: &Refusal) -> i32 {
    match refusal {
        Refusal::Busy => 14,
        Refusal::TooLarge => 8,
        Refusal::Slow => 4,
        Refusal::Encoding | Refusal::NotFound | Refusal::Method => 12,
        Refusal::MediaType | Refusal::Bad(_) => 3,
    }
}

fn grpc_ok(response: &Response) -> Answer {
    let message = response.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut frame = vec![0];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    answers::respond_with(StatusCode::OK, GRPC, frame.into(), Some(trailers))
}

/// An answer without a message: its trailers stand in the head.
fn grpc_refusal(refusal: &Refusal, intake: &Intake) -> Answer {
    answers::note(refusal, intake);
    let (code, message) = (grpc_code(refusal), refusal.to_string());
    let mut answer = answers::respond(StatusCode::OK, GRPC, Bytes::new());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    headers.insert("grpc-status", HeaderValue::from(code));
    // Printable ASCII passes as it is; what is not, and `%`, would have to be encoded.
    let plain: String =
        message.chars().map(|c| if matches!(c, ' '..='~') && c != '%' { c } else { '?' }).collect();
    if let Ok(plain) = HeaderValue::try_from(plain) {
        headers.insert("grpc-message", plain);
    }
    if matches!(refusal, Refusal::Busy) {
        let retry = RetryInfo { delay: Some(Delay { seconds: COME_AGAIN_SECONDS }) };
        let type_url = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
        let details = vec![Any { type_url, value: retry.encode_to_vec() }];
        let status = Status { code, message, details };
        let encoded = STANDARD_NO_PAD.encode(status.encode_to_vec());
        if let Ok(value) = HeaderValue::try_from(encoded) {
            headers.insert("grpc-status-details-bin", value);
        }
    }
    answer
}
