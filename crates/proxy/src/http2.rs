//! HTTP/2 from clients: each stream is an exchange of its own.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Connection, SendResponse};
use http::request::Parts;
use http::uri::Authority;
use pillion_http1::{Field, FieldSet, Framing, RequestFacts};
use pillion_model::Reason;
use pillion_model::snapshot::Limits;
use pillion_runtime::access_log::Protocol;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::attempt;
use crate::connection::Context;
use crate::downstream::{Downstream, H2Downstream};
use crate::exchange::{self, Begun, Exchange};
use crate::h2_settings;
use crate::relay::{Encoding, Flow};
use crate::request::{self, View, drop_named};
use crate::stream::Rewound;
use crate::timer::Timer;
use crate::upstream_side::fields_of;

/// How long a client with no open stream may take to confirm that it was told to leave.
const GOODBYE: Duration = Duration::from_secs(1);
/// What a field counts beyond its name and value (RFC 9113 §6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// Serves a connection until it ends.
pub(crate) async fn serve(stream: Rewound, context: Rc<Context>) {
    let listener = context.listener();
    let settings = h2_settings::server(&listener.snapshot.limits);
    let head_timeout = listener.config().head_timeout;
    drop(listener);
    let handshake = settings.handshake::<_, Bytes>(stream);
    let Ok(Ok(connection)) = timeout(head_timeout, handshake).await else {
        let reason = Reason::DownstreamMalformed;
        context.worker.stats.refused(&context.worker.registry, context.direction, reason);
        return;
    };
    let open = Rc::new(OpenStreams::default());
    let mut server = Server {
        connection,
        context,
        open,
        timer: Timer::default(),
        is_leaving: false,
        served: 0,
        seen: 0,
    };
    server.arm();
    poll_fn(|cx| server.poll(cx)).await;
}

/// The streams of a connection that have not ended.
#[derive(Default)]
struct OpenStreams(Cell<usize>);

/// Counts a stream as open until dropped.
struct OpenStream(Rc<OpenStreams>);

impl OpenStream {
    fn new(open: &Rc<OpenStreams>) -> Self {
        open.0.set(open.0.get() + 1);
        Self(Rc::clone(open))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let open = &self.0.0;
        open.set(open.get().saturating_sub(1));
    }
}

/// A connection. Each of its streams has a task of its own.
struct Server {
    connection: Connection<Rewound, Bytes>,
    context: Rc<Context>,
    open: Rc<OpenStreams>,
    timer: Timer,
    /// Whether the client was told that nothing new is taken.
    is_leaving: bool,
    served: u64,
    /// Streams served when the timer was set: has there been another since?
    seen: u64,
}

impl Server {
    /// Takes streams until the connection is done with.
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        loop {
            if self.context.is_draining() || self.has_served_enough() {
                self.leave();
            }
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.served += 1;
                    self.start(request, respond);
                    continue;
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => ready!(self.timer.poll(cx)),
            }
            if self.open.0.get() > 0 || self.served != self.seen {
                self.arm();
            } else if self.is_leaving {
                // It was told, and may be dead.
                return Poll::Ready(());
            } else {
                self.leave();
            }
        }
    }

    /// Idleness is noticed after the timeout at the earliest and twice of it at the latest, and a
    /// connection in use moves no timer.
    fn arm(&mut self) {
        self.seen = self.served;
        let idle = self.context.listener().config().idle_timeout;
        let patience = if self.is_leaving { GOODBYE } else { idle };
        self.timer.set(self.context.worker.now() + patience);
    }

    /// Finishes what has begun; the client is told that nothing new is taken.
    fn leave(&mut self) {
        if !self.is_leaving {
            self.is_leaving = true;
            self.connection.graceful_shutdown();
            self.arm();
        }
    }

    fn has_served_enough(&self) -> bool {
        let most = self.context.listener().snapshot.limits.requests_per_connection;
        most > 0 && self.served >= most
    }

    fn start(&self, request: http::Request<RecvStream>, respond: SendResponse<Bytes>) {
        let open = OpenStream::new(&self.open);
        let context = Rc::clone(&self.context);
        // Boxed: the runtime moves what it spawns several times.
        drop(spawn_local(Box::pin(async move {
            serve_stream(&context, request, respond).await;
            drop(open);
        })));
    }
}

async fn serve_stream(
    context: &Context,
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let (parts, receive) = request.into_parts();
    let mut h2 =
        H2Downstream { receive, respond, send: None, timer: Timer::default(), interims: 0 };
    let exchange =
        Exchange::new(&context.worker, &context.listener(), Protocol::Http2, &context.peer);
    let mut begun = decide(exchange, &parts);
    let speaks_h2 = match (begun.verdict, attempt::known_protocol(&begun.exchange)) {
        (Err(_), _) => false,
        (Ok(()), Some(known)) => known,
        // Boxed: it is asked once for an endpoint.
        (Ok(()), None) => match Box::pin(attempt::ask_protocol(&begun.exchange)).await {
            Ok(answer) => answer,
            Err(reason) => {
                begun.verdict = Err(reason);
                false
            }
        },
    };
    if begun.verdict.is_ok() {
        begun.verdict = write_head(&mut begun, &parts, !h2.receive.is_end_stream(), speaks_h2);
    }
    drop(parts);
    // There is no connection to keep or to close: a stream ends by itself.
    let _next = exchange::run(begun, &mut Downstream::H2(&mut h2)).await;
}

/// Decides about a request. Its head goes upstream as what the upstream speaks, which may have to
/// be asked first.
fn decide(mut exchange: Exchange, parts: &Parts) -> Box<Begun> {
    let fields = fields_of(&parts.headers);
    let view = view(parts, &fields);
    let (plan, verdict) = request::plan(&mut exchange, &view);
    let checked = check(parts, &view, &exchange.listener.snapshot.limits);
    let request = request::facts(&view, plan);
    let mut body = Flow::to_h1(Framing::Empty, Encoding::Plain, Vec::new(), 0);
    body.set_empty();
    Box::new(Begun { exchange, request, body, verdict: checked.and(verdict) })
}

/// Writes the head that goes upstream, and prepares the way of the body.
fn write_head(begun: &mut Begun, parts: &Parts, has_body: bool, to_h2: bool) -> Result<(), Reason> {
    let fields = fields_of(&parts.headers);
    let view = view(parts, &fields);
    let Begun { exchange, request, body, .. } = begun;
    let replay = exchange.replay();
    if to_h2 {
        request.h2_head = Some(Box::new(request::to_h2(exchange, &view, &request.plan)?));
        *body = Flow::to_h2(Framing::UntilClose, replay);
    } else {
        let chunked = has_body && !parts.headers.contains_key(http::header::CONTENT_LENGTH);
        let mut out = exchange.worker.lend();
        request::write_h1(&mut out, exchange, &view, &request.plan, chunked);
        let encoding = if chunked { Encoding::Chunked } else { Encoding::Plain };
        *body = Flow::to_h1(Framing::UntilClose, encoding, out, replay);
    }
    if !has_body {
        body.set_empty();
    }
    Ok(())
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
