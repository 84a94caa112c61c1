//! How much one upstream may hold at a time, counted over all workers.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use pillion_model::snapshot::UpstreamLimits;

/// The counts and limits of one upstream.
///
/// One `Breaker` serves all workers and outlives reloads: [`Breaker::set_limits`] replaces the
/// limits under the counts. A count and its limit lie side by side, and all of them in one cache
/// line of their own: taking a permit touches one line, and nothing else shares it.
///
/// Relaxed, everywhere in this file: each atomic stands for itself. No other memory is handed over
/// through a count, and that the additions to one count have one order, which is all that a limit
/// needs, holds for every ordering.
#[derive(Debug)]
#[repr(align(64))]
pub struct Breaker {
    connections: Gauge,
    pending: Gauge,
    requests: Gauge,
    /// Retries in flight; their limit follows from the requests in flight.
    retries: AtomicU32,
    retry_percent: AtomicU32,
    retry_min: AtomicU32,
}

#[derive(Debug)]
struct Gauge {
    /// Permits out now. Above the limit for the moment in which a refused one is taken back.
    used: AtomicU32,
    limit: AtomicU32,
}

impl Gauge {
    const fn new(limit: u32) -> Self {
        Self { used: AtomicU32::new(0), limit: AtomicU32::new(limit) }
    }
}

/// What a permit stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// An open connection.
    Connection,
    /// A request that waits for a connection.
    Pending,
    /// A request in flight.
    Request,
    /// A retry in flight.
    Retry,
}

/// How many permits of each kind are out. A count may be a little above its limit for a moment:
/// one that was refused is counted until it is taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Open connections.
    pub connections: u32,
    /// Requests that wait for a connection.
    pub pending: u32,
    /// Requests in flight.
    pub requests: u32,
    /// Retries in flight.
    pub retries: u32,
}

impl Breaker {
    /// Nothing in use, under these limits.
    pub const fn new(limits: UpstreamLimits) -> Self {
        Self {
            connections: Gauge::new(limits.connections),
            pending: Gauge::new(limits.pending),
            requests: Gauge::new(limits.requests),
            retries: AtomicU32::new(0),
            retry_percent: AtomicU32::new(limits.retry_percent),
            retry_min: AtomicU32::new(limits.retry_min),
        }
    }

    /// Replaces the limits. Permits that are out stay out; where there are more than a new limit
    /// allows, no further one is given until enough have come back.
    pub fn set_limits(&self, limits: UpstreamLimits) {
        self.connections.limit.store(limits.connections, Relaxed);
        self.pending.limit.store(limits.pending, Relaxed);
        self.requests.limit.store(limits.requests, Relaxed);
        self.retry_percent.store(limits.retry_percent, Relaxed);
        self.retry_min.store(limits.retry_min, Relaxed);
    }

    /// The limits in force.
    pub fn limits(&self) -> UpstreamLimits {
        UpstreamLimits {
            connections: self.connections.limit.load(Relaxed),
            pending: self.pending.limit.load(Relaxed),
            requests: self.requests.limit.load(Relaxed),
            retry_percent: self.retry_percent.load(Relaxed),
            retry_min: self.retry_min.load(Relaxed),
        }
    }

    /// What is in use now.
    pub fn counts(&self) -> Counts {
        Counts {
            connections: self.connections.used.load(Relaxed),
            pending: self.pending.used.load(Relaxed),
            requests: self.requests.used.load(Relaxed),
            retries: self.retries.load(Relaxed),
        }
    }

    /// Room for one more request in flight: one atomic addition now, one when the permit drops.
    pub fn try_request(&self) -> Option<Permit<&Self>> {
        Self::acquire(self, Resource::Request)
    }

    /// Room for one more request that waits for a connection.
    pub fn try_pending(&self) -> Option<Permit<&Self>> {
        Self::acquire(self, Resource::Pending)
    }

    /// Room for one more retry: retries in flight stay within `retry_percent` of the requests in
    /// flight at this moment, the retried one included, or within `retry_min` where that is more.
    /// Hold it until the retry has ended.
    pub fn try_retry(&self) -> Option<Permit<&Self>> {
        Self::acquire(self, Resource::Retry)
    }

    /// Room for one more connection. The permit owns its share of the breaker, because a connection
    /// lives in a pool and not in an exchange.
    pub fn try_connection(self: &Arc<Self>) -> Option<Permit<Arc<Self>>> {
        Self::acquire(Arc::clone(self), Resource::Connection)
    }

    /// Room for one more of `resource`, in a permit that keeps `owner`: a plain reference is free,
    /// an `Arc` costs two more atomic steps.
    pub fn acquire<B: Deref<Target = Self>>(owner: B, resource: Resource) -> Option<Permit<B>> {
        owner.enter(resource).then_some(())?;
        Some(Permit { breaker: owner, resource })
    }

    fn enter(&self, resource: Resource) -> bool {
        let used = self.used(resource);
        let entered = used.fetch_add(1, Relaxed) < self.limit(resource);
        if !entered {
            used.fetch_sub(1, Relaxed);
        }
        entered
    }

    const fn used(&self, resource: Resource) -> &AtomicU32 {
        match resource {
            Resource::Connection => &self.connections.used,
            Resource::Pending => &self.pending.used,
            Resource::Request => &self.requests.used,
            Resource::Retry => &self.retries,
        }
    }

    fn limit(&self, resource: Resource) -> u32 {
        match resource {
            Resource::Connection => self.connections.limit.load(Relaxed),
            Resource::Pending => self.pending.limit.load(Relaxed),
            Resource::Request => self.requests.limit.load(Relaxed),
            Resource::Retry => self.retry_limit(),
        }
    }

    fn retry_limit(&self) -> u32 {
        let requests = u64::from(self.requests.used.load(Relaxed));
        let share = requests * u64::from(self.retry_percent.load(Relaxed)) / 100;
        u32::try_from(share).unwrap_or(u32::MAX).max(self.retry_min.load(Relaxed))
    }
}

/// The right to use one of a [`Resource`]; it is given back on drop.
#[derive(Debug)]
#[must_use = "dropping it gives the place back"]
pub struct Permit<B: Deref<Target = Breaker>> {
    breaker: B,
    resource: Resource,
}

impl<B: Deref<Target = Breaker>> Drop for Permit<B> {
    fn drop(&mut self) {
        self.breaker.used(self.resource).fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
