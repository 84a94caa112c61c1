//! A worker's own connections to one upstream: taken, given back, swept.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use pillion_model::Reason;
use pillion_model::snapshot::{Keepalive, Upstream};
use pillion_traffic::balance::{self, Load};
use pillion_traffic::breaker::{Breaker, Permit};
use pillion_traffic::random::Random;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::h2::{H2Connection, H2Lease};
use super::{Endpoint, H2Knowledge, SharedUpstream, Standing, Target};
use crate::h2_settings;
use crate::stream::Stream;

/// How long an endpoint may take to show that it speaks HTTP/2: an app of HTTP/1 may say nothing.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Questions of the kernel that may stay without an answer.
const PROBES: u32 = 3;
/// The longest time between two, in seconds, that the kernel takes (tcp(7), `MAX_TCP_KEEPIDLE`).
const PROBE_MAX: u64 = 32_767;

/// What a worker keeps for one upstream.
pub(crate) struct Pool {
    pub(crate) shared: Arc<SharedUpstream>,
    version: Cell<u64>,
    endpoints: RefCell<Rc<[Rc<PooledEndpoint>]>>,
    cursor: Cell<usize>,
}

/// What a worker keeps for one endpoint.
pub(crate) struct PooledEndpoint {
    pub(crate) shared: Arc<Endpoint>,
    upstream: Arc<SharedUpstream>,
    idle: RefCell<Vec<Idle>>,
    h2: RefCell<Vec<Rc<H2Connection>>>,
    h2_connecting: Cell<bool>,
    h2_connected: Notify,
    /// Requests of this worker that wait for a connection to this endpoint.
    waiting: Cell<u32>,
    /// Told when there is an idle connection for one of them.
    idle_freed: Notify,
}

impl Load for PooledEndpoint {
    fn in_flight(&self) -> u32 {
        // Relaxed: a load that is a moment old balances as well.
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    fn is_usable(&self) -> bool {
        true
    }
}

impl Pool {
    pub(crate) fn new(shared: Arc<SharedUpstream>) -> Self {
        Self {
            shared,
            version: Cell::new(0),
            endpoints: RefCell::new(Rc::new([])),
            cursor: Cell::new(0),
        }
    }

    /// The endpoints of this moment; the connections of those that stay are kept.
    pub(crate) fn endpoints(&self) -> Rc<[Rc<PooledEndpoint>]> {
        let version = self.shared.version();
        if self.version.get() != version {
            let old = self.endpoints.replace(Rc::new([]));
            let list: Vec<_> = self
                .shared
                .endpoints()
                .into_iter()
                .map(|endpoint| {
                    let known = old.iter().find(|known| Arc::ptr_eq(&known.shared, &endpoint));
                    known.cloned().unwrap_or_else(|| Rc::new(self.pooled(endpoint)))
                })
                .collect();
            *self.endpoints.borrow_mut() = list.into();
            self.version.set(version);
        }
        Rc::clone(&self.endpoints.borrow())
    }

    fn pooled(&self, shared: Arc<Endpoint>) -> PooledEndpoint {
        PooledEndpoint {
            shared,
            upstream: Arc::clone(&self.shared),
            idle: RefCell::default(),
            h2: RefCell::default(),
            h2_connecting: Cell::new(false),
            h2_connected: Notify::new(),
            waiting: Cell::new(0),
            idle_freed: Notify::new(),
        }
    }

    /// The endpoint for the next attempt; another than `failed` where there is one.
    pub(crate) fn pick(
        &self,
        config: &Upstream,
        random: &mut Random,
        failed: Option<&Rc<PooledEndpoint>>,
    ) -> Option<Rc<PooledEndpoint>> {
        let endpoints = self.endpoints();
        if let [only] = &*endpoints {
            return Some(Rc::clone(only));
        }
        let avoid = failed.and_then(|failed| endpoints.iter().position(|e| Rc::ptr_eq(e, failed)));
        let mut cursor = self.cursor.get();
        let picked = balance::pick(config.balance, &endpoints, &mut cursor, random, avoid);
        self.cursor.set(cursor);
        picked.and_then(|at| endpoints.get(at).cloned())
    }

    /// The first endpoint of an upstream that has none yet; what it waits for, for no longer than
    /// `patience`, is the first lookup.
    pub(crate) async fn first_endpoint(
        &self,
        patience: Duration,
    ) -> Result<Rc<PooledEndpoint>, Reason> {
        let deadline = Instant::now() + patience;
        loop {
            // Before the look: what changes after it is told.
            let settled = self.shared.settled.notified();
            match self.shared.standing() {
                Standing::Ready => {}
                Standing::Pending => {
                    timeout_at(deadline, settled).await.map_err(|_| Reason::DnsFailure)?;
                }
                Standing::Without(reason) => {
                    if reason == Reason::DnsFailure {
                        self.shared.wants_lookup();
                    }
                    return Err(reason);
                }
            }
            if let Some(first) = self.endpoints().first() {
                return Ok(Rc::clone(first));
            }
        }
    }

    /// Whether its endpoints speak HTTP/2, as far as one of them was asked.
    pub(crate) fn speaks_h2(&self) -> Option<bool> {
        let endpoints = self.endpoints();
        let mut known = endpoints.iter().map(|endpoint| endpoint.shared.h2());
        let known = known.find(|known| *known != H2Knowledge::Unknown)?;
        Some(known == H2Knowledge::Speaks)
    }

    /// Whether it holds no connection at all.
    pub(crate) fn is_unused(&self) -> bool {
        let endpoints = self.endpoints.borrow();
        endpoints.iter().all(|e| e.idle.borrow().is_empty() && e.h2.borrow().is_empty())
    }

    /// Drops connections that were idle for too long or that their peer has closed; all idle ones
    /// where somebody waits for a place, as whoever could use them would have done so.
    pub(crate) fn sweep(&self, idle_timeout: Duration, now: Instant) {
        let is_wanted = self.shared.breaker.counts().pending > 0;
        let idle_timeout = if is_wanted { Duration::ZERO } else { idle_timeout };
        for endpoint in self.endpoints().iter() {
            endpoint
                .idle
                .borrow_mut()
                .retain(|idle| now - idle.since < idle_timeout && !idle.stream.is_stale());
            endpoint.h2.borrow_mut().retain(|connection| {
                !connection.is_retired() && connection.is_in_use(idle_timeout, now)
            });
        }
    }
}

/// A place among the upstream's connections; tells those who wait when it comes free.
pub(super) struct Slot {
    permit: Option<Permit<Arc<Breaker>>>,
    upstream: Arc<SharedUpstream>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        drop(self.permit.take());
        // Pairs with the fence in `PooledEndpoint::slot`: either we see who waits, or they see the
        // place that has come free.
        fence(Ordering::SeqCst);
        if self.upstream.breaker.counts().pending > 0 {
            self.upstream.slot_freed.notify_one();
        }
    }
}

struct Idle {
    stream: Stream,
    slot: Slot,
    since: Instant,
}

/// An HTTP/1 connection that belongs to one exchange until it is given back.
pub(crate) struct Lease {
    pub(crate) stream: Stream,
    /// Whether it served an exchange before: then its peer may be closing it just now.
    pub(crate) reused: bool,
    endpoint: Rc<PooledEndpoint>,
    slot: Slot,
}

impl Lease {
    /// Keeps the connection for another exchange. Only sound when both messages were complete.
    pub(crate) fn give_back(self, now: Instant) {
        let Self { stream, endpoint, slot, .. } = self;
        let waiting = endpoint.waiting.get();
        if slot.upstream.breaker.counts().pending > waiting {
            // Who waits on another worker or for another endpoint cannot use this connection, but
            // can use its place, which goes to whoever has waited longest.
            return;
        }
        endpoint.idle.borrow_mut().push(Idle { stream, slot, since: now });
        if waiting > 0 {
            endpoint.idle_freed.notify_one();
        }
    }
}

/// Bounds of one checkout.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    connect: Duration,
    until: Option<Instant>,
    /// How long the connection, once there is one, may be silent.
    keepalive: Keepalive,
}

impl Patience {
    /// That of an upstream; for a checkout that `until` bounds as well.
    pub(crate) fn of(upstream: &Upstream, until: Option<Instant>) -> Self {
        Self { connect: upstream.connect_timeout, until, keepalive: upstream.keepalive }
    }
}

impl PooledEndpoint {
    /// An unused connection that still looks alive, the one used last first.
    pub(crate) fn take_idle(self: &Rc<Self>) -> Option<Lease> {
        loop {
            let Idle { stream, slot, .. } = self.idle.borrow_mut().pop()?;
            if !stream.is_stale() {
                return Some(Lease { stream, reused: true, endpoint: Rc::clone(self), slot });
            }
        }
    }

    /// A new connection, or an idle one where the upstream has no place free and one comes back.
    pub(crate) async fn connect(self: &Rc<Self>, patience: Patience) -> Result<Lease, Reason> {
        match self.slot(patience).await? {
            Waited::Slot(slot) => {
                let stream = open(&self.shared.target, patience).await?;
                Ok(Lease { stream, reused: false, endpoint: Rc::clone(self), slot })
            }
            Waited::Idle(lease) => Ok(lease),
        }
    }

    /// A connection that nobody has used, for what is not one HTTP/1 exchange after another.
    pub(crate) async fn connect_anew(self: &Rc<Self>, patience: Patience) -> Result<Lease, Reason> {
        loop {
            let lease = self.connect(patience).await?;
            if !lease.reused {
                return Ok(lease);
            }
            // Closed, it leaves its place to a new one.
        }
    }

    async fn slot(self: &Rc<Self>, patience: Patience) -> Result<Waited, Reason> {
        if let Some(slot) = self.try_slot() {
            return Ok(Waited::Slot(slot));
        }
        let _waiting = self.upstream.breaker.try_pending().ok_or(Reason::UpstreamPendingLimit)?;
        fence(Ordering::SeqCst);
        let _counted = Waiting::new(&self.waiting);
        let deadline = Instant::now() + patience.connect;
        let deadline = patience.until.map_or(deadline, |until| until.min(deadline));
        loop {
            let freed = async {
                tokio::select! {
                    () = self.idle_freed.notified() => {}
                    () = self.upstream.slot_freed.notified() => {}
                }
            };
            if let Some(lease) = self.take_idle() {
                return Ok(Waited::Idle(lease));
            }
            if let Some(slot) = self.try_slot() {
                return Ok(Waited::Slot(slot));
            }
            timeout_at(deadline, freed).await.map_err(|_| Reason::UpstreamConnectionLimit)?;
        }
    }

    fn try_slot(&self) -> Option<Slot> {
        let permit = self.upstream.breaker.try_connection()?;
        Some(Slot { permit: Some(permit), upstream: Arc::clone(&self.upstream) })
    }

    /// A place for one stream on an HTTP/2 connection, opened if there is none with room.
    pub(crate) async fn h2(self: &Rc<Self>, patience: Patience) -> Result<H2Lease, Reason> {
        let deadline = Instant::now() + patience.connect;
        loop {
            if let Some(lease) = self.h2_with_room() {
                return Ok(lease);
            }
            if self.h2_connecting.get() {
                // One connection at a time is opened; the others see whether it has room for them.
                let connected = timeout_at(deadline, self.h2_connected.notified()).await;
                connected.map_err(|_| Reason::UpstreamConnectTimeout)?;
                continue;
            }
            self.h2_connecting.set(true);
            let _done = Connecting(self);
            let Lease { stream, slot, endpoint, .. } = self.connect_anew(patience).await?;
            let silence = patience.keepalive.h2_ping;
            let endpoint = Arc::clone(&endpoint.shared);
            let connection = H2Connection::open(stream, slot, endpoint, silence).await?;
            self.h2.borrow_mut().push(connection);
        }
    }

    pub(crate) fn h2_with_room(&self) -> Option<H2Lease> {
        let mut connections = self.h2.borrow_mut();
        connections.retain(|connection| !connection.is_retired());
        connections.iter().find_map(H2Connection::lease)
    }

    /// Whether the endpoint speaks HTTP/2 with prior knowledge: asked once, on a connection of its
    /// own, by what it answers to a connection preface (RFC 9113 §3.4: SETTINGS come first).
    pub(crate) async fn ask_h2(self: &Rc<Self>, patience: Patience) -> Result<bool, Reason> {
        match self.shared.h2() {
            H2Knowledge::Speaks => return Ok(true),
            H2Knowledge::Refuses => return Ok(false),
            H2Knowledge::Unknown => {}
        }
        let mut lease = self.connect_anew(patience).await?;
        let answer = timeout(PROBE_TIMEOUT, h2_settings::probe(&mut lease.stream)).await;
        let speaks = answer.ok().and_then(Result::ok);
        self.shared.learn_h2(speaks);
        // One that says nothing is spoken to in what everybody understands.
        Ok(speaks.unwrap_or(false))
    }
}

struct Connecting<'a>(&'a PooledEndpoint);

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.h2_connecting.set(false);
        self.0.h2_connected.notify_waiters();
    }
}

/// Counts one that waits, until dropped.
struct Waiting<'a>(&'a Cell<u32>);

impl<'a> Waiting<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

enum Waited {
    Slot(Slot),
    Idle(Lease),
}

async fn open(target: &Target, patience: Patience) -> Result<Stream, Reason> {
    let connecting = async {
        match target {
            Target::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                if let Some(silence) = patience.keepalive.tcp {
                    SockRef::from(&stream).set_tcp_keepalive(&probes(silence))?;
                }
                Ok(Stream::Tcp(stream))
            }
            Target::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
        }
    };
    match timeout(patience.connect, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(connect_reason(&error)),
        Err(_) => Err(Reason::UpstreamConnectTimeout),
    }
}

/// When the kernel asks whether the other machine is still there. `TCP_USER_TIMEOUT`, which would
/// also end waiting for data to be acknowledged, would end connections whose peer only reads slowly.
fn probes(silence: Duration) -> TcpKeepalive {
    let seconds = |time: Duration| Duration::from_secs(time.as_secs().clamp(1, PROBE_MAX));
    TcpKeepalive::new()
        .with_time(seconds(silence))
        .with_interval(seconds(silence / PROBES))
        .with_retries(PROBES)
}

fn connect_reason(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Reason::UpstreamConnectRefused,
        io::ErrorKind::TimedOut => Reason::UpstreamConnectTimeout,
        _ => Reason::UpstreamConnectFailed,
    }
}
