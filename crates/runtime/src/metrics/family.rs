//! One metric's series: which handles are alive, what the dropped ones left, when one is forgotten.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::render::label_text;
use super::{Desc, Kind, Shard, lock};

/// How long a series without a live handle is still shown.
const IDLE: Duration = Duration::from_secs(600);
/// A full family looks for forgotten series this often at most.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// The label value of the series that takes what exceeds the limit.
const OVERFLOW: &str = "overflow";

/// A metric and all its series.
pub(super) struct Family {
    pub(super) desc: &'static Desc,
    /// The label text of the overflow series, which is beyond the limit.
    overflow: Arc<str>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the text of the labels, as it is rendered.
    series: BTreeMap<Arc<str>, Series>,
    /// Handles that were sent to the overflow series.
    overflows: u64,
    swept: Option<Instant>,
}

#[derive(Default)]
struct Series {
    shards: Vec<Shard>,
    /// What dropped handles left; empty as long as there is none.
    retired: Vec<u64>,
    /// When it was first seen without a live handle.
    idle_since: Option<Instant>,
}

/// One series at one moment: its label text and its numbers.
pub(super) type Reading = (Arc<str>, Vec<u64>);

impl Family {
    pub(super) fn new(desc: &'static Desc) -> Self {
        let overflow = label_text(desc.labels, desc.labels.iter().map(|_| OVERFLOW)).into();
        Self { desc, overflow, state: Mutex::default() }
    }

    /// Adds a handle's numbers to the series with these label values, or to the overflow series.
    pub(super) fn attach(&self, labels: &[&str], shard: Shard, limit: usize, now: Instant) {
        debug_assert_eq!(labels.len(), self.desc.labels.len(), "{}", self.desc.name);
        let mut key: Arc<str> = label_text(self.desc.labels, labels.iter().copied()).into();
        let mut state = lock(&self.state);
        let has_room = |state: &State| {
            let beyond_limit = usize::from(state.series.contains_key(&self.overflow));
            state.series.len() - beyond_limit < limit || state.series.contains_key(&key)
        };
        if !has_room(&state) {
            state.sweep(self.desc.kind, now);
            if !has_room(&state) {
                key = self.overflow.clone();
                state.overflows += 1;
            }
        }
        state.series.entry(key).or_default().attach(self.desc.kind, shard);
    }

    /// Every series' sum, after forgetting those that were idle for too long; and how many handles
    /// overflowed so far.
    pub(super) fn read(&self, now: Instant) -> (Vec<Reading>, u64) {
        let mut state = lock(&self.state);
        state.forget_idle(self.desc.kind, now);
        let readings = state.series.iter().map(|(key, s)| (key.clone(), s.sum())).collect();
        (readings, state.overflows)
    }
}

impl State {
    /// Makes room without waiting for a scrape, but not for every single handle of a flood.
    fn sweep(&mut self, kind: Kind, now: Instant) {
        if self.swept.is_none_or(|at| now.duration_since(at) >= SWEEP_INTERVAL) {
            self.swept = Some(now);
            self.forget_idle(kind, now);
        }
    }

    fn forget_idle(&mut self, kind: Kind, now: Instant) {
        self.series.retain(|_, series| {
            series.fold_dropped(kind);
            series.shards.shrink_to(4);
            if !series.shards.is_empty() {
                series.idle_since = None;
                return true;
            }
            let since = *series.idle_since.get_or_insert(now);
            now.saturating_duration_since(since) < IDLE
        });
    }
}

impl Series {
    fn attach(&mut self, kind: Kind, shard: Shard) {
        // Only before the list would grow: handles that come and go between two scrapes cost
        // amortised constant time, and no memory.
        if self.shards.len() == self.shards.capacity() {
            self.fold_dropped(kind);
        }
        self.idle_since = None;
        self.shards.push(shard);
    }

    /// Takes the numbers of dropped handles over. A gauge's part goes with its handle.
    fn fold_dropped(&mut self, kind: Kind) {
        let retired = &mut self.retired;
        self.shards.retain_mut(|shard| {
            // The only reference left is ours: `get_mut` also makes the last writes visible.
            let Some(cells) = Arc::get_mut(shard) else { return true };
            if kind != Kind::Gauge {
                retired.resize(retired.len().max(cells.len()), 0);
                for (total, cell) in retired.iter_mut().zip(cells) {
                    *total = total.wrapping_add(*cell.get_mut());
                }
            }
            false
        });
    }

    fn sum(&self) -> Vec<u64> {
        let width = self.shards.first().map_or(1, |shard| shard.len());
        let mut sum = self.retired.clone();
        sum.resize(sum.len().max(width), 0);
        for shard in &self.shards {
            for (total, cell) in sum.iter_mut().zip(shard.iter()) {
                // Relaxed: each number stands alone, a scrape is no snapshot.
                *total = total.wrapping_add(cell.load(Ordering::Relaxed));
            }
        }
        sum
    }
}
