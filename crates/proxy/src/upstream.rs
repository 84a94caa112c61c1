//! Upstreams as all workers share them: endpoints, limits, and where the endpoints come from.

mod dns;
mod h2;
mod pool;
mod sources;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use pillion_model::Snapshot;
use pillion_model::snapshot::{EndpointSource, Upstream, UpstreamLimits};
use pillion_traffic::breaker::Breaker;
use tokio::sync::Notify;

pub(crate) use dns::Resolver;
pub(crate) use h2::H2Lease;
pub(crate) use pool::{Lease, Patience, Pool, PooledEndpoint};
use sources::Sources;
pub(crate) use sources::Standing;

/// One address of an upstream, and what all workers know about it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) target: Target,
    /// For logs and admin.
    pub(crate) label: Box<str>,
    /// Exchanges in flight, over all workers.
    pub(crate) in_flight: AtomicU32,
    /// Exchanges ever, over all workers.
    pub(crate) exchanges: AtomicU64,
    /// Failed attempts ever, over all workers.
    pub(crate) failures: AtomicU64,
    /// What was learned about HTTP/2 with prior knowledge: see [`H2Knowledge`].
    h2: AtomicU8,
    /// When it was asked last, in milliseconds since `known_since`.
    h2_asked: AtomicU64,
    known_since: Instant,
}

/// How long an endpoint that did not say whether it speaks HTTP/2 is left alone: it may only be
/// slow to start.
const SILENT_FOR: Duration = Duration::from_secs(10);

/// Where an endpoint is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Whether an endpoint speaks HTTP/2 with prior knowledge, where the configuration does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum H2Knowledge {
    Unknown,
    Speaks,
    Refuses,
}

impl Endpoint {
    fn new(target: Target) -> Self {
        Self {
            label: target.to_string().into(),
            target,
            in_flight: AtomicU32::new(0),
            exchanges: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            h2: AtomicU8::new(0),
            h2_asked: AtomicU64::new(0),
            known_since: Instant::now(),
        }
    }

    pub(crate) fn h2(&self) -> H2Knowledge {
        // Relaxed: a hint; at worst it is asked for once more.
        match self.h2.load(Ordering::Relaxed) {
            1 => H2Knowledge::Speaks,
            2 => H2Knowledge::Refuses,
            3 if self.was_asked_lately() => H2Knowledge::Refuses,
            _ => H2Knowledge::Unknown,
        }
    }

    fn was_asked_lately(&self) -> bool {
        let asked = Duration::from_millis(self.h2_asked.load(Ordering::Relaxed));
        self.known_since.elapsed() < asked + SILENT_FOR
    }

    /// What it answered; `None` if it said nothing.
    pub(crate) fn learn_h2(&self, speaks: Option<bool>) {
        let now = u64::try_from(self.known_since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.h2_asked.store(now, Ordering::Relaxed);
        let learned = match speaks {
            Some(true) => 1,
            Some(false) => 2,
            None => 3,
        };
        self.h2.store(learned, Ordering::Relaxed);
    }
}

/// One upstream over all workers. It outlives reloads: limits and endpoints are changed in place.
#[derive(Debug)]
pub(crate) struct SharedUpstream {
    pub(crate) name: Arc<str>,
    pub(crate) breaker: Arc<Breaker>,
    /// Told when a connection slot comes free, for those who wait for one.
    pub(crate) slot_freed: Notify,
    /// Told when there may be other endpoints, or none after a lookup, for those who wait for a
    /// first answer.
    pub(crate) settled: Notify,
    /// Told when those who follow its names have to do something before their time: a request has
    /// failed for want of an answer, or the upstream is gone.
    hurry: Arc<Notify>,
    /// Moves whenever the endpoints do, so that a worker sees at a glance whether its list is old.
    version: AtomicU64,
    sources: Mutex<Sources>,
}

impl SharedUpstream {
    fn new(name: Arc<str>, limits: UpstreamLimits) -> Self {
        Self {
            name,
            breaker: Arc::new(Breaker::new(limits)),
            slot_freed: Notify::new(),
            settled: Notify::new(),
            hurry: Arc::default(),
            version: AtomicU64::new(0),
            sources: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sources> {
        // A panic elsewhere leaves plain data behind that is still consistent enough to serve.
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the sources, and tells all who go by them.
    fn change<T>(&self, change: impl FnOnce(&mut Sources) -> T) -> T {
        let mut sources = self.lock();
        let output = change(&mut sources);
        self.version.store(sources.version(), Ordering::Release);
        drop(sources);
        self.settled.notify_waiters();
        output
    }

    pub(crate) fn version(&self) -> u64 {
        // Acquire pairs with the Release in `change`: who sees the number sees the list.
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.lock().list().to_vec()
    }

    /// What it has to offer; where that may soon be more, [`Self::settled`] tells.
    pub(crate) fn standing(&self) -> Standing {
        self.lock().standing()
    }

    /// A request fails because no lookup has succeeded: the next one is not to wait for long.
    pub(crate) fn wants_lookup(&self) {
        self.hurry.notify_waiters();
    }

    /// The last failed lookup, if one of the sources has failed.
    pub(crate) fn lookup_error(&self) -> Option<String> {
        self.lock().lookup_error().map(str::to_owned)
    }
}

impl Drop for SharedUpstream {
    fn drop(&mut self) {
        // Answers may hold for minutes, and hosts come and go by the second.
        self.hurry.notify_waiters();
    }
}

/// Every upstream of the process, by name, and the hosts that the outbound side met.
#[derive(Debug)]
pub(crate) struct Registry {
    resolver: Resolver,
    inner: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    named: HashMap<Arc<str>, Arc<SharedUpstream>>,
    /// They live, and are looked up, as long as a worker has a use for them.
    hosts: HashMap<Box<str>, Weak<SharedUpstream>>,
    app: Option<SocketAddr>,
}

impl Registry {
    pub(crate) fn new(resolver: Resolver) -> Self {
        Self { resolver, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The upstreams of a snapshot, in its order: known ones changed in place, others made, and
    /// those that it no longer names forgotten.
    pub(crate) fn apply(&self, snapshot: &Snapshot) -> Vec<Arc<SharedUpstream>> {
        let mut known = self.lock();
        let app = known.app;
        let upstreams: Vec<_> = snapshot
            .upstreams
            .iter()
            .map(|upstream| self.apply_one(&mut known, upstream, app))
            .collect();
        known.named = upstreams.iter().map(|up| (Arc::clone(&up.name), Arc::clone(up))).collect();
        upstreams
    }

    fn apply_one(
        &self,
        known: &mut Known,
        upstream: &Upstream,
        app: Option<SocketAddr>,
    ) -> Arc<SharedUpstream> {
        let shared = known.named.get(&upstream.name).cloned().unwrap_or_else(|| {
            Arc::new(SharedUpstream::new(Arc::clone(&upstream.name), upstream.limits))
        });
        shared.breaker.set_limits(upstream.limits);
        self.want(&shared, &upstream.endpoints, app);
        shared
    }

    /// The upstream for a host that a request names; `None` when `limit` hosts are known already
    /// and all of them are in use.
    pub(crate) fn host(
        &self,
        host: &str,
        port: u16,
        limits: UpstreamLimits,
        limit: usize,
    ) -> Option<Arc<SharedUpstream>> {
        let key = format!("{host}:{port}");
        let mut known = self.lock();
        if let Some(upstream) = known.hosts.get(key.as_str()).and_then(Weak::upgrade) {
            return Some(upstream);
        }
        if known.hosts.len() >= limit {
            known.hosts.retain(|_, upstream| upstream.strong_count() > 0);
            if known.hosts.len() >= limit {
                return None;
            }
        }
        let upstream = Arc::new(SharedUpstream::new("host".into(), limits));
        let source = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) => EndpointSource::Address(SocketAddr::new(ip, port)),
            Err(_) => EndpointSource::Dns { host: host.to_owned(), port },
        };
        self.want(&upstream, &[source], None);
        known.hosts.insert(key.into(), Arc::downgrade(&upstream));
        Some(upstream)
    }

    /// Gives an upstream these sources, and has the names among them followed.
    fn want(
        &self,
        upstream: &Arc<SharedUpstream>,
        sources: &[EndpointSource],
        app: Option<SocketAddr>,
    ) {
        for name in upstream.change(|known| known.want(sources, app)) {
            self.resolver.follow(upstream, name);
        }
    }

    /// The app listens here now, or no longer.
    pub(crate) fn set_app(&self, address: Option<SocketAddr>) {
        let address = address.map(reachable);
        let mut known = self.lock();
        known.app = address;
        for upstream in known.named.values() {
            upstream.change(|sources| sources.set_app(address));
        }
    }

    /// The upstreams of the configuration with their live state, for metrics: hosts that requests
    /// name are too many for labels.
    pub(crate) fn named_status(&self) -> Vec<UpstreamStatus> {
        let known = self.lock();
        known.named.values().map(|up| UpstreamStatus::of(up.name.to_string(), up)).collect()
    }

    /// Every upstream with its live state, for admin.
    pub(crate) fn status(&self) -> Vec<UpstreamStatus> {
        let known = self.lock();
        let named = known.named.values().map(|up| UpstreamStatus::of(up.name.to_string(), up));
        let hosts = known.hosts.iter().filter_map(|(host, upstream)| {
            let upstream = upstream.upgrade()?;
            Some(UpstreamStatus::of(host.to_string(), &upstream))
        });
        let mut all: Vec<_> = named.chain(hosts).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

/// A wildcard address is where one listens, not where one connects.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

/// The live state of one upstream.
#[derive(Clone, Debug)]
pub struct UpstreamStatus {
    /// Its name, or `host:port` for a host that a request named.
    pub name: String,
    /// Requests in flight.
    pub requests: u32,
    /// Open connections, over all workers.
    pub connections: u32,
    /// Requests that wait for a connection.
    pub pending: u32,
    /// The last lookup that failed, where the next has not succeeded yet.
    pub lookup_error: Option<String>,
    /// Its endpoints.
    pub endpoints: Vec<EndpointStatus>,
}

/// The live state of one endpoint.
#[derive(Clone, Debug)]
pub struct EndpointStatus {
    /// `ip:port` or `unix:/path`.
    pub address: String,
    /// Exchanges in flight.
    pub in_flight: u32,
    /// Exchanges since it is known.
    pub exchanges: u64,
    /// Attempts that failed since it is known.
    pub failures: u64,
}

impl UpstreamStatus {
    fn of(name: String, upstream: &SharedUpstream) -> Self {
        // Relaxed: figures for people.
        let counts = upstream.breaker.counts();
        let endpoints = upstream
            .endpoints()
            .iter()
            .map(|endpoint| EndpointStatus {
                address: endpoint.label.to_string(),
                in_flight: endpoint.in_flight.load(Ordering::Relaxed),
                exchanges: endpoint.exchanges.load(Ordering::Relaxed),
                failures: endpoint.failures.load(Ordering::Relaxed),
            })
            .collect();
        Self {
            name,
            requests: counts.requests,
            connections: counts.connections,
            pending: counts.pending,
            lookup_error: upstream.lookup_error(),
            endpoints,
        }
    }
}

#[cfg(test)]
mod tests;
