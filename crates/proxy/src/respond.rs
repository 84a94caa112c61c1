//! Response heads: those of upstreams with what Pillion changes in them, and Pillion's own, marked
//! as such with the reason.

use std::future::poll_fn;
use std::io::Write;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use pillion_http1::{Field, FieldSet};
use pillion_model::Reason;
use pillion_model::reason::Facts;
use pillion_model::snapshot::Direction;
use pillion_runtime::access_log::Protocol;
use tokio::time::Instant;

use crate::downstream::{Downstream, H1Downstream, H2Downstream};
use crate::exchange::{Exchange, Next};
use crate::relay::{Encoding, Flow};
use crate::request::{
    Request, copy_to_map, drop_named, put_in_map, put_line, put_own, write_fields,
};

/// How long a client may take to read an answer of ours.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A borrowed response head, of either protocol.
pub(crate) struct View<'a> {
    pub(crate) status: u16,
    pub(crate) phrase: &'a [u8],
    pub(crate) fields: &'a [Field<'a>],
    /// Fields that concern one hop alone.
    pub(crate) drop: FieldSet,
    /// `Content-Length` and `Transfer-Encoding`.
    pub(crate) framing_fields: FieldSet,
    /// The head's own bytes, where it came over HTTP/1.
    pub(crate) raw: Option<&'a [u8]>,
    pub(crate) is_upgrade: bool,
}

/// How a response is framed for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Framed {
    pub(crate) encoding: Encoding,
    /// Whether the upstream's own framing fields no longer hold.
    pub(crate) reframed: bool,
    /// Whether the client may send another request on the connection.
    pub(crate) keep: bool,
}

/// Appends the head for an HTTP/1 client.
pub(crate) fn write_h1(out: &mut Vec<u8>, exchange: &Exchange, view: &View<'_>, framed: Framed) {
    let mut drop = view.drop;
    if framed.reframed {
        drop = drop.union(view.framing_fields);
    }
    drop_changed(&mut drop, exchange, view);
    put_status_line(out, view.status, view.phrase);
    write_fields(out, view.raw, view.fields, drop);
    additions(exchange, view, &mut |name, value| put_line(out, name, value));
    if framed.encoding == Encoding::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    out.extend_from_slice(if view.is_upgrade {
        b"connection: upgrade\r\n\r\n"
    } else if !framed.keep {
        b"connection: close\r\n\r\n"
    } else if exchange.protocol == Protocol::Http10 {
        b"connection: keep-alive\r\n\r\n"
    } else {
        b"\r\n"
    });
}

/// Appends an interim head for an HTTP/1.1 client.
pub(crate) fn write_interim(out: &mut Vec<u8>, view: &View<'_>) {
    put_status_line(out, view.status, view.phrase);
    write_fields(out, view.raw, view.fields, view.drop);
    out.extend_from_slice(b"\r\n");
}

fn put_status_line(out: &mut Vec<u8>, status: u16, phrase: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(phrase);
    out.extend_from_slice(b"\r\n");
}

/// The head for an HTTP/2 client.
pub(crate) fn to_h2(exchange: &Exchange, view: &View<'_>) -> Result<http::Response<()>, Reason> {
    let mut drop = view.drop;
    drop_changed(&mut drop, exchange, view);
    drop_named(&mut drop, view.fields, "transfer-encoding");
    let mut headers = HeaderMap::with_capacity(view.fields.len() + 2);
    copy_to_map(&mut headers, view.raw, view.fields, drop);
    additions(exchange, view, &mut |name, value| put_in_map(&mut headers, name, value));
    let mut response = http::Response::new(());
    *response.status_mut() =
        StatusCode::from_u16(view.status).map_err(|_| Reason::UpstreamMalformed)?;
    *response.headers_mut() = headers;
    Ok(response)
}

fn drop_changed(drop: &mut FieldSet, exchange: &Exchange, view: &View<'_>) {
    let Some(route) = exchange.route() else { return };
    let ops = &route.config.response_headers;
    for name in ops.remove.iter().chain(ops.set.iter().map(|(name, _)| name)) {
        drop_named(drop, view.fields, name);
    }
}

/// Everything that Pillion adds to the response of an upstream.
fn additions(exchange: &Exchange, view: &View<'_>, put: &mut dyn FnMut(&str, &[u8])) {
    // A proxy has to say that it was there, a gateway may (RFC 9110 §7.6.3): the app's own clients
    // need not know how it is served.
    let ops = exchange.route().map(|route| &route.config.response_headers);
    if exchange.direction() == Direction::Outbound {
        put_own(ops, "via", exchange.worker.via(exchange.protocol), put);
    }
    if !view.fields.iter().any(|field| field.name.eq_ignore_ascii_case("x-request-id")) {
        put_own(ops, "x-request-id", exchange.texts.request_id(), put);
    }
    if let Some(ops) = ops {
        for (name, value) in ops.set.iter().chain(&ops.add) {
            put(name, value.as_bytes());
        }
    }
}

/// Answers in place of the upstream, where the client can still be answered.
///
/// `body` is the request's: a connection whose request was not read to its end is not kept.
pub(crate) async fn refuse(
    exchange: &mut Exchange,
    reason: Reason,
    request: &Request,
    body: &Flow,
    downstream: &mut Downstream<'_>,
) -> Next {
    exchange.reason = Some(reason);
    if reason == Reason::DownstreamAbort {
        // Logged as the convention has it; nobody is there to read it.
        exchange.status = reason.status();
        return Next::Close;
    }
    let is_grpc = request.is_grpc;
    exchange.status = if is_grpc { 200 } else { reason.status() };
    match downstream {
        Downstream::H1(h1) => {
            let keep = request.keep_alive && body.is_read() && !exchange.is_draining();
            let answer = own_h1(exchange, reason, is_grpc, request.facts.is_head, keep);
            send_h1(h1, answer, keep).await
        }
        Downstream::H2(h2) => {
            send_h2(exchange, h2, reason, is_grpc);
            Next::Close
        }
    }
}

async fn send_h1(h1: &mut H1Downstream, answer: Vec<u8>, keep: bool) -> Next {
    let mut flow = Flow::to_h1(pillion_http1::Framing::Empty, Encoding::Verbatim, answer, 0);
    h1.timer.set(Instant::now() + ANSWER_TIMEOUT);
    let sent = poll_fn(|cx| {
        if h1.timer.poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        flow.poll_flush(cx, &mut h1.stream).map(|written| written.is_ok())
    });
    match (sent.await, keep) {
        (true, true) => Next::KeepAlive,
        (true, false) => Next::Linger,
        (false, _) => Next::Close,
    }
}

/// An answer of Pillion's own for a request that could not even be read.
pub(crate) async fn refuse_unread(
    exchange: &mut Exchange,
    reason: Reason,
    h1: &mut H1Downstream,
) -> Next {
    exchange.reason = Some(reason);
    exchange.status = reason.status();
    let answer = own_h1(exchange, reason, false, false, false);
    send_h1(h1, answer, false).await
}

fn own_h1(
    exchange: &Exchange,
    reason: Reason,
    is_grpc: bool,
    is_head: bool,
    keep: bool,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let text = if is_grpc { String::new() } else { body_text(reason) };
    let status = StatusCode::from_u16(exchange.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let phrase = status.canonical_reason().unwrap_or_default();
    put_status_line(&mut out, status.as_u16(), phrase.as_bytes());
    own_fields(exchange, reason, is_grpc, &mut |name, value| put_line(&mut out, name, value));
    put_line(&mut out, "content-length", itoa::Buffer::new().format(text.len()).as_bytes());
    if !keep {
        put_line(&mut out, "connection", b"close");
    } else if exchange.protocol == Protocol::Http10 {
        put_line(&mut out, "connection", b"keep-alive");
    }
    out.extend_from_slice(b"\r\n");
    if !is_head {
        out.extend_from_slice(text.as_bytes());
    }
    out
}

fn send_h2(exchange: &mut Exchange, h2: &mut H2Downstream, reason: Reason, is_grpc: bool) {
    let mut headers = HeaderMap::with_capacity(8);
    own_fields(exchange, reason, is_grpc, &mut |name, value| {
        put_in_map(&mut headers, name, value);
    });
    let mut response = http::Response::new(());
    *response.status_mut() = StatusCode::from_u16(exchange.status).unwrap_or_default();
    *response.headers_mut() = headers;
    let text = if is_grpc { String::new() } else { body_text(reason) };
    // What fails here fails because the stream is gone, and then nobody needs the answer.
    if let Ok(mut send) = h2.respond.send_response(response, text.is_empty())
        && !text.is_empty()
    {
        drop(send.send_data(Bytes::from(text), true));
    }
}

/// The fields of every answer that is Pillion's own (rule: it says so, with the reason).
fn own_fields(
    exchange: &Exchange,
    reason: Reason,
    is_grpc: bool,
    put: &mut dyn FnMut(&str, &[u8]),
) {
    let facts = reason.facts();
    if is_grpc {
        put("content-type", b"application/grpc");
        put("grpc-status", grpc_status(facts).as_bytes());
        put("grpc-message", format!("pillion: {}: {}", facts.label, facts.text).as_bytes());
    } else {
        put("content-type", b"text/plain; charset=utf-8");
    }
    let mut status = exchange.worker.lend();
    // Writing to memory does not fail.
    drop(write!(status, "pillion; error={}; reason={}", facts.error, facts.label));
    put("proxy-status", &status);
    exchange.worker.take_back(status);
    if !exchange.texts.request_id().is_empty() {
        put("x-request-id", exchange.texts.request_id());
    }
    if let Some(seconds) = retry_after(reason) {
        put("retry-after", seconds);
    }
}

fn body_text(reason: Reason) -> String {
    let facts = reason.facts();
    format!("pillion: {}: {}\n", facts.label, facts.text)
}

/// What passes by itself in a moment is worth asking again.
fn retry_after(reason: Reason) -> Option<&'static [u8]> {
    matches!(reason, Reason::Draining | Reason::AppNotListening).then_some(b"1")
}

/// The status of gRPC's own that stands for an HTTP status ("HTTP to gRPC Status Code Mapping" of
/// the gRPC protocol), as clients would conclude it themselves.
fn grpc_status(facts: Facts) -> &'static str {
    match facts.status {
        400 | 431 => "13",
        404 | 501 => "12",
        408 | 504 => "4",
        500 => "13",
        _ => "14",
    }
}
