//! The tries of one exchange: choose an endpoint, send the request, wait for a response head,
//! relay the rest, and judge whether what failed is worth another try.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use pillion_http1::Framing;
use pillion_model::Reason;
use pillion_model::snapshot::{Route, Upstream, UpstreamProtocol};
use pillion_traffic::breaker::{Breaker, Permit, Resource};
use pillion_traffic::retry::{self, Outcome, Sent, Verdict};
use tokio::time::Instant;

use crate::downstream::Downstream;
use crate::exchange::{Exchange, Next};
use crate::relay::{Break, Encoding, Flow};
use crate::request::{Request, put_line};
use crate::tunnel::{self, End};
use crate::upstream::{Lease, Patience, Pool, PooledEndpoint};
use crate::upstream_side::{Head, UpstreamSide};

/// Connections of HTTP/2 that one attempt may find to be going away.
const H2_CONNECTIONS_TRIED: usize = 8;

/// What became of an attempt.
pub(crate) enum Failed {
    /// Again, after this wait.
    Retry(Duration),
    /// The exchange has failed.
    Stop(Reason),
}

/// Serves the request, with as many attempts as the route's policy allows.
///
/// # Errors
/// Why there is no response; nothing was sent to the client.
pub(crate) async fn run(
    exchange: &mut Exchange,
    request: &Request,
    body: &mut Flow,
    downstream: &mut Downstream<'_>,
) -> Result<Next, Reason> {
    let tries = Tries::new(exchange)?;
    let mut serving = Serving { exchange, request, body, downstream, tries };
    loop {
        serving.tries.begin(serving.exchange);
        match once(&mut serving).await {
            Ok(next) => return Ok(next),
            Err(Failed::Stop(reason)) => return Err(reason),
            Err(Failed::Retry(wait)) => {
                Box::pin(pause(&mut serving, wait)).await?;
                serving.body.rewind();
            }
        }
    }
}

/// An exchange under way: what all attempts share.
pub(crate) struct Serving<'a, 'd> {
    pub(crate) exchange: &'a mut Exchange,
    pub(crate) request: &'a Request,
    /// The request's, on its way to the endpoint.
    pub(crate) body: &'a mut Flow,
    pub(crate) downstream: &'a mut Downstream<'d>,
    pub(crate) tries: Tries,
}

impl Serving<'_, '_> {
    /// What follows an attempt that failed with this reason.
    pub(crate) fn judge(&mut self, reason: Reason) -> Failed {
        let sent = if self.body.has_begun() { Sent::Some } else { Sent::Nothing };
        self.judge_sent(reason, sent)
    }

    pub(crate) fn judge_sent(&mut self, reason: Reason, sent: Sent) -> Failed {
        if let Some(endpoint) = self.exchange.endpoint() {
            // Relaxed: a figure for people.
            endpoint.shared.failures.fetch_add(1, Ordering::Relaxed);
        }
        let outcome = Outcome { reason: Some(reason), ..self.outcome(sent) };
        self.tries.decide(self.exchange, &outcome).map_or(Failed::Stop(reason), Failed::Retry)
    }

    /// Whether a response of this status is given up for another attempt, and when.
    pub(crate) fn judge_status(
        &mut self,
        status: u16,
        retry_after: Option<&[u8]>,
    ) -> Option<Duration> {
        if !self.tries.route.retry.statuses.contains(&status) {
            return None;
        }
        let retry_after = retry_after.and_then(|v| retry::retry_after(v, SystemTime::now()));
        let outcome = Outcome { status: Some(status), retry_after, ..self.outcome(Sent::Some) };
        self.tries.decide(self.exchange, &outcome)
    }

    fn outcome(&self, request_sent: Sent) -> Outcome {
        Outcome {
            reason: None,
            status: None,
            retry_after: None,
            response_begun: false,
            request_sent,
            reused_connection: self.tries.reused,
            idempotent: self.request.idempotent,
            body_replayable: self.body.is_replayable(),
            attempts_so_far: u32::from(self.exchange.attempts),
            races_so_far: self.tries.races,
        }
    }
}

/// One attempt, and the whole response if it has one.
async fn once(serving: &mut Serving<'_, '_>) -> Result<Next, Failed> {
    let side = match checkout(serving).await {
        Ok(side) => side,
        Err(reason) => return Err(serving.judge(reason)),
    };
    if serving.request.facts.is_connect {
        return Ok(Box::pin(connect_tunnel(serving, side)).await);
    }
    let mut attempt = Attempt::new(side, serving);
    attempt.arm_for_head(serving);
    let head = poll_fn(|cx| attempt.poll_head(cx, serving)).await;
    serving.exchange.request_bytes = serving.body.bytes;
    let head = head.inspect_err(|_| serving.exchange.awaited_head())?;
    serving.exchange.status = head.status;
    if head.is_upgrade {
        return Ok(Box::pin(upgraded(serving, attempt)).await);
    }
    // Once a response goes out there is no other attempt.
    serving.body.forget_replay();
    attempt.arm_for_stream(serving, serving.exchange.worker.recent());
    let end = poll_fn(|cx| attempt.poll_stream(cx, serving)).await;
    serving.exchange.request_bytes = serving.body.bytes;
    serving.exchange.response_bytes = attempt.response.bytes;
    Ok(attempt.end(serving, head, end))
}

/// Waits before another attempt; the client may leave meanwhile.
async fn pause(serving: &mut Serving<'_, '_>, wait: Duration) -> Result<(), Reason> {
    if wait.is_zero() {
        return Ok(());
    }
    let Serving { exchange, downstream, .. } = serving;
    exchange.start_waiting();
    downstream.timer().set(exchange.worker.recent() + wait);
    let waited = poll_fn(|cx| {
        downstream.poll_gone(cx, &exchange.worker.bulk)?;
        downstream.timer().poll(cx).map(Ok)
    });
    let waited = waited.await;
    exchange.stop_waiting();
    waited
}

/// Waits for somebody else: what is not Pillion's own time. Boxed, as it is rare.
async fn waiting<T>(exchange: &mut Exchange, future: impl Future<Output = T>) -> T {
    exchange.start_waiting();
    let output = Box::pin(future).await;
    exchange.stop_waiting();
    output
}

/// Whether a request that came over HTTP/2 goes upstream so; `None` where that has to be asked.
pub(crate) fn known_protocol(exchange: &Exchange) -> Option<bool> {
    let (pool, config) = exchange.pool()?;
    match config.protocol {
        UpstreamProtocol::Http1 => Some(false),
        UpstreamProtocol::Http2 => Some(true),
        UpstreamProtocol::Auto => pool.speaks_h2(),
    }
}

/// Asks an endpoint whether it speaks HTTP/2.
pub(crate) async fn ask_protocol(exchange: &Exchange) -> Result<bool, Reason> {
    let Some((pool, config)) = exchange.pool() else { return Err(Reason::Internal) };
    let endpoint = choose(exchange, pool, config).await?;
    endpoint.ask_h2(Patience::of(config, None)).await
}

/// The endpoint for an attempt, if the upstream has any.
fn pick(
    exchange: &Exchange,
    pool: &Pool,
    config: &Upstream,
    failed: Option<&Rc<PooledEndpoint>>,
) -> Option<Rc<PooledEndpoint>> {
    pool.pick(config, &mut exchange.worker.random.borrow_mut(), failed)
}

/// An endpoint, waited for where the upstream has none yet.
async fn choose(
    exchange: &Exchange,
    pool: &Pool,
    config: &Upstream,
) -> Result<Rc<PooledEndpoint>, Reason> {
    match pick(exchange, pool, config, None) {
        Some(picked) => Ok(picked),
        None => pool.first_endpoint(config.connect_timeout).await,
    }
}

async fn checkout(serving: &mut Serving<'_, '_>) -> Result<UpstreamSide, Reason> {
    let Serving { exchange, request, body, tries, .. } = serving;
    let Some((pool, config)) = exchange.pool() else { return Err(Reason::Internal) };
    let (pool, config) = (Rc::clone(pool), Arc::clone(config));
    let picked = pick(exchange, &pool, &config, tries.failed.as_ref());
    let endpoint = match picked {
        Some(picked) => picked,
        None => waiting(exchange, pool.first_endpoint(config.connect_timeout)).await?,
    };
    exchange.set_endpoint(Rc::clone(&endpoint));
    let patience = Patience::of(&config, tries.deadline);
    if let Some(head) = &request.h2_head {
        for _ in 0..H2_CONNECTIONS_TRIED {
            let lease = match endpoint.h2_with_room() {
                Some(lease) => lease,
                None => waiting(exchange, endpoint.h2(patience)).await?,
            };
            tries.reused = lease.reused;
            if let Some(side) = UpstreamSide::open_h2(lease, head, body) {
                return Ok(side);
            }
        }
        return Err(Reason::UpstreamReset);
    }
    if !tries.wants_new
        && !request.facts.is_connect
        && let Some(lease) = endpoint.take_idle()
    {
        tries.reused = true;
        return Ok(UpstreamSide::h1(lease));
    }
    let lease = if request.facts.is_connect {
        waiting(exchange, endpoint.connect_anew(patience)).await?
    } else {
        waiting(exchange, endpoint.connect(patience)).await?
    };
    tries.reused = lease.reused;
    Ok(UpstreamSide::h1(lease))
}

/// A connection to the exchange's upstream for bytes that nobody looks at.
pub(crate) async fn connect(exchange: &mut Exchange) -> Result<Lease, Reason> {
    let Some((pool, config)) = exchange.pool() else { return Err(Reason::Internal) };
    let (pool, config) = (Rc::clone(pool), Arc::clone(config));
    let endpoint = choose(exchange, &pool, &config).await?;
    exchange.set_endpoint(Rc::clone(&endpoint));
    endpoint.connect_anew(Patience::of(&config, None)).await
}

/// The client asked for a tunnel to the endpoint, and there is a connection to it.
async fn connect_tunnel(serving: &mut Serving<'_, '_>, side: UpstreamSide) -> Next {
    let exchange = &mut *serving.exchange;
    exchange.status = 200;
    let mut greeting = b"HTTP/1.1 200 OK\r\n".to_vec();
    put_line(&mut greeting, "via", exchange.worker.via(exchange.protocol));
    greeting.extend_from_slice(b"\r\n");
    run_tunnel(serving, side, greeting).await
}

/// The endpoint accepted another protocol: from here on bytes pass as they are.
async fn upgraded(serving: &mut Serving<'_, '_>, attempt: Attempt) -> Next {
    let greeting = attempt.response.into_unwritten();
    run_tunnel(serving, attempt.side, greeting).await
}

async fn run_tunnel(serving: &mut Serving<'_, '_>, side: UpstreamSide, greeting: Vec<u8>) -> Next {
    let Serving { exchange, downstream, tries, .. } = serving;
    let (Downstream::H1(h1), UpstreamSide::H1 { mut lease, mut unread }) =
        (&mut **downstream, side)
    else {
        exchange.reason = Some(Reason::Internal);
        return Next::Close;
    };
    exchange.awaited_head();
    // What follows is the tunnel's time.
    exchange.times.head_sent = Some(exchange.worker.now());
    let client = End { stream: &mut h1.stream, unread: &mut h1.unread };
    let server = End { stream: &mut lease.stream, unread: &mut unread };
    let patience = (&mut h1.timer, tries.route.stream_idle_timeout);
    let worker = Rc::clone(&exchange.worker);
    let passed = tunnel::run(&worker.bulk, client, server, greeting, patience).await;
    exchange.request_bytes = passed.up;
    exchange.response_bytes = passed.down;
    // A side that just closes its connection is how tunnels end.
    exchange.reason = passed.reason.filter(|reason| *reason == Reason::UpstreamIdleTimeout);
    Next::Close
}

/// What is remembered from try to try.
pub(crate) struct Tries {
    pub(crate) route: Arc<Route>,
    breaker: Arc<Breaker>,
    /// The route's timeout, once the request was sent whole.
    deadline: Option<Instant>,
    races: u32,
    failed: Option<Rc<PooledEndpoint>>,
    /// A kept-alive connection was closed on us: the next attempt uses a new one.
    wants_new: bool,
    reused: bool,
    permit: Option<Permit<Arc<Breaker>>>,
}

impl Tries {
    fn new(exchange: &Exchange) -> Result<Self, Reason> {
        let (Some(route), Some((pool, _))) = (exchange.route(), exchange.pool()) else {
            return Err(Reason::Internal);
        };
        Ok(Self {
            route: Arc::clone(&route.config),
            breaker: Arc::clone(&pool.shared.breaker),
            deadline: None,
            races: 0,
            failed: None,
            wants_new: false,
            reused: false,
            permit: None,
        })
    }

    fn begin(&mut self, exchange: &mut Exchange) {
        exchange.attempts = exchange.attempts.saturating_add(1);
        self.reused = false;
    }

    /// Whether there is another attempt, and when; it is counted as begun.
    fn decide(&mut self, exchange: &Exchange, outcome: &Outcome) -> Option<Duration> {
        // The place of the retry that has just failed is free again.
        self.permit = None;
        let verdict =
            retry::verdict(&self.route.retry, outcome, &mut exchange.worker.random.borrow_mut());
        let wait = match verdict {
            Verdict::Stop => return None,
            Verdict::RetryNow => {
                self.races += 1;
                self.wants_new = true;
                exchange.count_retry("keep_alive_race");
                return Some(Duration::ZERO);
            }
            Verdict::RetryAfter(wait) => wait,
        };
        if self.deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
            return None;
        }
        let Some(permit) = Breaker::acquire(Arc::clone(&self.breaker), Resource::Retry) else {
            exchange.count_retry("budget_spent");
            return None;
        };
        self.permit = Some(permit);
        self.failed = exchange.endpoint().cloned();
        exchange.count_retry(outcome.reason.map_or("status", Reason::label));
        Some(wait)
    }

    /// By when a response head is due, counted from the end of the request.
    fn head_deadline(&mut self, now: Instant) -> Option<Instant> {
        if self.deadline.is_none() {
            self.deadline = self.route.timeout.map(|timeout| now + timeout);
        }
        let of_try = self.route.try_timeout.map(|timeout| now + timeout);
        match (self.deadline, of_try) {
            (Some(all), Some(one)) => Some(all.min(one)),
            (all, one) => all.or(one),
        }
    }
}

/// One attempt under way.
pub(crate) struct Attempt {
    pub(crate) side: UpstreamSide,
    pub(crate) response: Flow,
    /// The endpoint takes no more of the request; its response may still come.
    request_refused: bool,
    /// The request is complete, and the time for the response runs.
    awaits_head: bool,
    /// How far both bodies were when the timer was set: has anything moved since?
    seen: u64,
}

impl Attempt {
    fn new(side: UpstreamSide, serving: &Serving<'_, '_>) -> Self {
        let response = match serving.downstream {
            Downstream::H1(_) => {
                let out = serving.exchange.worker.lend();
                Flow::to_h1(Framing::Empty, Encoding::Verbatim, out, 0)
            }
            Downstream::H2(_) => Flow::to_h2(Framing::Empty, 0),
        };
        Self { side, response, request_refused: false, awaits_head: false, seen: 0 }
    }

    fn arm_for_head(&mut self, serving: &mut Serving<'_, '_>) {
        if !self.is_sent(serving) {
            self.arm_for_stream(serving, serving.exchange.worker.recent());
            return;
        }
        self.awaits_head = true;
        match serving.tries.head_deadline(serving.exchange.worker.recent()) {
            Some(deadline) => serving.downstream.timer().set(deadline),
            None => serving.downstream.timer().clear(),
        }
    }

    fn arm_for_stream(&mut self, serving: &mut Serving<'_, '_>, from: Instant) {
        let silence = serving.tries.route.stream_idle_timeout;
        serving.downstream.timer().set(from + silence);
    }

    /// Sends the request and waits for the head of the response, which is then on its way.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        serving: &mut Serving<'_, '_>,
    ) -> Poll<Result<Head, Failed>> {
        if let Err(reason) = self.poll_request(cx, serving) {
            return Poll::Ready(Err(Failed::Stop(reason)));
        }
        let head = self.side.poll_head(cx, serving, &mut self.response);
        if head.is_ready() {
            return head;
        }
        serving.exchange.start_waiting();
        if !self.awaits_head && self.is_sent(serving) {
            self.arm_for_head(serving);
        }
        if self.awaits_head
            && let Err(reason) = serving.downstream.poll_gone(cx, &serving.exchange.worker.bulk)
        {
            return Poll::Ready(Err(Failed::Stop(reason)));
        }
        while serving.downstream.timer().poll(cx).is_ready() {
            if self.response.is_cut() {
                // The client took a part of an interim response: no other can follow.
                return Poll::Ready(Err(Failed::Stop(Reason::DownstreamAbort)));
            }
            if self.awaits_head {
                return Poll::Ready(Err(serving.judge(Reason::UpstreamTimeout)));
            }
            if !self.has_moved(serving) {
                let is_taken = serving.body.is_flushed();
                return Poll::Ready(Err(if is_taken {
                    Failed::Stop(Reason::DownstreamBodyTimeout)
                } else {
                    // The client sends, and the endpoint does not read.
                    serving.judge(Reason::UpstreamTimeout)
                }));
            }
        }
        Poll::Pending
    }

    /// Whether no more of the request will be sent.
    fn is_sent(&self, serving: &Serving<'_, '_>) -> bool {
        self.request_refused || serving.body.is_read()
    }

    /// Whether body bytes moved since the timer was set; if so, it is set again. So silence is
    /// noticed after the timeout at the earliest and twice of it at the latest, and a body in
    /// motion costs no clock and no timer.
    fn has_moved(&mut self, serving: &mut Serving<'_, '_>) -> bool {
        let moved = serving.body.progress() + self.response.progress();
        let has_moved = moved != self.seen;
        self.seen = moved;
        // Not the recent time: a body in motion reads no clock, so that may be as old as the timer.
        self.arm_for_stream(serving, serving.exchange.worker.now());
        has_moved
    }

    /// Moves the request body along.
    fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        serving: &mut Serving<'_, '_>,
    ) -> Result<(), Reason> {
        if self.request_refused || serving.body.is_done() {
            return Ok(());
        }
        let Some(sink) = self.side.sink() else { return Ok(()) };
        let bulk = &serving.exchange.worker.bulk;
        match serving.downstream.poll_request(cx, bulk, serving.body, sink) {
            Poll::Pending | Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(Break::Source | Break::Lost)) => Err(Reason::DownstreamAbort),
            Poll::Ready(Err(Break::Malformed)) => Err(Reason::DownstreamMalformed),
            Poll::Ready(Err(Break::Sink)) => {
                // It may have answered before it read everything: the response decides.
                self.request_refused = true;
                Ok(())
            }
        }
    }

    /// Relays the response body, and what is left of the request's.
    fn poll_stream(
        &mut self,
        cx: &mut Context<'_>,
        serving: &mut Serving<'_, '_>,
    ) -> Poll<Result<(), Reason>> {
        self.poll_request(cx, serving)?;
        let bulk = &serving.exchange.worker.bulk;
        if let Some(source) = self.side.source() {
            let relayed = serving.downstream.poll_response(cx, bulk, &mut self.response, source);
            if let Poll::Ready(relayed) = relayed {
                return Poll::Ready(relayed.map_err(|broken| match broken {
                    Break::Sink => Reason::DownstreamAbort,
                    Break::Source => Reason::UpstreamTruncated,
                    Break::Lost => Reason::UpstreamLost,
                    Break::Malformed => Reason::UpstreamMalformed,
                }));
            }
        }
        if serving.body.is_read() {
            serving.downstream.poll_gone(cx, bulk)?;
        }
        if serving.exchange.times.head_sent.is_none() {
            serving.exchange.times.head_sent = Some(serving.exchange.worker.now());
        }
        while serving.downstream.timer().poll(cx).is_ready() {
            if !self.has_moved(serving) {
                return Poll::Ready(Err(Reason::UpstreamIdleTimeout));
            }
        }
        Poll::Pending
    }

    /// What becomes of the two connections.
    fn end(self, serving: &mut Serving<'_, '_>, head: Head, end: Result<(), Reason>) -> Next {
        let Self { side, mut response, request_refused, .. } = self;
        serving.exchange.worker.take_back(response.take_buffer());
        if let Err(reason) = end {
            serving.exchange.reason = Some(reason);
            side.abort();
            serving.downstream.abort();
            return if head.until_close { Next::Reset } else { Next::Close };
        }
        let request_done = serving.body.is_done() && !request_refused;
        if request_done && head.upstream_keep {
            // A body that took a while has left the last reading of the clock behind.
            let worker = &serving.exchange.worker;
            let took_a_while = serving.exchange.times.head_sent.is_some();
            side.give_back(if took_a_while { worker.now() } else { worker.recent() });
        }
        match (head.keep, request_done) {
            (true, true) => Next::KeepAlive,
            // The client is still sending a body that nobody wants.
            (_, false) => Next::Linger,
            (false, true) => Next::Close,
        }
    }
}
