//! A worker: one thread, one single-threaded runtime, and everything that its connections share.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

use pillion_http1::{HeadError, Limits};
use pillion_model::Reason;
use pillion_model::snapshot::{
    Balance, Direction, EndpointSource, Keepalive, Upstream, UpstreamLimits, UpstreamProtocol,
};
use pillion_runtime::access_log::{AccessLog, AccessWriter, Protocol};
use pillion_runtime::board::{Exchanges, WorkerExchanges};
use pillion_runtime::metrics::{Counter, Registry};
use pillion_runtime::role::Backoff;
use pillion_runtime::say;
use pillion_traffic::random::Random;
use pillion_traffic::{hops, route};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet, LocalSet};
use tokio::time::{self, Instant, MissedTickBehavior};

use crate::exchange::unix_us_now;
use crate::listener;
use crate::metrics::{RESTARTS, WorkerStats};
use crate::relay::{BULK, Bulk};
use crate::state::{ListenerState, State};
use crate::upstream::Pool;
use crate::{Orders, Phase, Shared};

/// How long a line of the access log may wait for others.
const LOG_DELAY: Duration = Duration::from_millis(100);
/// How often unused connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);
/// Small buffers that are kept for the next exchange, and the largest of them.
const BUFFERS_KEPT: usize = 64;
const BUFFER_MAX: usize = 16 * 1024;

/// The upstream settings of hosts that requests name.
const HOST_LIMITS: UpstreamLimits = UpstreamLimits {
    connections: 1024,
    pending: 1024,
    requests: 8192,
    retry_percent: 20,
    retry_min: 3,
};
const HOST_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const HOST_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const HOST_KEEPALIVE: Keepalive =
    Keepalive { tcp: Some(Duration::from_secs(30)), h2_ping: Some(Duration::from_secs(300)) };

/// What a worker is started with, as often as it takes.
#[derive(Clone)]
pub(crate) struct Start {
    pub(crate) number: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) orders: watch::Receiver<Orders>,
    pub(crate) registry: Registry,
    pub(crate) exchanges: Exchanges,
    pub(crate) access_log: AccessLog,
    pub(crate) seed: u64,
}

/// What the connections of one worker share; never leaves its thread.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    pub(crate) registry: Registry,
    pub(crate) exchanges: WorkerExchanges,
    pub(crate) stats: WorkerStats,
    pub(crate) log: RefCell<AccessWriter>,
    log_waits: Notify,
    log_told: Cell<bool>,
    pub(crate) random: RefCell<Random>,
    pub(crate) bulk: Bulk,
    buffers: RefCell<Vec<Vec<u8>>>,
    state: RefCell<Rc<State>>,
    hosts: RefCell<HashMap<Box<str>, Rc<Pool>>>,
    host_config: Arc<Upstream>,
    phases: Cell<[Phase; 2]>,
    phase_changed: Notify,
    /// The tasks of the open connections, to be woken when the phase changes; the free places in it.
    tasks: RefCell<(Vec<Option<Waker>>, Vec<usize>)>,
    /// The clock as it was read last.
    now: Cell<Instant>,
    pseudonym: Box<str>,
    /// `via` values by protocol version: 1.0, 1.1, 2.
    via: [Box<[u8]>; 3],
    /// A moment on both clocks, so that one reading of the steady one dates a log line.
    epoch: (Instant, u64),
}

/// Starts a worker's thread.
///
/// # Errors
/// No thread or no runtime can be had.
pub(crate) fn spawn(start: Start) -> io::Result<JoinHandle<()>> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let name = format!("pillion-worker-{}", start.number);
    let lasting = Lasting {
        number: start.number,
        orders: start.orders.clone(),
        restarts: start.registry.counter(&RESTARTS, &[]),
    };
    std::thread::Builder::new().name(name).spawn(move || {
        let mut starts = 0;
        lasting.keep(&runtime, || {
            starts += 1;
            serve(start.clone(), starts)
        });
    })
}

/// What of a worker outlives its failure.
struct Lasting {
    number: usize,
    orders: watch::Receiver<Orders>,
    restarts: Counter,
}

impl Lasting {
    /// Runs a worker until it is told to stop, and again after each failure: a process that goes on
    /// without one of its workers would be slower, or deaf, and nobody would know.
    fn keep<F>(mut self, runtime: &Runtime, mut run: impl FnMut() -> F)
    where
        F: Future<Output = io::Result<()>>,
    {
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            // What workers share is left consistent by any of them at any time; the rest of this one
            // is dropped with its tasks, which record their exchanges as cut.
            let ended = catch_unwind(AssertUnwindSafe(|| LocalSet::new().block_on(runtime, run())));
            let reason = match ended {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it panicked".to_owned(),
            };
            let wait = backoff.after(began.elapsed());
            say!(
                Error,
                "a worker failed and is started again; its connections are cut",
                worker = self.number,
                error = reason,
                wait = format_args!("{wait:?}")
            );
            if runtime.block_on(self.stops_within(wait)) {
                return;
            }
            self.restarts.inc();
        }
    }

    async fn stops_within(&mut self, wait: Duration) -> bool {
        let stopping = self.orders.wait_for(|orders| orders.inbound == Phase::Stopping);
        time::timeout(wait, stopping).await.is_ok()
    }
}

/// Serves until it is told to stop, the first time or, after failures, the second …
async fn serve(start: Start, starts: u64) -> io::Result<()> {
    let Start { number, shared, mut orders, registry, exchanges, access_log, seed } = start;
    let shares = shared.shares()?;
    // Not marked as seen: an order that came before this thread ran is obeyed, too.
    let first = orders.borrow().clone();
    let state = State::new(&first.applied, None);
    // Other numbers at each start: an id is given once.
    let mut random = Random::new(seed.wrapping_add(number as u64).wrapping_add(starts << 32));
    // The same on all workers: a request that comes back may come to another one.
    let pseudonym = format!("pillion-{:08x}", Random::new(seed).next() >> 32);
    let worker = Rc::new(Worker {
        stats: WorkerStats::new(&registry),
        log: RefCell::new(access_log.writer()),
        log_waits: Notify::new(),
        log_told: Cell::new(false),
        bulk: RefCell::new(vec![0; BULK].into_boxed_slice()),
        buffers: RefCell::default(),
        state: RefCell::new(Rc::new(state)),
        hosts: RefCell::default(),
        host_config: Arc::new(host_config()),
        phases: Cell::new([first.inbound, first.outbound]),
        phase_changed: Notify::new(),
        tasks: RefCell::default(),
        now: Cell::new(Instant::now()),
        via: ["1.0", "1.1", "2"].map(|v| format!("{v} {pseudonym}").into_bytes().into()),
        pseudonym: pseudonym.into(),
        epoch: (Instant::now(), unix_us_now()),
        random: RefCell::new(Random::new(random.next())),
        shared,
        registry,
        exchanges: exchanges.worker(),
    });
    let mut vital = JoinSet::new();
    for share in shares {
        vital.spawn_local(listener::run(Rc::clone(&worker), share));
    }
    vital.spawn_local(flush_log(Rc::clone(&worker)));
    vital.spawn_local(sweep(Rc::clone(&worker)));
    tokio::select! {
        () = obey(&worker, &mut orders) => {}
        failed = failure(&mut vital) => return Err(failed),
    }
    worker.log.borrow_mut().flush();
    Ok(())
}

/// Waits until one of the tasks fails that the worker cannot be without; a panic goes on here.
async fn failure(vital: &mut JoinSet<io::Result<()>>) -> io::Error {
    while let Some(ended) = vital.join_next().await {
        match ended.map_err(JoinError::try_into_panic) {
            Ok(Ok(())) | Err(Err(_)) => {}
            Ok(Err(error)) => return error,
            Err(Ok(panic)) => resume_unwind(panic),
        }
    }
    // Only orders end it now.
    pending().await
}

/// Follows the orders until they are to stop, or nobody is left to give any.
async fn obey(worker: &Worker, orders: &mut watch::Receiver<Orders>) {
    let mut applied = Arc::as_ptr(&orders.borrow().applied);
    while orders.changed().await.is_ok() {
        let now = orders.borrow_and_update().clone();
        if Arc::as_ptr(&now.applied) != applied {
            applied = Arc::as_ptr(&now.applied);
            let state = State::new(&now.applied, Some(&worker.state()));
            *worker.state.borrow_mut() = Rc::new(state);
        }
        worker.phases.set([now.inbound, now.outbound]);
        worker.phase_changed.notify_waiters();
        worker.wake_tasks();
        if now.inbound == Phase::Stopping {
            return;
        }
    }
}

/// Hands lines over soon after the first of them, and sleeps while there is none.
async fn flush_log(worker: Rc<Worker>) -> io::Result<()> {
    loop {
        worker.log_waits.notified().await;
        time::sleep(LOG_DELAY).await;
        worker.log_told.set(false);
        worker.log.borrow_mut().flush();
    }
}

async fn sweep(worker: Rc<Worker>) -> io::Result<()> {
    let mut ticks = time::interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = ticks.tick().await;
        let state = worker.state();
        for (pool, config) in state.pools.iter().zip(&state.snapshot.upstreams) {
            pool.sweep(config.idle_timeout, now);
        }
        worker.hosts.borrow_mut().retain(|_, pool| {
            pool.sweep(HOST_IDLE_TIMEOUT, now);
            Rc::strong_count(pool) > 1 || !pool.is_unused()
        });
    }
}

fn host_config() -> Upstream {
    Upstream {
        name: "host".into(),
        endpoints: Vec::<EndpointSource>::new(),
        protocol: UpstreamProtocol::Auto,
        balance: Balance::LeastRequest,
        connect_timeout: HOST_CONNECT_TIMEOUT,
        idle_timeout: HOST_IDLE_TIMEOUT,
        keepalive: HOST_KEEPALIVE,
        limits: HOST_LIMITS,
    }
}

impl Worker {
    fn state(&self) -> Rc<State> {
        Rc::clone(&self.state.borrow())
    }

    pub(crate) fn listener(&self, direction: Direction) -> Rc<ListenerState> {
        Rc::clone(self.state.borrow().listener(direction))
    }

    /// Counts a new connection, if there is room for it.
    pub(crate) fn enter(&self, direction: Direction) -> bool {
        let limit = self.state.borrow().snapshot.limits.connections;
        let open = self.shared.open(Direction::Inbound) + self.shared.open(Direction::Outbound);
        if open >= limit {
            return false;
        }
        // Relaxed: a limit that two workers may pass by one is a limit still.
        self.shared.count(direction).fetch_add(1, Ordering::Relaxed);
        self.stats.connections(direction, 1);
        true
    }

    pub(crate) fn leave(&self, direction: Direction) {
        self.stats.connections(direction, -1);
        self.shared.count(direction).fetch_sub(1, Ordering::Relaxed);
        if self.is_draining(direction) {
            self.shared.connection_ended.notify_waiters();
        }
    }

    /// Reads the clock.
    pub(crate) fn now(&self) -> Instant {
        let now = Instant::now();
        self.now.set(now);
        now
    }

    /// The clock as it was read last: good enough for timeouts, as every exchange reads it several
    /// times, and every reading costs.
    pub(crate) fn recent(&self) -> Instant {
        self.now.get()
    }

    /// Has the task of a connection woken at every change of phase. Returns its place, to be given
    /// to [`Self::forget_task`].
    pub(crate) fn remember_task(&self, task: Waker) -> usize {
        let (tasks, free) = &mut *self.tasks.borrow_mut();
        let Some(place) = free.pop() else {
            tasks.push(Some(task));
            return tasks.len() - 1;
        };
        if let Some(slot) = tasks.get_mut(place) {
            *slot = Some(task);
        }
        place
    }

    pub(crate) fn forget_task(&self, place: usize) {
        let (tasks, free) = &mut *self.tasks.borrow_mut();
        if let Some(slot) = tasks.get_mut(place) {
            *slot = None;
            free.push(place);
        }
    }

    fn wake_tasks(&self) {
        for task in self.tasks.borrow().0.iter().flatten() {
            task.wake_by_ref();
        }
    }

    pub(crate) fn is_draining(&self, direction: Direction) -> bool {
        self.phase(direction) >= Phase::Draining
    }

    fn phase(&self, direction: Direction) -> Phase {
        let [inbound, outbound] = self.phases.get();
        match direction {
            Direction::Inbound => inbound,
            Direction::Outbound => outbound,
        }
    }

    /// Waits until `direction` has come as far as `phase`.
    pub(crate) async fn reached(&self, direction: Direction, phase: Phase) {
        loop {
            let changed = self.phase_changed.notified();
            if self.phase(direction) >= phase {
                return;
            }
            changed.await;
        }
    }

    /// An empty buffer, to be given back.
    pub(crate) fn lend(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn take_back(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < BUFFERS_KEPT && (1..=BUFFER_MAX).contains(&buffer.capacity()) {
            buffer.clear();
            buffers.push(buffer);
        }
    }

    /// The pool for the host that a request names.
    pub(crate) fn host(&self, authority: &[u8]) -> Result<(Rc<Pool>, Arc<Upstream>), Reason> {
        let malformed = || Reason::DownstreamMalformed;
        let authority = std::str::from_utf8(authority).map_err(|_| malformed())?;
        // One pool for a host, however a client spells it.
        let authority = authority.to_ascii_lowercase();
        let authority = authority.as_str();
        if let Some(pool) = self.hosts.borrow().get(authority) {
            return Ok((Rc::clone(pool), Arc::clone(&self.host_config)));
        }
        let host = std::str::from_utf8(route::host_of(authority.as_bytes()));
        let host = host.map_err(|_| malformed())?;
        let after = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
        let port = match after.and_then(|at| authority.get(at + 1..)) {
            None | Some("") => 80,
            Some(port) => port.parse().map_err(|_| malformed())?,
        };
        if host.is_empty() {
            return Err(malformed());
        }
        let limit = self.state.borrow().snapshot.limits.hosts;
        let shared = self.shared.upstreams.host(host, port, HOST_LIMITS, limit);
        let shared = shared.ok_or(Reason::HostLimit)?;
        let pool = Rc::new(Pool::new(shared));
        self.hosts.borrow_mut().insert(authority.into(), Rc::clone(&pool));
        Ok((pool, Arc::clone(&self.host_config)))
    }

    /// The value of `via` for a message that came in this protocol (RFC 9110 §7.6.3).
    pub(crate) fn via(&self, protocol: Protocol) -> &[u8] {
        let [http10, http11, http2] = &self.via;
        match protocol {
            Protocol::Http10 => http10,
            Protocol::Http11 | Protocol::Tcp => http11,
            Protocol::Http2 => http2,
        }
    }

    /// Whether a `via` value says that the message was here before.
    pub(crate) fn is_own_via(&self, value: &[u8]) -> bool {
        hops::via_contains(value, self.pseudonym.as_bytes())
    }

    /// Microseconds since 1970 of a moment on the steady clock.
    pub(crate) fn unix_us(&self, moment: Instant) -> u64 {
        let (then, unix_us) = self.epoch;
        let since = moment.saturating_duration_since(then).as_micros();
        unix_us.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    pub(crate) fn head_limits(&self, listener: &ListenerState) -> Limits {
        let limits = &listener.snapshot.limits;
        Limits { head_bytes: limits.head_bytes, head_fields: limits.head_fields }
    }

    /// Says which rule a peer broke; the response and the metric only know that one was.
    pub(crate) fn say_malformed(&self, what: &str, error: &HeadError) {
        say!(Debug, "refused a malformed {what}", rule = error);
    }

    /// A line of the access log waits to be handed over.
    pub(crate) fn log_later(&self) {
        if !self.log_told.replace(true) {
            self.log_waits.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
