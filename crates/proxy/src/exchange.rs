//! One request and its response: what is known of it, the flow that it goes through, and the one
//! place that ends and records it.

use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pillion_model::Reason;
use pillion_model::snapshot::{Direction, Upstream};
use pillion_runtime::access_log::{Protocol, Record};
use pillion_runtime::board::ExchangeIds;
use pillion_traffic::breaker::{Breaker, Permit, Resource};
use pillion_traffic::trace::TraceContext;
use tokio::time::Instant;

use crate::attempt;
use crate::downstream::Downstream;
use crate::relay::Flow;
use crate::request::Request;
use crate::respond;
use crate::state::{ListenerState, RouteState};
use crate::upstream::{Pool, PooledEndpoint};
use crate::worker::Worker;

/// What follows an exchange on a downstream HTTP/1 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The connection takes another request.
    KeepAlive,
    /// It is closed.
    Close,
    /// It is closed once the client had a chance to read what we said, although it is still
    /// sending (RFC 9112 §9.6).
    Linger,
    /// It is reset, so that a message that only its end would end is not taken for complete.
    Reset,
}

/// Everything known about one request and its response, until it is recorded.
pub(crate) struct Exchange {
    pub(crate) worker: Rc<Worker>,
    pub(crate) listener: Rc<ListenerState>,
    /// Position of the route in the listener; `None` where none took it.
    pub(crate) route: Option<usize>,
    pub(crate) trace: TraceContext,
    pub(crate) texts: Texts,
    pub(crate) protocol: Protocol,
    pub(crate) downstream: Rc<Peer>,
    pub(crate) status: u16,
    pub(crate) reason: Option<Reason>,
    pub(crate) attempts: u8,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) times: Times,
    /// Whether it went as far as it could, well or not.
    pub(crate) is_over: bool,
    upstream: Option<InFlight>,
    /// While the app serves it, and somebody follows what the app serves.
    served: Option<ExchangeIds>,
    endpoint: Option<Rc<PooledEndpoint>>,
}

/// Who is at the other end of a downstream connection.
pub(crate) struct Peer {
    /// `None` on a Unix socket.
    pub(crate) address: Option<SocketAddr>,
    /// Its IP address as text, written once for all its requests; empty on a Unix socket.
    pub(crate) text: Box<str>,
}

impl Peer {
    pub(crate) fn new(address: Option<SocketAddr>) -> Self {
        let text = address.map(|address| address.ip().to_canonical().to_string());
        Self { address, text: text.unwrap_or_default().into() }
    }
}

/// When things happened.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// The request head was complete.
    pub(crate) start: Instant,
    /// Waiting for others: for a connection, and for the response head.
    pub(crate) waited: Duration,
    /// The last wait for a response head.
    pub(crate) upstream: Duration,
    /// The request is on its way, and Pillion waits for the upstream since then.
    pub(crate) waits_since: Option<Instant>,
    /// The response head was on its way and its body was not complete: from here on the time
    /// belongs to the body.
    pub(crate) head_sent: Option<Instant>,
}

/// A request that counts against its upstream's limits.
struct InFlight {
    pool: Rc<Pool>,
    config: Arc<Upstream>,
    _permit: Permit<Arc<Breaker>>,
}

/// Copies of the texts that are logged, in one buffer that the worker lends.
#[derive(Default)]
pub(crate) struct Texts {
    buffer: Vec<u8>,
    method: Range<usize>,
    authority: Range<usize>,
    path: Range<usize>,
    user_agent: Range<usize>,
    request_id: Range<usize>,
}

/// Longest piece of a text that is kept.
const TEXT_MAX: usize = 2048;

impl Texts {
    pub(crate) fn new(buffer: Vec<u8>) -> Self {
        Self { buffer, ..Self::default() }
    }

    fn push(&mut self, text: &[u8]) -> Range<usize> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(text.get(..TEXT_MAX).unwrap_or(text));
        start..self.buffer.len()
    }

    pub(crate) fn set_request(&mut self, method: &[u8], authority: &[u8], path: &[u8]) {
        self.method = self.push(method);
        self.authority = self.push(authority);
        self.path = self.push(path);
    }

    pub(crate) fn set_user_agent(&mut self, text: &[u8]) {
        self.user_agent = self.push(text);
    }

    pub(crate) fn set_request_id(&mut self, text: &[u8]) {
        self.request_id = self.push(text);
    }

    fn get(&self, range: &Range<usize>) -> &[u8] {
        self.buffer.get(range.clone()).unwrap_or_default()
    }

    pub(crate) fn request_id(&self) -> &[u8] {
        self.get(&self.request_id)
    }
}

impl Exchange {
    pub(crate) fn new(
        worker: &Rc<Worker>,
        listener: &Rc<ListenerState>,
        protocol: Protocol,
        downstream: &Rc<Peer>,
    ) -> Self {
        Self {
            worker: Rc::clone(worker),
            listener: Rc::clone(listener),
            route: None,
            trace: TraceContext { trace_id: [0; 32], span_id: [0; 16], parent: None, flags: 0 },
            texts: Texts::new(worker.lend()),
            protocol,
            downstream: Rc::clone(downstream),
            status: 0,
            reason: None,
            attempts: 0,
            request_bytes: 0,
            response_bytes: 0,
            times: Times {
                start: worker.now(),
                waited: Duration::ZERO,
                upstream: Duration::ZERO,
                waits_since: None,
                head_sent: None,
            },
            is_over: false,
            upstream: None,
            served: None,
            endpoint: None,
        }
    }

    pub(crate) fn direction(&self) -> Direction {
        self.listener.direction
    }

    pub(crate) fn route(&self) -> Option<&RouteState> {
        self.route.and_then(|at| self.listener.routes.get(at))
    }

    /// Body bytes that are kept for another attempt: also where retries are off, as a connection
    /// that was closed meanwhile is nobody's failure.
    pub(crate) fn replay(&self) -> usize {
        self.route().map_or(0, |route| route.config.retry.body_bytes)
    }

    pub(crate) fn count_retry(&self, cause: &'static str) {
        let upstream = self.upstream.as_ref().map_or("", |upstream| &upstream.config.name);
        self.worker.stats.retried(&self.worker.registry, upstream, cause);
    }

    /// From here on the time is not Pillion's: it waits for somebody else.
    pub(crate) fn start_waiting(&mut self) {
        let now = self.worker.now();
        self.times.waits_since.get_or_insert(now);
    }

    /// The wait is over, for now. Says how long it was.
    pub(crate) fn stop_waiting(&mut self) -> Duration {
        let since = self.times.waits_since.take();
        let waited = since.map_or(Duration::ZERO, |since| self.worker.now() - since);
        self.times.waited += waited;
        waited
    }

    /// The wait for a response head is over.
    pub(crate) fn awaited_head(&mut self) {
        self.times.upstream = self.stop_waiting();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.worker.is_draining(self.direction())
    }

    /// Counts the exchange against its upstream's limit of requests, until it ends.
    pub(crate) fn enter(&mut self, pool: Rc<Pool>, config: Arc<Upstream>) -> Result<(), Reason> {
        let breaker = Arc::clone(&pool.shared.breaker);
        let permit = Breaker::acquire(breaker, Resource::Request);
        let permit = permit.ok_or(Reason::UpstreamRequestLimit)?;
        if self.direction() == Direction::Inbound && &*config.name == "app" {
            self.note_served();
        }
        self.upstream = Some(InFlight { pool, config, _permit: permit });
        Ok(())
    }

    /// Notes that the app serves it, for whoever ties the app's log lines to requests. What is no
    /// HTTP has no ids.
    fn note_served(&mut self) {
        let exchanges = &self.worker.exchanges;
        if exchanges.are_followed() && self.protocol != Protocol::Tcp {
            let ids = ExchangeIds::from_hex(&self.trace.trace_id, &self.trace.span_id);
            ids.inspect(|ids| exchanges.began(*ids));
            self.served = ids;
        }
    }

    pub(crate) fn pool(&self) -> Option<(&Rc<Pool>, &Arc<Upstream>)> {
        self.upstream.as_ref().map(|upstream| (&upstream.pool, &upstream.config))
    }

    /// The endpoint of the current attempt; the one before is no longer counted as busy.
    pub(crate) fn set_endpoint(&mut self, endpoint: Rc<PooledEndpoint>) {
        self.leave_endpoint();
        // Relaxed: figures for balancing and for people.
        endpoint.shared.in_flight.fetch_add(1, Ordering::Relaxed);
        endpoint.shared.exchanges.fetch_add(1, Ordering::Relaxed);
        self.endpoint = Some(endpoint);
    }

    pub(crate) fn endpoint(&self) -> Option<&Rc<PooledEndpoint>> {
        self.endpoint.as_ref()
    }

    fn leave_endpoint(&mut self) {
        if let Some(endpoint) = self.endpoint.take() {
            endpoint.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Records the exchange: the only place that does.
    fn finish(&mut self) {
        self.stop_waiting();
        if let Some(ids) = self.served.take() {
            self.worker.exchanges.ended(ids);
        }
        let now = self.worker.now();
        let duration = now - self.times.start;
        if self.protocol == Protocol::Tcp {
            return self.finish_tcp(micros(duration));
        }
        let end_of_head = self.times.head_sent.unwrap_or(now);
        let tax = (end_of_head - self.times.start).saturating_sub(self.times.waited);
        let worker = Rc::clone(&self.worker);
        let (duration_us, tax_us) = (micros(duration), micros(tax));
        let stats = self.route().map_or(&self.listener.unrouted, |route| &route.stats);
        let stats = stats.get(&worker, self.direction(), self.route());
        stats.count(&worker.registry, self.status, self.reason);
        stats.duration.record_us(duration_us);
        stats.request_bytes.add(self.request_bytes);
        stats.response_bytes.add(self.response_bytes);
        worker.stats.tax(self.direction()).record_us(tax_us);
        self.log(&worker, duration_us, tax_us);
        self.leave_endpoint();
        worker.take_back(std::mem::take(&mut self.texts.buffer));
    }

    fn finish_tcp(&mut self, duration_us: u64) {
        let worker = Rc::clone(&self.worker);
        let bytes = (self.request_bytes, self.response_bytes);
        worker.stats.tcp_ended(&worker.registry, self.direction(), self.reason, bytes);
        self.log(&worker, duration_us, 0);
        self.leave_endpoint();
        worker.take_back(std::mem::take(&mut self.texts.buffer));
    }

    fn log(&self, worker: &Worker, duration_us: u64, pillion_us: u64) {
        let mut writer = worker.log.borrow_mut();
        if !writer.enabled() {
            return;
        }
        let route = self.route();
        writer.record(&Record {
            start_unix_us: worker.unix_us(self.times.start),
            direction: self.direction(),
            protocol: self.protocol,
            status: self.status,
            attempts: self.attempts,
            reason: self.reason,
            method: self.texts.get(&self.texts.method),
            authority: self.texts.get(&self.texts.authority),
            path: self.texts.get(&self.texts.path),
            route: route.map_or("", |route| &route.config.name),
            upstream: self.upstream.as_ref().map_or("", |upstream| &upstream.config.name),
            endpoint: self.endpoint.as_ref().map_or("", |endpoint| &endpoint.shared.label),
            downstream: self.downstream.address,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            duration_us,
            upstream_us: micros(self.times.upstream),
            pillion_us,
            request_id: self.texts.request_id(),
            trace_id: self.trace.trace_id,
            user_agent: self.texts.get(&self.texts.user_agent),
        });
        drop(writer);
        worker.log_later();
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.is_over {
            // Dropped midway: the worker was told to stop before the exchange was complete.
            self.reason = self.reason.or(Some(Reason::DrainDeadline));
        }
        self.finish();
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds since 1970 of this moment.
pub(crate) fn unix_us_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros)
}

/// An exchange whose request head was read and decided about.
pub(crate) struct Begun {
    pub(crate) exchange: Exchange,
    pub(crate) request: Request,
    /// The request body, on its way to the endpoint; its head too, over HTTP/1.
    pub(crate) body: Flow,
    /// Whether it is to be served at all.
    pub(crate) verdict: Result<(), Reason>,
}

/// The whole life of an exchange. Boxed before it comes here: it is large, and moved a few times.
pub(crate) async fn run(mut begun: Box<Begun>, downstream: &mut Downstream<'_>) -> Next {
    let Begun { exchange, request, body, verdict } = &mut *begun;
    let served = match *verdict {
        Ok(()) => attempt::run(exchange, request, body, downstream).await,
        Err(reason) => Err(reason),
    };
    let next = match served {
        Ok(next) => next,
        Err(reason) => {
            exchange.request_bytes = body.bytes;
            // Boxed, as all that is rare on the way of a request: the common way stays small.
            Box::pin(respond::refuse(exchange, reason, request, body, downstream)).await
        }
    };
    exchange.is_over = true;
    exchange.worker.take_back(body.take_buffer());
    exchange.worker.take_back(request.plan.take_buffer());
    next
}
