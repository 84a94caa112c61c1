//! The proxy role: takes connections, and carries each exchange to an endpoint and back.
//!
//! A request goes through seven hops, each a file: [`listener`] accepts, `connection` tells what is
//! spoken, `http1` or `http2` reads a request, `request` decides about it, `exchange` is the whole
//! flow on one screen, `attempt` tries endpoints, `relay` moves the bodies. `upstream` knows the
//! endpoints, `respond` writes response heads, and `exchange` is also where an exchange ends and is
//! recorded. Start reading at `exchange::run`.
//!
//! The data path runs on single-threaded workers that share nothing but a few atomics; everything
//! slow (DNS, reload) happens on the control runtime and reaches them as a whole new state.

mod attempt;
mod connection;
mod downstream;
mod exchange;
mod h2_settings;
mod http1;
mod http2;
pub mod listener;
pub mod metrics;
mod relay;
mod request;
mod respond;
#[cfg(test)]
mod sizes;
mod state;
mod stream;
mod tcp;
mod timer;
mod tunnel;
mod upstream;
mod upstream_side;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use pillion_model::Snapshot;
use pillion_model::snapshot::Direction;
use pillion_runtime::access_log::AccessLog;
use pillion_runtime::board::Exchanges;
use pillion_runtime::metrics::Registry;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

pub use listener::{BindError, Bound, bind};
pub use upstream::{EndpointStatus, UpstreamStatus};

use listener::Share;
use metrics::DnsStats;
use state::Applied;
use upstream::Resolver;

/// What a proxy is started with.
pub struct Config {
    /// The first state of the traffic configuration.
    pub snapshot: Arc<Snapshot>,
    /// Worker threads, at least one.
    pub workers: usize,
    /// Where connections to the app come in.
    pub inbound: Option<Bound>,
    /// Where connections from the app come in.
    pub outbound: Option<Bound>,
    /// Where the metrics go.
    pub registry: Registry,
    /// Where the access log goes.
    pub access_log: AccessLog,
    /// Where the requests that the app is serving are noted.
    pub exchanges: Exchanges,
    /// Runs what must not disturb the workers, name lookups above all.
    pub control: Handle,
    /// Where the app listens, if that is known before it is looked for.
    pub app: Option<SocketAddr>,
    /// Chance: seeds ids, balancing and jitter.
    pub seed: u64,
}

/// The running data path.
pub struct Proxy {
    shared: Arc<Shared>,
    orders: watch::Sender<Orders>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Files of Unix sockets, which go when the proxy does.
    _paths: Vec<listener::SocketPath>,
}

/// What the workers share.
pub(crate) struct Shared {
    pub(crate) upstreams: upstream::Registry,
    /// Open downstream connections over all workers, inbound and outbound.
    pub(crate) connections: [AtomicUsize; 2],
    /// Told when a connection ends during a drain.
    pub(crate) connection_ended: Notify,
    /// A share of each listening socket until it drains, for workers that start.
    sockets: Mutex<Vec<Share>>,
}

/// What the workers are to do.
#[derive(Clone)]
pub(crate) struct Orders {
    pub(crate) applied: Arc<Applied>,
    pub(crate) inbound: Phase,
    pub(crate) outbound: Phase,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Connections are taken.
    Serving,
    /// None are; those there are finish what they have begun.
    Draining,
    /// All is dropped.
    Stopping,
}

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still open at the deadline, and were cut.
    pub cut: usize,
}

impl Proxy {
    /// Starts the workers; they serve when this returns.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(config: Config) -> io::Result<Self> {
        let resolver = Resolver::new(config.control.clone(), DnsStats::new(&config.registry));
        let bound = [(Direction::Inbound, config.inbound), (Direction::Outbound, config.outbound)];
        let bound = bound.into_iter().filter_map(|(direction, bound)| Some((direction, bound?)));
        let (sockets, paths): (Vec<_>, Vec<_>) =
            bound.map(|(direction, bound)| bound.into_share(direction)).unzip();
        let shared = Arc::new(Shared {
            upstreams: upstream::Registry::new(resolver),
            connections: [AtomicUsize::new(0), AtomicUsize::new(0)],
            connection_ended: Notify::new(),
            sockets: Mutex::new(sockets),
        });
        shared.upstreams.set_app(config.app);
        let upstreams = shared.upstreams.apply(&config.snapshot);
        let applied = Arc::new(Applied::new(Arc::clone(&config.snapshot), upstreams));
        let (orders, received) =
            watch::channel(Orders { applied, inbound: Phase::Serving, outbound: Phase::Serving });
        let for_scrapes = Arc::clone(&shared);
        config.registry.collector(Box::new(move |samples| {
            metrics::collect(&for_scrapes.upstreams.named_status(), samples);
        }));
        let mut threads = Vec::with_capacity(config.workers);
        for number in 0..config.workers {
            let start = worker::Start {
                number,
                shared: Arc::clone(&shared),
                orders: received.clone(),
                registry: config.registry.clone(),
                exchanges: config.exchanges.clone(),
                access_log: config.access_log.clone(),
                seed: config.seed,
            };
            threads.push(worker::spawn(start)?);
        }
        let _paths = paths.into_iter().flatten().collect();
        Ok(Self { shared, orders, threads: Mutex::new(threads), _paths })
    }

    /// Puts another state of the traffic configuration in force, at once and as a whole. Exchanges
    /// under way keep the one they began with.
    pub fn apply(&self, snapshot: Arc<Snapshot>) {
        let upstreams = self.shared.upstreams.apply(&snapshot);
        let applied = Arc::new(Applied::new(snapshot, upstreams));
        self.orders.send_modify(|orders| orders.applied = applied);
    }

    /// The state in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.orders.borrow().applied.snapshot)
    }

    /// The app listens here now, or no longer.
    pub fn set_app(&self, address: Option<SocketAddr>) {
        self.shared.upstreams.set_app(address);
    }

    /// Every upstream with its live state, by name.
    pub fn upstreams(&self) -> Vec<UpstreamStatus> {
        self.shared.upstreams.status()
    }

    /// Open downstream connections of one direction.
    pub fn connections(&self, direction: Direction) -> usize {
        self.shared.open(direction)
    }

    /// Takes no more connections of this direction, tells clients so, and waits until the open ones
    /// have finished what they had begun, for `timeout` at most. The rest is cut when the proxy is
    /// stopped.
    pub async fn drain(&self, direction: Direction, timeout: Duration) -> Drained {
        let deadline = Instant::now() + timeout;
        self.order(direction, Phase::Draining);
        loop {
            let ended = self.shared.connection_ended.notified();
            let open = self.connections(direction);
            if open == 0 {
                return Drained { cut: 0 };
            }
            // Who ends between the look and the wait is seen at the next look.
            let look = (Instant::now() + Duration::from_millis(20)).min(deadline);
            if timeout_at(look, ended).await.is_err() && Instant::now() >= deadline {
                return Drained { cut: self.connections(direction) };
            }
        }
    }

    /// Ends the workers and waits for them. What is still open is cut.
    pub fn stop(&self) {
        self.order(Direction::Inbound, Phase::Stopping);
        self.order(Direction::Outbound, Phase::Stopping);
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A worker that panicked has said so itself.
            drop(thread.join());
        }
    }

    /// Takes all workers on to a phase after [`Phase::Serving`].
    fn order(&self, direction: Direction, phase: Phase) {
        // The rest belongs to the workers, who close it once they have emptied its queue.
        self.shared.sockets().retain(|share| share.direction != direction);
        self.orders.send_modify(|orders| {
            let current = match direction {
                Direction::Inbound => &mut orders.inbound,
                Direction::Outbound => &mut orders.outbound,
            };
            *current = phase.max(*current);
        });
    }
}

impl Shared {
    fn sockets(&self) -> MutexGuard<'_, Vec<Share>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a worker accepts from.
    pub(crate) fn shares(&self) -> io::Result<Vec<Share>> {
        self.sockets().iter().map(Share::try_clone).collect()
    }

    fn count(&self, direction: Direction) -> &AtomicUsize {
        let [inbound, outbound] = &self.connections;
        match direction {
            Direction::Inbound => inbound,
            Direction::Outbound => outbound,
        }
    }

    fn open(&self, direction: Direction) -> usize {
        // Relaxed: a drain looks again; otherwise a figure for people.
        self.count(direction).load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop();
    }
}
