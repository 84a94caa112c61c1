//! What the interface did, over all its lives in this process.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers that are written by the interface and read by anybody.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) asked: Number,
    pub(super) hits: Number,
    pub(super) stale: Number,
    pub(super) failed: Number,
    pub(super) refused: Number,
    pub(super) invalid: Number,
    pub(super) joined: Number,
    pub(super) in_flight: Number,
    pub(super) kept: Number,
    pub(super) long_bodies: Number,
    pub(super) waits: Number,
    pub(super) long_answers: Number,
    pub(super) over_entries: Number,
    pub(super) over_bytes: Number,
}

/// The numbers of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Answered by the server.
    pub asked: u64,
    /// Answered with a kept answer whose lease holds.
    pub hits: u64,
    /// Answered with an old answer, since the server was away.
    pub stale: u64,
    /// Not answered by the server, and there was no old answer.
    pub failed: u64,
    /// Refused by the guard: not meant for us, or from a browser or proxy.
    pub refused: u64,
    /// With a method, path or body that is not served.
    pub invalid: u64,
    /// Those of all these that waited for the same request under way.
    pub joined: u64,
    /// Requests that are being answered now.
    pub in_flight: u64,
    /// Answers that are kept now.
    pub kept: u64,
    /// Times that a limit refused something, pushed it out or made it wait, by the limit's key below
    /// `secrets`.
    pub limit_hits: [(&'static str, u64); 5],
}

impl Counters {
    /// What they are now.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        Numbers {
            asked: self.asked.get(),
            hits: self.hits.get(),
            stale: self.stale.get(),
            failed: self.failed.get(),
            refused: self.refused.get(),
            invalid: self.invalid.get(),
            joined: self.joined.get(),
            in_flight: self.in_flight.get(),
            kept: self.kept.get(),
            limit_hits: [
                ("api.body_bytes", self.long_bodies.get()),
                ("api.connections", self.waits.get()),
                ("api.entries", self.over_entries.get()),
                ("api.kept_bytes", self.over_bytes.get()),
                ("server.answer_bytes", self.long_answers.get()),
            ],
        }
    }
}

/// Relaxed everywhere: each is a number on its own, ordered with nothing.
#[derive(Debug, Default)]
pub(super) struct Number(AtomicU64);

impl Number {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn set(&self, now: u64) {
        self.0.store(now, Ordering::Relaxed);
    }

    /// One more for as long as what is returned lives.
    pub(super) fn enter(&self) -> Entered<'_> {
        self.add(1);
        Entered(self)
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Takes one away when it goes.
pub(super) struct Entered<'a>(&'a Number);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
