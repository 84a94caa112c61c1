//! Follows a host name: looks it up again whenever its answer's time to live ends, and keeps the
//! last good answer when a lookup fails.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use pillion_model::snapshot::EndpointSource;
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::{SharedUpstream, Target};
use crate::metrics::DnsStats;

/// An answer is believed for no less than this, whatever its time to live says: a zero must not
/// become a busy loop.
const TTL_MIN: Duration = Duration::from_secs(1);
/// Nor for longer than this: names move, and an hour is long at 3 a.m.
const TTL_MAX: Duration = Duration::from_secs(300);
/// The first wait after a failed lookup; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Looks names up on the control runtime, never on a worker.
#[derive(Debug)]
pub(crate) struct Resolver {
    runtime: Handle,
    /// Made at the first name: a configuration without names costs nothing.
    shared: Arc<OnceLock<Result<TokioResolver, String>>>,
    stats: Arc<DnsStats>,
}

impl Resolver {
    pub(crate) fn new(runtime: Handle, stats: DnsStats) -> Self {
        Self { runtime, shared: Arc::default(), stats: Arc::new(stats) }
    }

    /// Keeps what `source`, a name, stands for up to date, as long as the upstream lives and wants
    /// it. Following twice what is followed already does nothing.
    pub(super) fn follow(&self, upstream: &Arc<SharedUpstream>, source: &EndpointSource) {
        let EndpointSource::Dns { host, port } = source else { return };
        if !upstream.begin_following(source) {
            return;
        }
        let name = Name { host: host.clone(), port: *port, source: source.clone() };
        let task = follow(
            Arc::downgrade(upstream),
            name,
            Arc::clone(&self.shared),
            Arc::clone(&self.stats),
        );
        drop(self.runtime.spawn(task));
    }
}

struct Name {
    host: String,
    port: u16,
    source: EndpointSource,
}

async fn follow(
    upstream: Weak<SharedUpstream>,
    name: Name,
    resolver: Arc<OnceLock<Result<TokioResolver, String>>>,
    stats: Arc<DnsStats>,
) {
    let mut retry = RETRY_MIN;
    loop {
        match upstream.upgrade() {
            Some(upstream) if upstream.still_follows(&name.source) => {}
            _ => return,
        }
        let answer = match resolver.get_or_init(system_resolver) {
            Ok(resolver) => look_up(resolver, &name).await,
            Err(reason) => Err(reason.clone()),
        };
        let wait = match &answer {
            Ok((_, ttl)) => {
                stats.answered();
                retry = RETRY_MIN;
                *ttl
            }
            Err(_) => {
                stats.failed();
                let wait = retry;
                retry = (retry * 2).min(RETRY_MAX);
                wait
            }
        };
        let Some(upstream) = upstream.upgrade() else { return };
        upstream.set_found(&name.source, answer.map(|(targets, _)| targets));
        drop(upstream);
        sleep(wait).await;
    }
}

async fn look_up(resolver: &TokioResolver, name: &Name) -> Result<(Vec<Target>, Duration), String> {
    let answer = resolver
        .lookup_ip(name.host.as_str())
        .await
        .map_err(|error| format!("look up {}: {error}", name.host))?;
    let mut targets: Vec<_> =
        answer.iter().map(|ip| Target::Tcp(SocketAddr::new(ip, name.port))).collect();
    if targets.is_empty() {
        return Err(format!("look up {}: no address", name.host));
    }
    // Servers rotate their answers; an order of our own keeps the list, and so the pools, stable.
    targets.sort_by_key(ToString::to_string);
    let ttl = answer.valid_until().saturating_duration_since(Instant::now());
    Ok((targets, ttl.clamp(TTL_MIN, TTL_MAX)))
}

/// The machine's own resolver: `/etc/resolv.conf` and `/etc/hosts`.
fn system_resolver() -> Result<TokioResolver, String> {
    let mut builder = TokioResolver::builder_tokio()
        .map_err(|error| format!("read /etc/resolv.conf: {error}"))?;
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Always;
    // The answer's own time to live decides when to ask again, so a cache of its own would only
    // serve a name that two upstreams share.
    options.cache_size = 64;
    builder.build().map_err(|error| format!("make a resolver: {error}"))
}
