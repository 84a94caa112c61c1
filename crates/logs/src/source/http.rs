//! Receiving over HTTP: lines, JSON, and OTLP with gRPC.
//!
//! `200` (or gRPC `OK`) says that everything is in memory, within the budget.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::io::Cursor;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::WithTrailers;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pillion_model::logs::ListenProtocol;
use serde::de::IgnoredAny;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, join, split};
use tokio::time::timeout;

use super::body::{self, Refusal};
use super::intake::{Content, Feed, Intake};
use super::stream::TextFramer;
use super::{Framing, Peer, Texts, otlp};
use crate::tokens::Tokens;

/// From a connection's beginning, or the end of a response, to the next head: also how long a
/// connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Requests at a time on an HTTP/2 connection.
const STREAMS: u32 = 32;
/// What an HTTP/2 connection begins with (RFC 9113 §3.4), as far as no other does.
const PREFACE: &[u8; 4] = b"PRI ";
/// After how many seconds who finds no room may come again.
pub(super) const COME_AGAIN_SECONDS: i64 = 1;

/// An answer: always short, and with trailers where gRPC wants them.
pub(super) type Answer = Response<Whole>;
type Whole = WithTrailers<Full<Bytes>, Ready<Option<Result<HeaderMap, Infallible>>>>;

/// Serves a connection until it or the intake ends.
pub(super) async fn serve<S>(socket: S, peer: Peer, protocol: ListenProtocol, intake: Rc<Intake>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (mut reader, writer) = split(socket);
    let mut first = Vec::new();
    let begin = async {
        while protocol == ListenProtocol::Otlp && first.len() < PREFACE.len() {
            let mut byte = [0];
            let read = reader.read(&mut byte).await;
            if !matches!(read, Ok(1)) {
                break;
            }
            first.extend_from_slice(&byte);
            if !PREFACE.starts_with(&first) {
                break;
            }
        }
    };
    tokio::select! {
        begun = timeout(HEAD_TIMEOUT, begin) => if begun.is_err() { return },
        () = intake.closing() => return,
    }
    let is_h2 = first == PREFACE;
    let io = TokioIo::new(join(Cursor::new(first).chain(reader), writer));
    let inner = intake.clone();
    let service = service_fn(move |request| {
        let intake = inner.clone();
        async move { Ok::<_, Infallible>(answer(request, protocol, &intake, peer).await) }
    });
    // A client that breaks off, or sends garbage, got its answer from hyper.
    if is_h2 {
        let connection = http2::Builder::new(Local)
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .keep_alive_interval(HEAD_TIMEOUT)
            .serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            _ended = &mut connection => {}
            () = intake.closing() => {
                connection.as_mut().graceful_shutdown();
                let _ended = connection.await;
            }
        }
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            _ended = &mut connection => {}
            () = intake.closing() => {
                connection.as_mut().graceful_shutdown();
                let _ended = connection.await;
            }
        }
    }
}

/// Spawns on this thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

async fn answer(
    request: Request<Incoming>,
    protocol: ListenProtocol,
    intake: &Rc<Intake>,
    peer: Peer,
) -> Answer {
    if protocol == ListenProtocol::Otlp {
        return otlp::answer(request, intake, peer).await;
    }
    match accept(request, intake, peer).await {
        Ok(()) => respond(StatusCode::OK, "", Bytes::new()),
        Err(refusal) => refuse(&refusal, intake),
    }
}

async fn accept(
    request: Request<Incoming>,
    intake: &Rc<Intake>,
    peer: Peer,
) -> Result<(), Refusal> {
    if request.method() != Method::POST {
        return Err(Refusal::Method);
    }
    let (head, body) = request.into_parts();
    let (bytes, charge) = body::read(&head.headers, body, intake).await?;
    let texts = texts(media_type(&head.headers), &bytes, intake.framing())?;
    // From here on the texts are what counts.
    drop((bytes, charge));
    if !texts.is_empty() {
        Feed::new(intake, None).try_give(Content::Texts(texts), peer)?;
    }
    Ok(())
}

/// The type of a body, without its parameters.
pub(super) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim()
}

/// The texts of a body: what is said to be JSON is one value, or a list of them, or one on each line;
/// everything else is lines.
fn texts(media_type: &str, bytes: &[u8], framing: Framing) -> Result<Texts, Refusal> {
    let mut texts = Texts::default();
    let is_json = media_type.eq_ignore_ascii_case("application/json");
    let whole = std::str::from_utf8(bytes).ok().filter(|_| is_json);
    match whole.map(|text| (text, serde_json::from_str::<IgnoredAny>(text))) {
        Some((text, Ok(_))) if text.trim_start().starts_with('[') => {
            let mut tokens = Tokens::new(text);
            tokens.next();
            while let Some(element) = tokens.value().and_then(|range| text.get(range)) {
                if element != "]" {
                    texts.push(element.as_bytes(), framing.line_bytes);
                }
            }
            return Ok(texts);
        }
        Some((text, Ok(_))) => {
            texts.push(text.trim().as_bytes(), framing.line_bytes);
            return Ok(texts);
        }
        Some((text, Err(error))) if !is_json_lines(text) => {
            return Err(Refusal::Bad(format!("the body is no JSON: {error}")));
        }
        None if is_json => return Err(Refusal::Bad("the body is no UTF-8".to_owned())),
        Some(_) | None => {}
    }
    let mut framer = TextFramer::lines(framing);
    framer.take(bytes, &mut texts);
    framer.flush(&mut texts);
    Ok(texts)
}

/// Whether every line is JSON, as some senders have it under the name of JSON.
fn is_json_lines(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.all(|line| serde_json::from_str::<IgnoredAny>(line).is_ok())
}

/// Says no in plain text.
fn refuse(refusal: &Refusal, intake: &Intake) -> Answer {
    let text = format!("{refusal}\n");
    let mut answer = respond(note(refusal, intake), "text/plain; charset=utf-8", text.into());
    decorate(refusal, answer.headers_mut());
    answer
}

/// Headers that some refusals have.
pub(super) fn decorate(refusal: &Refusal, headers: &mut HeaderMap) {
    match refusal {
        Refusal::Busy => {
            headers.insert(RETRY_AFTER, HeaderValue::from(COME_AGAIN_SECONDS));
        }
        Refusal::Method => {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        Refusal::TooLarge
        | Refusal::Slow
        | Refusal::Encoding
        | Refusal::MediaType
        | Refusal::NotFound
        | Refusal::Bad(_) => {}
    }
}

/// Counts a refusal, and says its status.
pub(super) fn note(refusal: &Refusal, intake: &Intake) -> StatusCode {
    let is_busy = matches!(refusal, Refusal::Busy);
    intake.note(|status| {
        let count = if is_busy { &mut status.busy } else { &mut status.bad };
        *count += 1;
    });
    match refusal {
        Refusal::Busy => StatusCode::TOO_MANY_REQUESTS,
        Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Slow => StatusCode::REQUEST_TIMEOUT,
        Refusal::Encoding | Refusal::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::NotFound => StatusCode::NOT_FOUND,
        Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::Bad(_) => StatusCode::BAD_REQUEST,
    }
}

pub(super) fn respond(status: StatusCode, media_type: &'static str, body: Bytes) -> Answer {
    respond_with(status, media_type, body, None)
}

pub(super) fn respond_with(
    status: StatusCode,
    media_type: &'static str,
    body: Bytes,
    trailers: Option<HeaderMap>,
) -> Answer {
    let body = Full::new(body).with_trailers(ready(trailers.map(Ok)));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if !media_type.is_empty() {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    }
    response
}

#[cfg(test)]
mod tests {
    use pillion_model::logs::Encoding;

    use super::*;

    #[test]
    fn a_body_is_lines_or_json_as_its_type_says() {
        let framing = Framing { encoding: Encoding::Utf8, line_bytes: 100 };
        let (json, lines) = ("application/json", "application/x-ndjson");
        for (media_type, body, expected) in [
            (lines, "{\"a\":1}\r\n{\"b\":2}", vec!["{\"a\":1}", "{\"b\":2}"]),
            ("text/plain", "one\ntwo\n", vec!["one", "two"]),
            ("", "[1,\n2]", vec!["[1,", "2]"]),
            (json, " {\n\"a\": [1]\n}\n", vec!["{\n\"a\": [1]\n}"]),
            (
                json,
                "[{\"a\":[1,{}]}, {\n\"b\":\"]\"} ,3,\"x\"]",
                vec!["{\"a\":[1,{}]}", "{\n\"b\":\"]\"}", "3", "\"x\""],
            ),
            (json, "[]", vec![]),
            (json, "{\"a\":1}\n\n{\"b\":2}\n", vec!["{\"a\":1}", "", "{\"b\":2}"]),
        ] {
            let found = texts(media_type, body.as_bytes(), framing).unwrap();
            let found: Vec<_> =
                found.iter().map(|text| std::str::from_utf8(text.bytes).unwrap()).collect();
            assert_eq!(found, expected, "{body}");
        }
        for bad in ["{\"a\":}", "{\"a\":1}\n{", "\u{feff}{}"] {
            assert!(matches!(texts(json, bad.as_bytes(), framing), Err(Refusal::Bad(_))), "{bad}");
        }
        assert!(matches!(texts(json, b"\"\xff\"", framing), Err(Refusal::Bad(_))));
    }
}
