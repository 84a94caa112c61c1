//! HTTP/1 from clients: request heads read, one exchange after another.

use std::future::poll_fn;
use std::mem;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use pillion_http1::{Fields, Framing, HeadError, Parsed, RequestFacts, Version, parse_request};
use pillion_model::Reason;
use pillion_model::snapshot::UpstreamProtocol;
use pillion_runtime::access_log::Protocol;

use crate::connection::{self, Context};
use crate::downstream::{Downstream, H1Downstream};
use crate::exchange::{self, Begun, Exchange, Next};
use crate::relay::{Encoding, Flow};
use crate::request::{self, Request, View};
use crate::respond;
use crate::state::ListenerState;

/// How much is read at once where a request head may come.
pub(crate) const READ_HEAD: usize = 64 * 1024;
/// A client that is still sending gets this long, and may send this much, to read our last answer
/// before the connection is reset under it.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// What came of waiting for a request.
enum Arrived {
    Request(Box<Begun>),
    /// Something that is no request.
    Refused(Reason),
    /// Nothing more will come.
    End,
}

/// Serves a connection until it ends.
pub(crate) async fn serve(mut h1: H1Downstream, context: Rc<Context>) {
    let mut served: u64 = 0;
    loop {
        let next = match next_request(&mut h1, &context, served).await {
            Arrived::End => return,
            Arrived::Refused(reason) => Box::pin(refuse(&mut h1, &context, reason)).await,
            Arrived::Request(begun) => {
                let mut downstream = Downstream::H1(&mut h1);
                // Boxed: between exchanges a connection keeps nothing of this.
                Box::pin(exchange::run(begun, &mut downstream)).await
            }
        };
        match next {
            Next::KeepAlive => served += 1,
            Next::Close => return,
            Next::Reset => return h1.stream.reset_on_close(),
            Next::Linger => return Box::pin(linger(&mut h1, &context)).await,
        }
    }
}

async fn refuse(h1: &mut H1Downstream, context: &Context, reason: Reason) -> Next {
    let listener = context.listener();
    let mut exchange = Exchange::new(&context.worker, &listener, Protocol::Http11, &context.peer);
    drop(listener);
    let next = respond::refuse_unread(&mut exchange, reason, h1).await;
    exchange.is_over = true;
    next
}

/// Waits for the next request; the first wait was over when the protocol was told.
async fn next_request(h1: &mut H1Downstream, context: &Context, served: u64) -> Arrived {
    let mut head_began = false;
    let mut is_leaving = false;
    let mut reader = HeadReader { context, listener: context.listener(), served, parsed: 0 };
    h1.timer.set(context.worker.recent() + reader.listener.config().idle_timeout);
    poll_fn(|cx| {
        if let Poll::Ready(arrived) = reader.poll(cx, h1) {
            return Poll::Ready(arrived);
        }
        if !h1.unread.is_empty() {
            if !head_began {
                head_began = true;
                h1.timer.set(context.worker.now() + reader.listener.config().head_timeout);
            }
            return h1.timer.poll(cx).map(|()| Arrived::Refused(Reason::DownstreamHeadTimeout));
        }
        if context.is_draining() && !is_leaving {
            is_leaving = true;
            h1.timer.set(context.worker.now() + connection::FAREWELL);
        }
        h1.timer.poll(cx).map(|()| Arrived::End)
    })
    .await
}

struct HeadReader<'a> {
    context: &'a Context,
    /// Of this moment: a request that comes after a reload is served by the new state, however
    /// long its connection was there.
    listener: Rc<ListenerState>,
    served: u64,
    /// Bytes of `unread` that are known to be no whole head.
    parsed: usize,
}

impl HeadReader<'_> {
    fn poll(&mut self, cx: &mut TaskContext<'_>, h1: &mut H1Downstream) -> Poll<Arrived> {
        self.listener = self.context.listener();
        if h1.unread.len() > self.parsed {
            let data = mem::take(&mut h1.unread);
            if let Some(arrived) = self.take(&data, h1) {
                return Poll::Ready(arrived);
            }
        }
        loop {
            let mut bulk = self.context.worker.bulk.borrow_mut();
            let room = bulk.get_mut(..READ_HEAD).unwrap_or_default();
            let count = match ready!(h1.stream.poll_read(cx, room)) {
                Ok(count) if count > 0 => count,
                _ if h1.unread.is_empty() => return Poll::Ready(Arrived::End),
                // Half a request: nobody is left to be told, but it is counted.
                _ => return Poll::Ready(Arrived::Refused(Reason::DownstreamAbort)),
            };
            let fresh = room.get(..count).unwrap_or_default();
            let arrived = if h1.unread.is_empty() {
                self.take(fresh, h1)
            } else if self.cannot_end(h1.unread.len() + count, fresh) {
                h1.unread.extend_from_slice(fresh);
                None
            } else {
                let mut data = mem::take(&mut h1.unread);
                data.extend_from_slice(fresh);
                self.take(&data, h1)
            };
            if let Some(arrived) = arrived {
                return Poll::Ready(arrived);
            }
        }
    }

    /// Whether these bytes cannot be the end of a head, so that it need not be parsed again: a
    /// client that sends a byte at a time would have us parse as often. What ends a head ends a
    /// line, and lines are few.
    fn cannot_end(&self, len: usize, fresh: &[u8]) -> bool {
        len < self.listener.snapshot.limits.head_bytes && !fresh.contains(&b'\n')
    }

    /// Reads a request from the start of `data`, and leaves in `unread` what comes after it; all of
    /// it if there is no whole head.
    fn take(&mut self, data: &[u8], h1: &mut H1Downstream) -> Option<Arrived> {
        let limits = self.context.worker.head_limits(&self.listener);
        let mut fields = Fields::new();
        let head = match parse_request(data, &limits, &mut fields) {
            Ok(Parsed::Complete(head)) => head,
            Ok(Parsed::Partial) => {
                self.parsed = data.len();
                h1.unread.extend_from_slice(data);
                return None;
            }
            Err(error) => {
                self.context.worker.say_malformed("request", &error);
                return Some(Arrived::Refused(refusal(error)));
            }
        };
        let listener = &self.listener;
        let protocol = match head.version {
            Version::Http10 => Protocol::Http10,
            Version::Http11 => Protocol::Http11,
        };
        let mut exchange =
            Exchange::new(&self.context.worker, listener, protocol, &self.context.peer);
        let most = listener.snapshot.limits.requests_per_connection;
        let is_last = most > 0 && self.served + 1 >= most;
        let view = View {
            method: head.method,
            authority: head.authority,
            path: head.path,
            fields: head.fields,
            drop: head.drop,
            raw: data.get(..head.len),
            facts: RequestFacts {
                is_head: head.method == b"HEAD",
                is_connect: head.method == b"CONNECT",
                upgrade: head.upgrade,
            },
            keep_alive: head.keep_alive && !is_last,
        };
        let rest = data.get(head.len..).unwrap_or_default();
        let (request, mut body, mut verdict) = begin(&mut exchange, &view, head.body);
        match body.preload(rest) {
            Ok(taken) => h1.unread.extend_from_slice(rest.get(taken..).unwrap_or_default()),
            Err(_) => verdict = Err(Reason::DownstreamMalformed),
        }
        Some(Arrived::Request(Box::new(Begun { exchange, request, body, verdict })))
    }
}

/// Decides about a request and writes the head that goes upstream.
fn begin(
    exchange: &mut Exchange,
    view: &View<'_>,
    framing: Framing,
) -> (Request, Flow, Result<(), Reason>) {
    let (plan, verdict) = request::plan(exchange, view);
    let mut request = request::facts(view, plan);
    let replay = exchange.replay();
    let to_h2 =
        exchange.pool().is_some_and(|(_, config)| config.protocol == UpstreamProtocol::Http2);
    if verdict.is_ok() && to_h2 {
        let mut body = Flow::to_h2(framing, replay);
        if body.is_read() {
            body.set_empty();
        }
        let head = request::to_h2(exchange, view, &request.plan);
        let verdict = head.map(|head| request.h2_head = Some(Box::new(head)));
        return (request, body, verdict);
    }
    let mut out = exchange.worker.lend();
    if verdict.is_ok() {
        request::write_h1(&mut out, exchange, view, &request.plan, false);
    }
    (request, Flow::to_h1(framing, Encoding::Verbatim, out, replay), verdict)
}

fn refusal(error: HeadError) -> Reason {
    match error {
        HeadError::Malformed(_) => Reason::DownstreamMalformed,
        HeadError::TooLarge | HeadError::TooManyFields => Reason::DownstreamHeadTooLarge,
        HeadError::Unsupported(_) => Reason::DownstreamUnsupported,
    }
}

/// Lets the client read our last answer: a connection that is closed while bytes are on their way
/// to us is reset, and the reset may overtake the answer (RFC 9112 §9.6).
async fn linger(h1: &mut H1Downstream, context: &Context) {
    let mut left = LINGER_BYTES;
    h1.timer.set(context.worker.now() + LINGER);
    poll_fn(|cx| {
        // An end that cannot be told need not be.
        if h1.stream.poll_shutdown(cx).is_pending() {
            return h1.timer.poll(cx);
        }
        loop {
            let mut bulk = context.worker.bulk.borrow_mut();
            match h1.stream.poll_read(cx, &mut bulk) {
                Poll::Ready(Ok(count)) if count > 0 && count < left => left -= count,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return h1.timer.poll(cx),
            }
        }
    })
    .await;
}
