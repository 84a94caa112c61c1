//! Follows a host name: looks it up again whenever its answer's time to live ends, and keeps the
//! last good answer when a lookup fails.

mod system;

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use pillion_model::snapshot::EndpointSource;
use tokio::runtime::Handle;
use tokio::time::sleep;

use self::system::System;
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
    /// Reads its files at the first name: a configuration without names costs nothing.
    system: Arc<System>,
    stats: Arc<DnsStats>,
}

impl Resolver {
    pub(crate) fn new(runtime: Handle, stats: DnsStats) -> Self {
        Self { runtime, system: Arc::default(), stats: Arc::new(stats) }
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
            Arc::clone(&self.system),
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
    system: Arc<System>,
    stats: Arc<DnsStats>,
) {
    let mut retry = RETRY_MIN;
    loop {
        match upstream.upgrade() {
            Some(upstream) if upstream.still_follows(&name.source) => {}
            _ => return,
        }
        let answer = look_up(&system, &name).await;
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

/// The endpoints of a name, and how long to believe in them.
async fn look_up(system: &System, name: &Name) -> Result<(Vec<Target>, Duration), String> {
    let answer = system.look_up(&name.host).await;
    let answer = answer.map_err(|reason| format!("look up {}: {reason}", name.host))?;
    let mut addresses = answer.addresses;
    // Servers rotate their answers; an order of our own keeps the list, and so the pools, stable.
    addresses.sort_unstable();
    let targets = addresses.into_iter().map(|ip| Target::Tcp(SocketAddr::new(ip, name.port)));
    Ok((targets.collect(), answer.ttl.clamp(TTL_MIN, TTL_MAX)))
}
