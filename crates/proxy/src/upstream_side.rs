//! The endpoint's side of an exchange.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use pillion_http1::{
    Field, FieldSet, Fields, Framing, HeadError, Parsed, ResponseHead, parse_response,
};
use pillion_model::Reason;
use pillion_runtime::access_log::Protocol;
use pillion_traffic::retry::Sent;
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::attempt::{Failed, Serving};
use crate::downstream::Downstream;
use crate::relay::{Encoding, Flow, Sink, Source};
use crate::request::drop_named;
use crate::respond::{self, Framed};
use crate::stream::is_lost;
use crate::upstream::{H2Lease, Lease};

/// Where a request goes and its response comes from.
pub(crate) enum UpstreamSide {
    H1 { lease: Lease, unread: Vec<u8> },
    H2(Box<H2Side>),
}

/// A stream of an HTTP/2 connection.
pub(crate) struct H2Side {
    response: ResponseFuture,
    send: Option<SendStream<Bytes>>,
    receive: Option<RecvStream>,
    lease: H2Lease,
}

/// A final response head, which is on its way to the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Whether the client may send another request.
    pub(crate) keep: bool,
    /// Whether the endpoint's connection can carry another exchange.
    pub(crate) upstream_keep: bool,
    /// Whether the end of the client's connection ends the body.
    pub(crate) until_close: bool,
    pub(crate) is_upgrade: bool,
}

/// What the bytes so far amount to.
enum Step {
    /// More bytes are needed.
    Partial,
    /// An interim head of this many bytes went on to the client; the next follows.
    Interim(usize),
    /// A final head of this many bytes.
    Final(usize, Head),
}

impl UpstreamSide {
    pub(crate) fn h1(lease: Lease) -> Self {
        Self::H1 { lease, unread: Vec::new() }
    }

    /// Opens a stream with the request head; `None` on a connection that takes no more streams,
    /// which is then not used again.
    pub(crate) fn open_h2(
        lease: H2Lease,
        head: &http::Request<()>,
        body: &mut Flow,
    ) -> Option<Self> {
        let no_body = body.is_read() && body.is_flushed();
        let Ok((response, send)) = lease.sender().send_request(head.clone(), no_body) else {
            lease.retire();
            return None;
        };
        body.set_begun();
        Some(Self::H2(Box::new(H2Side { response, send: Some(send), receive: None, lease })))
    }

    /// Where the request body goes.
    pub(crate) fn sink(&mut self) -> Option<Sink<'_>> {
        match self {
            Self::H1 { lease, .. } => Some(Sink::H1(&mut lease.stream)),
            Self::H2(h2) => h2.send.as_mut().map(Sink::H2),
        }
    }

    /// Where the response body comes from.
    pub(crate) fn source(&mut self) -> Option<Source<'_>> {
        match self {
            Self::H1 { lease, unread } => Some(Source::H1(&mut lease.stream, unread)),
            Self::H2(h2) => h2.receive.as_mut().map(Source::H2),
        }
    }

    /// Keeps the connection, if nothing came after the response.
    pub(crate) fn give_back(self, now: Instant) {
        if let Self::H1 { lease, unread } = self
            && unread.is_empty()
        {
            lease.give_back(now);
        }
    }

    /// Ends it at once.
    pub(crate) fn abort(mut self) {
        if let Self::H2(h2) = &mut self
            && let Some(send) = &mut h2.send
        {
            send.send_reset(h2::Reason::CANCEL);
        }
    }

    /// Ready with the final response head, once it is on its way to the client.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        serving: &mut Serving<'_, '_>,
        response: &mut Flow,
    ) -> Poll<Result<Head, Failed>> {
        let mut relay = HeadRelay { serving, response };
        match self {
            Self::H1 { lease, unread } => relay.poll_h1(cx, lease, unread),
            Self::H2(h2) => relay.poll_h2(cx, h2),
        }
    }
}

/// Takes a response head from the endpoint to the client.
struct HeadRelay<'s, 'a, 'd> {
    serving: &'s mut Serving<'a, 'd>,
    response: &'s mut Flow,
}

impl HeadRelay<'_, '_, '_> {
    fn poll_h1(
        &mut self,
        cx: &mut Context<'_>,
        lease: &mut Lease,
        unread: &mut Vec<u8>,
    ) -> Poll<Result<Head, Failed>> {
        let worker = std::rc::Rc::clone(&self.serving.exchange.worker);
        loop {
            // Held back while the client has not taken the interim responses before it.
            ready!(self.poll_interim(cx))?;
            let mut bulk = worker.bulk.borrow_mut();
            let count = match ready!(lease.stream.poll_read(cx, &mut bulk)) {
                Err(error) if is_lost(&error) => {
                    return Poll::Ready(Err(self.fail(Reason::UpstreamLost)));
                }
                Ok(0) | Err(_) => {
                    let reason = if unread.is_empty() {
                        Reason::UpstreamClosed
                    } else {
                        Reason::UpstreamTruncated
                    };
                    return Poll::Ready(Err(self.fail(reason)));
                }
                Ok(count) => count,
            };
            self.serving.exchange.awaited_head();
            let fresh = bulk.get(..count).unwrap_or_default();
            let head = if unread.is_empty() {
                self.take(cx, fresh, unread)?
            } else {
                unread.extend_from_slice(fresh);
                let data = mem::take(unread);
                self.take(cx, &data, unread)?
            };
            if let Some(head) = head {
                return Poll::Ready(Ok(head));
            }
        }
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        let Downstream::H1(h1) = &mut *self.serving.downstream else { return Poll::Ready(Ok(())) };
        let written = self.response.poll_interim(cx, &mut h1.stream);
        written.map_err(|_| Failed::Stop(Reason::DownstreamAbort))
    }

    fn fail(&mut self, reason: Reason) -> Failed {
        self.serving.judge(reason)
    }

    /// Takes heads from the start of `data`; what is not taken is left in `unread`.
    fn take(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        unread: &mut Vec<u8>,
    ) -> Result<Option<Head>, Failed> {
        let mut rest = data;
        loop {
            match self.step(rest)? {
                Step::Partial => {
                    unread.extend_from_slice(rest);
                    return Ok(None);
                }
                Step::Interim(len) => rest = rest.get(len..).unwrap_or_default(),
                Step::Final(len, head) => {
                    let rest = rest.get(len..).unwrap_or_default();
                    let taken = self.start_body(cx, rest)?;
                    unread.extend_from_slice(rest.get(taken..).unwrap_or_default());
                    return Ok(Some(head));
                }
            }
            if rest.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Passes on what came with the head. Trouble shows again when the body is relayed.
    fn start_body(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Result<usize, Failed> {
        let verbatim = self.response.encoding == Encoding::Verbatim;
        let taken = match &mut *self.serving.downstream {
            Downstream::H1(h1) if verbatim => self.response.offer(cx, data, &mut h1.stream),
            Downstream::H1(_) | Downstream::H2(_) => self.response.decode(data),
        };
        taken.map_err(|broken| {
            Failed::Stop(match broken {
                crate::relay::Break::Sink => Reason::DownstreamAbort,
                _ => Reason::UpstreamMalformed,
            })
        })
    }

    fn step(&mut self, data: &[u8]) -> Result<Step, Failed> {
        let limits = self.serving.exchange.worker.head_limits(&self.serving.exchange.listener);
        let mut fields = Fields::new();
        let head = match parse_response(data, self.serving.request.facts, &limits, &mut fields) {
            Ok(Parsed::Partial) => return Ok(Step::Partial),
            Ok(Parsed::Complete(head)) => head,
            Err(HeadError::TooLarge | HeadError::TooManyFields) => {
                return Err(self.fail(Reason::UpstreamHeadTooLarge));
            }
            Err(error) => {
                self.serving.exchange.worker.say_malformed("response", &error);
                return Err(self.fail(Reason::UpstreamMalformed));
            }
        };
        if head.status < 200 && !head.is_upgrade {
            let view = respond::View {
                status: head.status,
                phrase: head.reason_phrase,
                fields: head.fields,
                drop: head.drop,
                framing_fields: head.framing_fields,
                raw: data.get(..head.len),
                is_upgrade: false,
            };
            self.pass_interim(&view);
            return Ok(Step::Interim(head.len));
        }
        let after = field(head.fields, "retry-after");
        if let Some(wait) = self.serving.judge_status(head.status, after) {
            return Err(Failed::Retry(wait));
        }
        let len = head.len;
        self.begin_h1(data, head).map(|head| Step::Final(len, head))
    }

    /// 100, 102 and 103 go to clients that know them: HTTP/1.0 knows none (RFC 9110 §15.2).
    fn pass_interim(&mut self, view: &respond::View<'_>) {
        match &mut *self.serving.downstream {
            Downstream::H1(_) if self.serving.exchange.protocol == Protocol::Http10 => {}
            Downstream::H1(_) => respond::write_interim(&mut self.response.out, view),
            Downstream::H2(h2) => h2.send_interim(view),
        }
    }

    /// A final head that came over HTTP/1.
    fn begin_h1(&mut self, data: &[u8], head: ResponseHead<'_, '_>) -> Result<Head, Failed> {
        let view = respond::View {
            status: head.status,
            phrase: head.reason_phrase,
            fields: head.fields,
            drop: head.drop,
            framing_fields: head.framing_fields,
            raw: data.get(..head.len),
            is_upgrade: head.is_upgrade,
        };
        let client_11 = self.serving.exchange.protocol == Protocol::Http11;
        let (encoding, reframed) = match &head.body {
            // Chunks for a client that knows none, or an end that only a closed connection tells,
            // which chunks tell better.
            Framing::Chunked(_) if !client_11 => (Encoding::Plain, true),
            Framing::UntilClose if client_11 && !head.is_upgrade => (Encoding::Chunked, true),
            _ => (Encoding::Verbatim, false),
        };
        let until_close = match &head.body {
            Framing::Chunked(_) | Framing::UntilClose => !client_11,
            Framing::Empty | Framing::Length(_) => false,
        };
        let upstream_keep = head.keep_alive;
        self.response.framing = head.body;
        self.begin(&view, encoding, reframed, until_close, upstream_keep)
    }

    fn begin(
        &mut self,
        view: &respond::View<'_>,
        encoding: Encoding,
        reframed: bool,
        until_close: bool,
        upstream_keep: bool,
    ) -> Result<Head, Failed> {
        // Who answers before the end of the request closes the connection: whether the client goes
        // on to send the rest, or another request, is not known.
        let keep = self.serving.request.keep_alive
            && self.serving.body.is_done()
            && !until_close
            && !view.is_upgrade
            && !self.serving.exchange.is_draining();
        let is_h2 = matches!(self.serving.downstream, Downstream::H2(_));
        self.response.encoding = if is_h2 { Encoding::Plain } else { encoding };
        match &mut *self.serving.downstream {
            Downstream::H1(_) => {
                let framed = Framed { encoding, reframed, keep };
                respond::write_h1(&mut self.response.out, self.serving.exchange, view, framed);
            }
            Downstream::H2(h2) => {
                let head = respond::to_h2(self.serving.exchange, view).map_err(Failed::Stop)?;
                let no_body = self.response.is_read();
                let send = h2.respond.send_response(head, no_body);
                let send = send.map_err(|_| Failed::Stop(Reason::DownstreamAbort))?;
                if no_body {
                    self.response.set_empty();
                } else {
                    h2.send = Some(send);
                }
            }
        }
        let is_upgrade = view.is_upgrade;
        Ok(Head { status: view.status, keep, upstream_keep, until_close, is_upgrade })
    }

    fn poll_h2(&mut self, cx: &mut Context<'_>, h2: &mut H2Side) -> Poll<Result<Head, Failed>> {
        // Held back while the client has not taken those before it.
        ready!(self.poll_interim(cx))?;
        while let Poll::Ready(Some(Ok(interim))) = h2.response.poll_informational(cx) {
            if interim.status() == http::StatusCode::SWITCHING_PROTOCOLS {
                // HTTP/2 has no such thing (RFC 9113 §8.6), and a client of HTTP/1 would believe it.
                return Poll::Ready(Err(self.fail(Reason::UpstreamMalformed)));
            }
            self.pass_interim(&h2_view(&interim, &fields_of(interim.headers())));
            ready!(self.poll_interim(cx))?;
        }
        let response = match ready!(Pin::new(&mut h2.response).poll(cx)) {
            Ok(response) => response,
            Err(error) => {
                let (reason, sent) = h2_failure(&error);
                if matches!(reason, Reason::UpstreamClosed | Reason::UpstreamLost) {
                    h2.lease.retire();
                }
                let judged = self.serving.judge_sent(reason, sent);
                return Poll::Ready(Err(judged));
            }
        };
        self.serving.exchange.awaited_head();
        let (parts, receive) = response.into_parts();
        let after = parts.headers.get("retry-after").map(http::HeaderValue::as_bytes);
        let status = parts.status.as_u16();
        if let Some(wait) = self.serving.judge_status(status, after) {
            return Poll::Ready(Err(Failed::Retry(wait)));
        }
        let fields = fields_of(&parts.headers);
        if is_too_large(&fields, self.serving.exchange.listener.snapshot.limits.head_bytes) {
            return Poll::Ready(Err(self.fail(Reason::UpstreamHeadTooLarge)));
        }
        let has_length = parts.headers.contains_key(http::header::CONTENT_LENGTH);
        // Whatever frames follow, in HTTP/1 nothing may (RFC 9112 §6.3).
        let never = self.serving.request.facts.is_head || matches!(status, 204 | 304);
        let no_body = receive.is_end_stream() || never;
        if no_body {
            self.response.set_empty();
        }
        let mut drop = FieldSet::EMPTY;
        if status == 204 {
            drop_named(&mut drop, &fields, "content-length");
        }
        let client_11 = self.serving.exchange.protocol == Protocol::Http11;
        let plain = has_length || no_body || !client_11;
        let view = respond::View {
            status,
            phrase: parts.status.canonical_reason().unwrap_or_default().as_bytes(),
            fields: &fields,
            drop,
            framing_fields: FieldSet::EMPTY,
            raw: None,
            is_upgrade: false,
        };
        let encoding = if plain { Encoding::Plain } else { Encoding::Chunked };
        let until_close = plain && !has_length && !no_body;
        // The flow asks this framing for nothing: an HTTP/2 source says itself when it ends.
        self.response.framing = Framing::UntilClose;
        h2.receive = Some(receive);
        Poll::Ready(self.begin(&view, encoding, false, until_close, true))
    }
}

/// What an HTTP/2 error means, and whether the endpoint may have acted on the request: one that
/// refused the stream, or went away without it, has not (RFC 9113 §8.7).
fn h2_failure(error: &h2::Error) -> (Reason, Sent) {
    if error.reason() == Some(h2::Reason::REFUSED_STREAM) {
        return (Reason::UpstreamReset, Sent::Nothing);
    }
    // The library ends with the peer's GOAWAY those streams alone that it left out.
    if error.is_go_away() && error.is_remote() {
        return (Reason::UpstreamClosed, Sent::Nothing);
    }
    if error.get_io().is_some_and(is_lost) {
        return (Reason::UpstreamLost, Sent::Some);
    }
    if error.is_io() || error.is_go_away() {
        return (Reason::UpstreamClosed, Sent::Some);
    }
    (Reason::UpstreamReset, Sent::Some)
}

/// An interim head that came over HTTP/2.
fn h2_view<'a>(head: &http::Response<()>, fields: &'a [Field<'a>]) -> respond::View<'a> {
    respond::View {
        status: head.status().as_u16(),
        phrase: head.status().canonical_reason().unwrap_or_default().as_bytes(),
        fields,
        drop: FieldSet::EMPTY,
        framing_fields: FieldSet::EMPTY,
        raw: None,
        is_upgrade: false,
    }
}

fn is_too_large(fields: &[Field<'_>], most: usize) -> bool {
    let bytes: usize = fields.iter().map(|field| field.name.len() + field.value.len()).sum();
    bytes > most || fields.len() > pillion_http1::FIELDS_MAX
}

fn field<'a>(fields: &[Field<'a>], name: &str) -> Option<&'a [u8]> {
    fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

/// A header map in the form that both protocols share.
pub(crate) fn fields_of(map: &HeaderMap) -> SmallVec<[Field<'_>; 16]> {
    map.iter().map(|(name, value)| Field { name: name.as_str(), value: value.as_bytes() }).collect()
}
