//! OTLP over gRPC and HTTP.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use pillion_model::logs::{DropPolicy, FullPolicy, Listen, ListenProtocol};
use prost::Message as _;
use tokio::net::TcpStream;

use super::super::http::Local;
use super::super::{Chunk, Content, Source};
use super::received::*;
use crate::budget::Budget;
use crate::encode::otlp::proto::{
    AnyValue, KeyValue, KeyValueList, Resource, Response as Accepted, Scope, any_value,
};
use crate::encode::otlp::request::{LogRecord, Request as Logs, ResourceLogs, ScopeLogs};
use crate::record::{Record, TraceOrigin, Value};

const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

fn logs() -> Logs {
    let number = AnyValue { value: Some(any_value::Value::Int(7)) };
    let object =
        any_value::Value::Object(KeyValueList { values: vec![KeyValue::new("n", number)] });
    let record = LogRecord {
        time_unix_nano: 1_763_719_200_000_000_001,
        severity_number: 17,
        severity_text: "ERROR".into(),
        body: Some(AnyValue::text("it broke")),
        attributes: vec![KeyValue::new("o", AnyValue { value: Some(object) })],
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        ..LogRecord::default()
    };
    let scope = Some(Scope { name: "lib".into(), version: String::new() });
    let resource =
        Resource { attributes: vec![KeyValue::new("service.name", AnyValue::text("shop"))] };
    let scope_logs = vec![ScopeLogs { scope, log_records: vec![record, LogRecord::default()] }];
    Logs { resource_logs: vec![ResourceLogs { resource: Some(resource), scope_logs }] }
}

const LOGS_JSON: &str = r#"{"resourceLogs":[{"resource":{"attributes":[
    {"key":"service.name","value":{"stringValue":"shop"}}]},"scopeLogs":[{"scope":{"name":"lib"},
    "logRecords":[{"timeUnixNano":"1763719200000000001","severityNumber":17,"severityText":"ERROR",
    "body":{"stringValue":"it broke"},"attributes":[{"key":"o","value":{"kvlistValue":{"values":[
    {"key":"n","value":{"intValue":"7"}}]}}}],"traceId":"01010101010101010101010101010101",
    "spanId":"0202020202020202","unknown":[1]},{}]}]}]}"#;

fn assert_logs(chunk: &Chunk) {
    let Content::Otlp(otlp) = &chunk.content else { panic!("{chunk:?}") };
    let records: Vec<Record<'_>> = otlp.records(5).collect();
    let [record, empty] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((record.observed, record.time), (5, Some(1_763_719_200_000_000_001)));
    assert_eq!((record.severity.number, record.severity.text.as_deref()), (17, Some("ERROR")));
    assert_eq!(record.body, Value::Text("it broke".into()));
    let trace = record.trace.unwrap();
    assert_eq!((trace.trace, trace.span), (u128::MAX / 255, u64::MAX / 255 * 2));
    assert_eq!(trace.origin, TraceOrigin::Record);
    for (name, expected) in [("service.name", "shop"), ("otel.scope.name", "lib"), ("o.n", "7")] {
        assert_eq!(record.attribute(name).as_deref(), Some(expected), "{name}");
    }
    assert_eq!((empty.time, empty.trace, empty.attributes.len()), (None, None, 2));
}

fn frame(packed: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[packed][..], &length, message].concat()
}

/// What a gRPC call is answered: head, message and trailers.
async fn call(source: &Source, path: &str, body: Vec<u8>) -> (HeaderMap, Bytes) {
    let socket = TcpStream::connect(at(source)).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(Local, TokioIo::new(socket)).await.unwrap();
    let driver = tokio::task::spawn_local(connection);
    let request = Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc+proto")
        .header("grpc-encoding", "gzip")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let response: Response<_> = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut headers = response.headers().clone();
    let collected = response.into_body().collect().await.unwrap();
    headers.extend(collected.trailers().cloned().unwrap_or_default());
    driver.abort();
    (headers, collected.to_bytes())
}

fn status(headers: &HeaderMap) -> &str {
    headers["grpc-status"].to_str().unwrap()
}

#[tokio::test]
async fn records_come_over_grpc_with_every_field() {
    local(async {
        let source = start(&listen(ListenProtocol::Otlp));
        let message = logs().encode_to_vec();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &message).unwrap();
        for body in [frame(0, &message), frame(1, &gzip.finish().unwrap())] {
            let (headers, answer) = call(&source, EXPORT, body).await;
            assert_eq!((status(&headers), &*answer), ("0", &[0; 5][..]));
            let chunk = chunk(&source).await;
            assert_logs(&chunk);
            assert!(chunk.peer.is_some_and(|peer| peer.ip().is_loopback()), "{:?}", chunk.peer);
        }
        assert_eq!(source.status().records, 4);
    })
    .await;
}

#[tokio::test]
async fn a_grpc_sender_hears_what_is_wrong_and_when_to_come_again() {
    local(async {
        let budget = Budget::new(100_000);
        let source = Source::listen(&listen(ListenProtocol::Otlp), FRAMING, &budget).unwrap();
        let message = logs().encode_to_vec();
        let cut = frame(0, &message)[..9].to_vec();
        for (path, body, expected) in [
            ("/other.Service/Call", frame(0, &message), "12"),
            (EXPORT, cut, "3"),
            (EXPORT, frame(0, b"\xff\xff"), "3"),
            (EXPORT, frame(0, &vec![0; 8 << 20]), "8"),
        ] {
            assert_eq!(status(&call(&source, path, body).await.0), expected, "{path}");
        }
        let _held = budget.take_anyway(100_000);
        let (headers, _) = call(&source, EXPORT, frame(0, &message)).await;
        assert_eq!(status(&headers), "14");
        assert!(headers.contains_key("grpc-status-details-bin"), "{headers:?}");
    })
    .await;
}

#[tokio::test]
async fn dropped_records_are_told_as_rejected() {
    local(async {
        let full = FullPolicy::Drop(DropPolicy::Newest);
        let listen = Listen { full, ..listen(ListenProtocol::Otlp) };
        let budget = Budget::new(100_000);
        let source = Source::listen(&listen, FRAMING, &budget).unwrap();
        let _held = budget.take_anyway(100_000);
        let (headers, answer) = call(&source, EXPORT, frame(0, &logs().encode_to_vec())).await;
        assert_eq!(status(&headers), "0");
        let answer = Accepted::decode(&answer[5..]).unwrap();
        assert_eq!(answer.partial_success.unwrap().rejected, 2);
        assert_eq!(source.status().dropped_records, 2);
    })
    .await;
}

#[tokio::test]
async fn records_come_over_http_as_protobuf_and_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs");
    std::fs::write(&path, logs().encode_to_vec()).unwrap();
    let file = format!("@{}", path.display());
    local(async {
        let source = start(&listen(ListenProtocol::Otlp));
        let url = format!("http://{}/v1/logs", at(&source));
        for (kind, data, code) in [
            ("application/x-protobuf", file.as_str(), "200"),
            ("application/json", LOGS_JSON, "200"),
            ("application/json", "{\"resourceLogs\":1}", "400"),
            ("text/plain", "x", "415"),
        ] {
            let kind = format!("content-type: {kind}");
            let args = [
                "-sS",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "-H",
                &kind,
                "--data-binary",
                data,
                &url,
            ];
            assert_eq!(command("curl", &args).await, code, "{kind}");
            if code == "200" {
                assert_logs(&chunk(&source).await);
            }
        }
    })
    .await;
}
