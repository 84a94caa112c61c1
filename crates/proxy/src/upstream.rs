//! Upstreams as all workers share them: endpoints, limits, and where the endpoints come from.

mod dns;
mod pool;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pillion_model::Snapshot;
use pillion_model::snapshot::{EndpointSource, Upstream, UpstreamLimits};
use pillion_traffic::breaker::Breaker;
use tokio::sync::Notify;

pub(crate) use dns::Resolver;
pub(crate) use pool::{H2Lease, Lease, Patience, Pool, PooledEndpoint};

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
    /// Told when the endpoints changed or a lookup failed, for those who wait for a first answer.
    pub(crate) settled: Notify,
    /// Moves whenever the endpoints do, so that a worker sees at a glance whether its list is old.
    version: AtomicU64,
    endpoints: Mutex<Endpoints>,
}

#[derive(Debug, Default)]
struct Endpoints {
    sources: Vec<EndpointSource>,
    /// What each source gave, by position.
    found: Vec<Found>,
    list: Vec<Arc<Endpoint>>,
    /// Names that a task keeps up to date, and what they gave. One that is wanted no longer stays
    /// until its task wakes: where it is wanted again before, its answer still holds.
    followed: Vec<(EndpointSource, Found)>,
}

/// What a source gave so far.
#[derive(Clone, Debug, Default)]
struct Found {
    /// `None` until it gave anything.
    targets: Option<Vec<Target>>,
    /// Why the last lookup failed, if it did.
    error: Option<String>,
}

impl Found {
    fn known(targets: Vec<Target>) -> Self {
        Self { targets: Some(targets), error: None }
    }

    /// The last good answer stays when a lookup fails.
    fn take(&mut self, answer: Result<Vec<Target>, String>) {
        match answer {
            Ok(targets) => *self = Self::known(targets),
            Err(reason) => self.error = Some(reason),
        }
    }
}

impl SharedUpstream {
    fn new(name: Arc<str>, limits: UpstreamLimits) -> Self {
        Self {
            name,
            breaker: Arc::new(Breaker::new(limits)),
            slot_freed: Notify::new(),
            settled: Notify::new(),
            version: AtomicU64::new(1),
            endpoints: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Endpoints> {
        // A panic elsewhere leaves plain data behind that is still consistent enough to serve.
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn version(&self) -> u64 {
        // Acquire pairs with the Release in `rebuild`: who sees the number sees the list.
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.lock().list.clone()
    }

    /// Whether every source has answered or failed at least once.
    pub(crate) fn is_settled(&self) -> bool {
        self.lock().found.iter().all(|found| found.targets.is_some() || found.error.is_some())
    }

    /// The last failed lookup, if one of the sources has failed.
    pub(crate) fn lookup_error(&self) -> Option<String> {
        self.lock().found.iter().find_map(|found| found.error.clone())
    }

    /// Whether this is the app, and its port is not known.
    pub(crate) fn waits_for_app(&self) -> bool {
        let inner = self.lock();
        inner.list.is_empty() && inner.sources.contains(&EndpointSource::App)
    }

    /// Replaces the sources; what equal sources have found is kept.
    fn set_sources(&self, sources: &[EndpointSource], app: Option<SocketAddr>) {
        let mut inner = self.lock();
        let found = sources
            .iter()
            .map(|source| match source {
                EndpointSource::Address(address) => Found::known(vec![Target::Tcp(*address)]),
                EndpointSource::Unix(path) => Found::known(vec![Target::Unix(path.clone())]),
                EndpointSource::App => Found::known(app.into_iter().map(Target::Tcp).collect()),
                EndpointSource::Dns { .. } => {
                    let followed = inner.followed.iter().find(|(known, _)| known == source);
                    followed.map(|(_, found)| found.clone()).unwrap_or_default()
                }
            })
            .collect();
        inner.sources = sources.to_vec();
        inner.found = found;
        self.rebuild(&mut inner);
    }

    /// Whether the caller is the first to follow this source, and so has to.
    fn begin_following(&self, source: &EndpointSource) -> bool {
        let mut inner = self.lock();
        let first = inner.followed.iter().all(|(known, _)| known != source);
        if first {
            inner.followed.push((source.clone(), Found::default()));
        }
        first
    }

    /// Whether a followed source is still wanted; if not, following it has ended.
    fn still_follows(&self, source: &EndpointSource) -> bool {
        let mut inner = self.lock();
        let wanted = inner.sources.contains(source);
        if !wanted {
            inner.followed.retain(|(known, _)| known != source);
        }
        wanted
    }

    /// What a source has found now.
    fn set_found(&self, source: &EndpointSource, answer: Result<Vec<Target>, String>) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        if let Some((_, found)) = inner.followed.iter_mut().find(|(known, _)| known == source) {
            found.take(answer.clone());
        }
        let mut wanted = inner.sources.iter().zip(&mut inner.found);
        let Some((_, found)) = wanted.find(|(known, _)| *known == source) else { return };
        found.take(answer);
        self.rebuild(inner);
    }

    /// Makes the list anew, keeping the endpoints that stay.
    fn rebuild(&self, inner: &mut Endpoints) {
        let mut list: Vec<Arc<Endpoint>> = Vec::new();
        for target in inner.found.iter().filter_map(|found| found.targets.as_ref()).flatten() {
            if list.iter().any(|endpoint| endpoint.target == *target) {
                continue;
            }
            let known = inner.list.iter().find(|endpoint| endpoint.target == *target).cloned();
            list.push(known.unwrap_or_else(|| Arc::new(Endpoint::new(target.clone()))));
        }
        let changed = list.len() != inner.list.len()
            || list.iter().zip(&inner.list).any(|(new, old)| !Arc::ptr_eq(new, old));
        if changed {
            inner.list = list;
            self.version.fetch_add(1, Ordering::Release);
        }
        self.settled.notify_waiters();
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
    hosts: HashMap<Box<str>, Arc<SharedUpstream>>,
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
        shared.set_sources(&upstream.endpoints, app);
        for source in &upstream.endpoints {
            if let EndpointSource::Dns { .. } = source {
                self.resolver.follow(&shared, source);
            }
        }
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
        if let Some(upstream) = known.hosts.get(key.as_str()) {
            return Some(Arc::clone(upstream));
        }
        if known.hosts.len() >= limit {
            // Only the registry (and its lookups, by weak reference) still knows these.
            known.hosts.retain(|_, upstream| Arc::strong_count(upstream) > 1);
            if known.hosts.len() >= limit {
                return None;
            }
        }
        let upstream = Arc::new(SharedUpstream::new("host".into(), limits));
        let source = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) => EndpointSource::Address(SocketAddr::new(ip, port)),
            Err(_) => EndpointSource::Dns { host: host.to_owned(), port },
        };
        upstream.set_sources(std::slice::from_ref(&source), None);
        if let EndpointSource::Dns { .. } = source {
            self.resolver.follow(&upstream, &source);
        }
        known.hosts.insert(key.into(), Arc::clone(&upstream));
        Some(upstream)
    }

    /// The app listens here now, or no longer.
    pub(crate) fn set_app(&self, address: Option<SocketAddr>) {
        let address = address.map(reachable);
        let mut known = self.lock();
        known.app = address;
        let targets: Vec<_> = address.into_iter().map(Target::Tcp).collect();
        for upstream in known.named.values() {
            upstream.set_found(&EndpointSource::App, Ok(targets.clone()));
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
        let named = known.named.values().map(|upstream| (upstream.name.to_string(), upstream));
        let hosts = known.hosts.iter().map(|(host, upstream)| (host.to_string(), upstream));
        let mut all: Vec<_> =
            named.chain(hosts).map(|(name, up)| UpstreamStatus::of(name, up)).collect();
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
