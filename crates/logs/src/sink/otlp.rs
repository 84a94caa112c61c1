//! OTLP over HTTP with protobuf.

use bytes::Bytes;
use http::{Response, StatusCode};
use pillion_model::logs::HttpOutput;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::http::{Message, Server, judge};
use super::{Cause, Load, SinkError, Trouble, Verdict, excerpt};
use crate::encode::otlp::proto::{AnyValue, KeyValue, Resource, Response as Answer, Scope};

const PATH: &str = "/v1/logs";
const CONTENT_TYPE: &str = "application/x-protobuf";
/// `ExportLogsServiceRequest.resource_logs`.
const RESOURCE_LOGS: u32 = 1;
/// `ResourceLogs.resource` and `ScopeLogs.scope`.
const OWNER: u32 = 1;
/// `ResourceLogs.scope_logs`.
const SCOPE_LOGS: u32 = 2;

/// A receiver of OTLP.
#[derive(Debug)]
pub(super) struct Otlp {
    server: Server,
}

impl Otlp {
    pub(super) fn new(output: &HttpOutput) -> Result<Self, SinkError> {
        // People write the whole address too.
        let base = output.url.strip_suffix(PATH).unwrap_or(&output.url);
        Ok(Self { server: Server::new(output, base)? })
    }

    pub(super) async fn send(&self, load: Load<'_>) -> Verdict {
        let frame = frame(load.partition, load.bytes().len());
        let body = [frame.into(), load.shared()];
        let message = Message { path: PATH, content_type: CONTENT_TYPE, body: &body, header: None };
        match self.server.post(&message).await {
            Ok(answer) => verdict(&answer),
            Err(trouble) => Verdict::Retry(trouble),
        }
    }
}

/// What stands before the records in a request: resource and scope, and the lengths around them.
fn frame(partition: &str, records: usize) -> Vec<u8> {
    let attributes: serde_json::Map<_, _> = serde_json::from_str(partition).unwrap_or_default();
    let attributes = attributes.into_iter();
    let attributes = attributes.map(|(key, value)| KeyValue::new(key, AnyValue::from_json(value)));
    let resource = Resource { attributes: attributes.collect() };
    let scope = Scope { name: "pillion".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let mut scope_logs = Vec::new();
    nested(OWNER, &scope.encode_to_vec(), 0, &mut scope_logs);
    let mut resource_logs = Vec::new();
    nested(OWNER, &resource.encode_to_vec(), 0, &mut resource_logs);
    nested(SCOPE_LOGS, &scope_logs, records, &mut resource_logs);
    let mut request = Vec::new();
    nested(RESOURCE_LOGS, &resource_logs, records, &mut request);
    request
}

/// Appends a message of which `more` bytes follow later.
fn nested(tag: u32, message: &[u8], more: usize, out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(u64::try_from(message.len() + more).unwrap_or(u64::MAX), out);
    out.extend_from_slice(message);
}

fn verdict(answer: &Response<Bytes>) -> Verdict {
    match judge(answer, Verdict::Refused) {
        None => taken(answer),
        // The specification names what may be sent again; these are all other failures of a
        // server.
        Some(Verdict::Retry(trouble)) if is_final(answer.status()) => {
            Verdict::Refused(trouble.text)
        }
        Some(verdict) => verdict,
    }
}

fn is_final(status: StatusCode) -> bool {
    let again =
        [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
    status.is_server_error() && !again.contains(&status)
}

/// What was taken, but for what the answer says. That is never sent again.
fn taken(answer: &Response<Bytes>) -> Verdict {
    match Answer::decode(answer.body().clone()) {
        Ok(Answer { partial_success: Some(partial) }) if partial.rejected > 0 => {
            Verdict::Short(partial.rejected.unsigned_abs(), partial.message)
        }
        Ok(_) => Verdict::Delivered,
        Err(error) => Verdict::Retry(Trouble::new(
            Cause::Garbled,
            format!("the answer is not OTLP ({error}): {}", excerpt(answer.body())),
        )),
    }
}

#[cfg(test)]
mod tests {
    use pillion_model::logs::Output;

    use super::super::tests::http_output;
    use super::*;
    use crate::encode::otlp::proto::{PartialSuccess, any_value};
    use crate::encode::otlp::request::Request;
    use crate::encode::tests::{TIME, encoded};

    fn text(text: &str) -> AnyValue {
        AnyValue { value: Some(any_value::Value::Text(text.to_owned())) }
    }

    fn of(status: u16, body: impl Into<Bytes>) -> Verdict {
        verdict(&Response::builder().status(status).body(body.into()).unwrap())
    }

    #[test]
    fn a_request_is_what_the_protocol_says() {
        let (records, partition) = encoded(&Output::Otlp(http_output("http://localhost")));
        let records = records.concat();
        let request = [frame(&partition, records.len()), records].concat();
        let request = Request::decode(&request[..]).unwrap();
        let [logs] = &request.resource_logs[..] else { panic!("{request:?}") };
        let resource = &logs.resource.as_ref().unwrap().attributes;
        let mut names: Vec<_> = resource.iter().map(|attribute| &attribute.key[..]).collect();
        names.sort_unstable();
        assert_eq!(names, ["host.name", "k8s.pod.name", "service.name"]);
        let [scope] = &logs.scope_logs[..] else { panic!("{logs:?}") };
        assert_eq!(scope.scope.as_ref().unwrap().name, "pillion");
        let [full, bare] = &scope.log_records[..] else { panic!("{scope:?}") };
        assert_eq!(full.time_unix_nano, u64::try_from(TIME).unwrap());
        assert_eq!(full.observed_time_unix_nano, full.time_unix_nano + 1_000_000_000);
        assert_eq!((full.severity_number, &full.severity_text[..]), (9, "INFO"));
        assert_eq!(full.body, Some(text("GET \"/\" done\n")));
        assert_eq!(full.trace_id[..2], [0x4b, 0xf9]);
        assert_eq!(full.span_id[..2], [0x00, 0xf0]);
        let value = |name: &str| {
            let found = full.attributes.iter().find(|attribute| attribute.key == name);
            found.unwrap().value.clone().unwrap().value.unwrap()
        };
        assert_eq!(value("status"), any_value::Value::Int(200));
        assert_eq!(value("path"), any_value::Value::Text("/a\"b".to_owned()));
        assert!(matches!(value("user"), any_value::Value::Object(_)));
        assert_eq!(value("log.iostream"), any_value::Value::Text("stderr".to_owned()));
        assert_eq!(value("pillion.source"), any_value::Value::Text("app".to_owned()));
        assert_eq!(
            value("log.record.uid"),
            any_value::Value::Text("0102030405060708090a0b0c0d0e0f10".to_owned())
        );
        assert_eq!((bare.time_unix_nano, bare.severity_number), (0, 0));
        assert_eq!(bare.body, Some(text("hi")));
    }

    #[test]
    fn what_the_receiver_rejects_of_a_request_is_counted_and_never_sent_again() {
        let partial = |rejected| {
            let message = "no room".to_owned();
            let partial_success = Some(PartialSuccess { rejected, message });
            Answer { partial_success }.encode_to_vec()
        };
        assert_eq!(of(200, partial(3)), Verdict::Short(3, "no room".to_owned()));
        assert_eq!(of(200, partial(0)), Verdict::Delivered);
        assert_eq!(of(200, ""), Verdict::Delivered);
    }

    #[test]
    fn only_what_the_protocol_allows_is_sent_again() {
        for status in [429, 502, 503, 504] {
            assert!(matches!(of(status, ""), Verdict::Retry(_)), "{status}");
        }
        for status in [400, 500, 501] {
            assert!(matches!(of(status, ""), Verdict::Refused(_)), "{status}");
        }
        let Verdict::Retry(trouble) = of(200, "<html>") else { panic!() };
        assert_eq!(trouble.cause, Cause::Garbled);
    }
}
