//! Answers that are kept: those with a lease until it ends, and the last good one of each read for
//! the time that the server is away.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use zeroize::Zeroizing;

/// The part of a lease that must be left for its answer to be given to another request.
const LEFT: u32 = 10;

/// What makes two requests the same: a digest, so that no token is kept for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl Key {
    /// The key of parts whose lengths are part of it.
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        Self(key)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// An answer that is kept.
pub(super) struct Kept {
    /// Overwritten when it goes.
    pub(super) body: Zeroizing<Vec<u8>>,
    /// The request's path.
    pub(super) path: String,
    /// Of the token that asked.
    pub(super) token: Key,
    pub(super) at: Instant,
    /// Name and length; `None`: kept only for the time that the server is away.
    pub(super) lease: Option<(String, Duration)>,
}

impl Kept {
    /// Whether other requests may have it while the server is there.
    fn is_fresh(&self, now: Instant) -> bool {
        self.lease.as_ref().is_some_and(|(_, length)| {
            now.duration_since(self.at) < length.saturating_sub(*length / LEFT)
        })
    }

    /// Whether it may be given at all: a lease that ended is worth nothing.
    fn is_alive(&self, now: Instant) -> bool {
        self.lease.as_ref().is_none_or(|(_, length)| now.duration_since(self.at) < *length)
    }
}

/// What one request made worthless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The lease.
    Lease(String),
    /// All leases below.
    Leases(String),
    /// All that a token asked for.
    Token(Key),
    /// More than can be told.
    Everything,
}

/// The answers that are kept; never more than `entries`, nor more bytes than `most`.
pub(super) struct Answers {
    entries: usize,
    most: usize,
    bytes: usize,
    kept: HashMap<Key, Kept>,
}

impl Answers {
    pub(super) fn new(entries: usize, most: usize) -> Self {
        Self { entries, most, bytes: 0, kept: HashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// The answer that serves as well as asking, and its age.
    pub(super) fn fresh(&self, key: &Key, now: Instant) -> Option<(Bytes, Duration)> {
        self.kept.get(key).filter(|kept| kept.is_fresh(now)).map(|kept| shown(kept, now))
    }

    /// The last good answer, and its age.
    pub(super) fn last(&self, key: &Key, now: Instant) -> Option<(Bytes, Duration)> {
        self.kept.get(key).filter(|kept| kept.is_alive(now)).map(|kept| shown(kept, now))
    }

    /// Keeps an answer, unless it alone is too much. Returns how many were pushed out, or not kept,
    /// because there were too many, and because they had too many bytes.
    pub(super) fn keep(&mut self, key: Key, kept: Kept) -> (u64, u64) {
        self.remove(|other, _| *other == key);
        if self.entries == 0 || self.most == 0 {
            return (0, 0);
        }
        if kept.body.len() > self.most {
            return (0, 1);
        }
        let (now, mut by_entries, mut by_bytes) = (kept.at, 0, 0);
        self.remove(|_, kept| !kept.is_alive(now));
        loop {
            let are_too_many = self.kept.len() >= self.entries;
            if !are_too_many && self.bytes + kept.body.len() <= self.most {
                break;
            }
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.at).map(|(key, _)| *key);
            let Some(oldest) = oldest else { break };
            self.remove(|key, _| *key == oldest);
            *(if are_too_many { &mut by_entries } else { &mut by_bytes }) += 1;
        }
        self.bytes += kept.body.len();
        self.kept.insert(key, kept);
        (by_entries, by_bytes)
    }

    /// Forgets the reads of a path that was written.
    pub(super) fn written(&mut self, path: &str) {
        self.remove(|_, kept| kept.lease.is_none() && kept.path == path);
    }

    pub(super) fn end(&mut self, ended: &Ended) {
        self.remove(|_, kept| match (ended, &kept.lease) {
            (Ended::Lease(id), Some((lease, _))) => id == lease,
            (Ended::Leases(prefix), Some((lease, _))) => lease.starts_with(prefix),
            (Ended::Lease(_) | Ended::Leases(_), None) => false,
            (Ended::Token(token), _) => kept.token == *token,
            (Ended::Everything, _) => true,
        });
    }

    fn remove(&mut self, is_gone: impl Fn(&Key, &Kept) -> bool) {
        self.kept.retain(|key, kept| !is_gone(key, kept));
        self.bytes = self.kept.values().map(|kept| kept.body.len()).sum();
    }
}

fn shown(kept: &Kept, now: Instant) -> (Bytes, Duration) {
    (Bytes::copy_from_slice(&kept.body), now.duration_since(kept.at))
}
