//! Follows a host name: looks it up again whenever its answer's time to live ends, and keeps the
//! last good answer when a lookup fails.

mod system;

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use pillion_model::snapshot::EndpointSource;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use self::system::System;
use super::{SharedUpstream, Target};
use crate::metrics::DnsStats;

/// An answer is believed for no less than this, whatever its time to live says: a zero must not
/// become a busy loop.
const TTL_MIN: Duration = Duration::from_secs(1);
/// Nor for longer than this: names move, and an hour is long at 3 a.m.
const TTL_MAX: Duration = Duration::from_secs(300);
/// The first wait after a failed lookup, and the shortest; it doubles up to [`RETRY_MAX`].
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

    /// Keeps what a name stands for up to date, as long as the upstream lives and wants it.
    pub(super) fn follow(&self, upstream: &Arc<SharedUpstream>, name: EndpointSource) {
        let follower = Follower {
            upstream: Arc::downgrade(upstream),
            hurry: Arc::clone(&upstream.hurry),
            name,
            system: Arc::clone(&self.system),
            stats: Arc::clone(&self.stats),
        };
        drop(self.runtime.spawn(follower.run()));
    }
}

/// Follows one name of one upstream.
struct Follower {
    upstream: Weak<SharedUpstream>,
    hurry: Arc<Notify>,
    name: EndpointSource,
    system: Arc<System>,
    stats: Arc<DnsStats>,
}

impl Follower {
    async fn run(self) {
        let mut retry = RETRY_MIN;
        loop {
            // Before the look: an end that comes after it is told.
            let hurried = self.hurry.notified();
            let upstream = self.upstream.upgrade();
            if !upstream.is_some_and(|known| known.lock().still_wants(&self.name)) {
                return;
            }
            let (least, most) = match self.look_up().await {
                Ok((targets, ttl)) => {
                    self.stats.answered();
                    self.tell(Ok(targets));
                    retry = RETRY_MIN;
                    (TTL_MIN, ttl)
                }
                Err(reason) => {
                    self.stats.failed();
                    self.tell(Err(reason));
                    let wait = retry;
                    retry = (retry * 2).min(RETRY_MAX);
                    (RETRY_MIN, wait)
                }
            };
            sleep(least).await;
            // Whichever comes first.
            drop(timeout(most.saturating_sub(least), hurried).await);
        }
    }

    /// The endpoints of the name, and how long to believe in them.
    async fn look_up(&self) -> Result<(Vec<Target>, Duration), String> {
        let EndpointSource::Dns { host, port } = &self.name else {
            return Err("not a name".to_owned());
        };
        let answer = self.system.look_up(host).await;
        let answer = answer.map_err(|reason| format!("look up {host}: {reason}"))?;
        let mut addresses = answer.addresses;
        // Servers rotate their answers; an order of our own keeps the list, and so the pools,
        // stable.
        addresses.sort_unstable();
        let targets = addresses.into_iter().map(|ip| Target::Tcp(SocketAddr::new(ip, *port)));
        Ok((targets.collect(), answer.ttl.clamp(TTL_MIN, TTL_MAX)))
    }

    fn tell(&self, answer: Result<Vec<Target>, String>) {
        if let Some(upstream) = self.upstream.upgrade() {
            upstream.change(|sources| sources.answer(&self.name, answer));
        }
    }
}
