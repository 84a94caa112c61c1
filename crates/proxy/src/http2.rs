//! HTTP/2 from clients: each stream is an exchange of its own.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Connection, SendResponse};
use http::request::Parts;
use http::uri::Authority;
use pillion_http1::{Field, FieldSet, Framing, RequestFacts};
use pillion_model::Reason;
use pillion_model::snapshot::Limits;
use pillion_runtime::access_log::Protocol;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until, timeout};

use crate::attempt;
use crate::connection::Context;
use crate::downstream::{Downstream, H2Downstream};
use crate::exchange::{self, Begun, Exchange};
use crate::relay::{Encoding, Flow};
use crate::request::{self, Request, View, drop_named};
use crate::stream::Rewound;
use crate::timer::Timer;
use crate::upstream_side::fields_of;
use crate::{Phase, h2_settings};

/// What a field counts beyond its name and value (RFC 9113 §6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// The streams of a connection.
struct Streams {
    open: Cell<usize>,
    ended: Notify,
}

/// Serves a connection until it ends.
pub(crate) async fn serve(stream: Rewound, context: Rc<Context>) {
    let listener = context.listener();
    let settings = h2_settings::server(&listener.snapshot.limits);
    let head_timeout = listener.config().head_timeout;
    let handshake = settings.handshake::<_, Bytes>(stream);
    let Ok(Ok(mut connection)) = timeout(head_timeout, handshake).await else {
        let reason = Reason::DownstreamMalformed;
        context.worker.stats.refused(&context.worker.registry, context.direction, reason);
        return;
    };
    let streams = Rc::new(Streams { open: Cell::new(0), ended: Notify::new() });
    accept(&mut connection, &context, &streams).await;
    // What has begun is finished; the client was told that nothing new is taken.
    connection.graceful_shutdown();
    while let Some(Ok((request, respond))) = connection.accept().await {
        start(&context, &streams, request, respond);
    }
}

/// Takes streams until the connection ends, is idle for too long, has served enough, or drains.
async fn accept(
    connection: &mut Connection<Rewound, Bytes>,
    context: &Rc<Context>,
    streams: &Rc<Streams>,
) {
    let mut served: u64 = 0;
    let mut idle_since = Instant::now();
    loop {
        let listener = context.listener();
        let most = listener.snapshot.limits.requests_per_connection;
        if most > 0 && served >= most {
            return;
        }
        let idle_until = idle_since + listener.config().idle_timeout;
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    served += 1;
                    start(context, streams, request, respond);
                }
                Some(Err(_)) | None => return,
            },
            () = streams.ended.notified() => idle_since = Instant::now(),
            () = sleep_until(idle_until), if streams.open.get() == 0 => return,
            () = context.worker.reached(context.direction, Phase::Draining) => return,
        }
    }
}

fn start(
    context: &Rc<Context>,
    streams: &Rc<Streams>,
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    streams.open.set(streams.open.get() + 1);
    let open = OpenStream(Rc::clone(streams));
    let context = Rc::clone(context);
    drop(spawn_local(async move {
        serve_stream(&context, request, respond).await;
        drop(open);
    }));
}

/// Counts a stream as open until dropped.
struct OpenStream(Rc<Streams>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        if self.0.open.get() == 0 {
            self.0.ended.notify_one();
        }
    }
}

async fn serve_stream(
    context: &Context,
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let (parts, receive) = request.into_parts();
    let listener = context.listener();
    let mut exchange = Exchange::new(&context.worker, &listener, Protocol::Http2, &context.peer);
    drop(listener);
    let (request, body, verdict) = begin(&mut exchange, &parts, &receive).await;
    let mut h2 = H2Downstream { receive, respond, send: None, timer: Timer::default() };
    let mut downstream = Downstream::H2(&mut h2);
    // There is no connection to keep or to close: a stream ends by itself.
    let begun = Box::new(Begun { exchange, request, body, verdict });
    let _next = exchange::run(begun, &mut downstream).await;
}

/// Decides about a request and makes the head that goes upstream.
async fn begin(
    exchange: &mut Exchange,
    parts: &Parts,
    receive: &RecvStream,
) -> (Request, Flow, Result<(), Reason>) {
    let fields = fields_of(&parts.headers);
    let view = view(parts, &fields);
    let mut empty = Flow::to_h1(Framing::Empty, Encoding::Plain, Vec::new(), 0);
    empty.set_empty();
    let (plan, verdict) = request::plan(exchange, &view);
    let checked = check(parts, &view, &exchange.listener.snapshot.limits);
    let speaks_h2 = match checked.and(verdict) {
        Ok(()) => attempt::protocol(exchange, Protocol::Http2).await,
        Err(reason) => Err(reason),
    };
    let replay = exchange.replay();
    let has_body = !receive.is_end_stream();
    match speaks_h2 {
        Err(reason) => (request::facts(&view, plan, exchange, None), empty, Err(reason)),
        Ok(true) => match request::to_h2(exchange, &view, &plan) {
            Ok(head) => {
                let mut body = Flow::to_h2(Framing::UntilClose, replay);
                if !has_body {
                    body.set_empty();
                }
                (request::facts(&view, plan, exchange, Some(head)), body, Ok(()))
            }
            Err(reason) => (request::facts(&view, plan, exchange, None), empty, Err(reason)),
        },
        Ok(false) => {
            let has_length = parts.headers.contains_key(http::header::CONTENT_LENGTH);
            let chunked = has_body && !has_length;
            let mut out = exchange.worker.lend();
            request::write_h1(&mut out, exchange, &view, &plan, chunked);
            let encoding = if chunked { Encoding::Chunked } else { Encoding::Plain };
            let mut body = Flow::to_h1(Framing::UntilClose, encoding, out, replay);
            if !has_body {
                body.set_empty();
            }
            (request::facts(&view, plan, exchange, None), body, Ok(()))
        }
    }
}

/// Refuses what the library lets pass: heads beyond the limits, and what an app of HTTP/1 could
/// read in two ways.
fn check(parts: &Parts, view: &View<'_>, limits: &Limits) -> Result<(), Reason> {
    let fields = view.fields.iter();
    let bytes: usize = fields.map(|f| f.name.len() + f.value.len() + FIELD_OVERHEAD).sum();
    let bytes = bytes + view.path.len() + view.authority.len();
    if bytes > limits.head_bytes || view.fields.len() > limits.head_fields {
        return Err(Reason::DownstreamHeadTooLarge);
    }
    let lengths = view.fields.iter().filter(|field| field.name == "content-length").count();
    if lengths > 1 || !has_clear_authority(parts, view.authority) {
        return Err(Reason::DownstreamMalformed);
    }
    if view.facts.is_connect {
        return Err(Reason::DownstreamUnsupported);
    }
    Ok(())
}

/// Whether the authority, which an app of HTTP/1 gets as `host`, is a host and perhaps a port. The
/// library has parsed `:authority`, but takes one with a user (RFC 9113 §8.3.1 does not).
fn has_clear_authority(parts: &Parts, authority: &[u8]) -> bool {
    let is_parsed = parts.uri.authority().is_some() || authority.is_empty();
    (is_parsed || Authority::try_from(authority).is_ok()) && !authority.contains(&b'@')
}

fn view<'a>(parts: &'a Parts, fields: &'a [Field<'a>]) -> View<'a> {
    let host = || parts.headers.get(http::header::HOST).map_or(&b""[..], |host| host.as_bytes());
    let authority = parts.uri.authority().map_or_else(host, |a| a.as_str().as_bytes());
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut drop = FieldSet::EMPTY;
    // `:authority` is what counts (RFC 9113 §8.3.1); it becomes `host` on the way to HTTP/1.
    drop_named(&mut drop, fields, "host");
    for (at, field) in fields.iter().enumerate() {
        if field.name == "te" && field.value != b"trailers" {
            drop.insert(at);
        }
    }
    View {
        method: parts.method.as_str().as_bytes(),
        authority,
        path: path.as_bytes(),
        fields,
        drop,
        raw: None,
        facts: RequestFacts {
            is_head: parts.method == http::Method::HEAD,
            is_connect: parts.method == http::Method::CONNECT,
            upgrade: false,
        },
        keep_alive: true,
    }
}
