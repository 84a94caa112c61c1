//! Counters, gauges and histograms that cost the data path a few nanoseconds, rendered as
//! OpenMetrics text.
//!
//! Every worker asks the [`Registry`] for a handle of its own and is the only one that writes it;
//! whoever scrapes sums the handles of equal labels. A handle that is dropped (its route is gone)
//! leaves its total behind, so that a counter never goes back.

mod buckets;
mod family;
mod render;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use self::buckets::Buckets;
pub(crate) use self::render::OVERFLOW;
pub use self::render::{Format, Samples};

use self::family::Family;

/// Series that one family may have unless [`Registry::new`] is told otherwise.
pub const DEFAULT_SERIES_LIMIT: usize = 2000;

/// What a metric is: one `static` for each.
#[derive(Debug)]
pub struct Desc {
    /// Name of the family, ending in its unit if it has one, without `_total`.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// `seconds`, `bytes`, or empty for a plain number.
    pub unit: &'static str,
    /// One sentence for people.
    pub help: &'static str,
    /// Names of the labels; values are given in the same order.
    pub labels: &'static [&'static str],
}

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows; rendered with `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations, recorded in microseconds, rendered in seconds.
    Histogram(&'static Buckets),
}

/// All metrics of the process. Clones are the same registry.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    series_limit: usize,
    families: Mutex<BTreeMap<&'static str, Arc<Family>>>,
    collectors: Mutex<Vec<Arc<Collector>>>,
}

type Collector = dyn Fn(&mut Samples) + Send + Sync;

/// The numbers of one handle: `[value]`, or `[sum, bucket, bucket, …]` of a histogram.
type Shard = Arc<[AtomicU64]>;

impl Registry {
    /// A registry whose families hold up to `series_limit` series each. What comes after shares
    /// one series with every label set to `overflow`, and `pillion_metric_series_overflow_total`
    /// moves.
    pub fn new(series_limit: usize) -> Self {
        Self(Arc::new(Inner {
            series_limit,
            families: Mutex::default(),
            collectors: Mutex::default(),
        }))
    }

    /// A new handle on the counter with these label values.
    ///
    /// Ask for it on the thread that will write it: the allocator then keeps the numbers of
    /// different threads on different cache lines.
    pub fn counter(&self, desc: &'static Desc, labels: &[&str]) -> Counter {
        debug_assert_eq!(desc.kind, Kind::Counter, "{}", desc.name);
        let cell = Arc::new([AtomicU64::new(0)]);
        self.attach(desc, labels, cell.clone());
        Counter { cell, one_writer: PhantomData }
    }

    /// A new handle on the gauge with these label values; the gauge is the sum of its handles, and
    /// a handle that is dropped takes its part away.
    pub fn gauge(&self, desc: &'static Desc, labels: &[&str]) -> Gauge {
        debug_assert_eq!(desc.kind, Kind::Gauge, "{}", desc.name);
        let cell = Arc::new([AtomicU64::new(0)]);
        self.attach(desc, labels, cell.clone());
        Gauge { cell, one_writer: PhantomData }
    }

    /// A new handle on the histogram with these label values.
    pub fn histogram(&self, desc: &'static Desc, labels: &[&str]) -> Histogram {
        let buckets = match desc.kind {
            Kind::Histogram(buckets) => buckets,
            Kind::Counter | Kind::Gauge => {
                debug_assert!(false, "{} is no histogram", desc.name);
                &Buckets::LATENCY
            }
        };
        let shard: Shard = (0..=buckets.cells()).map(|_| AtomicU64::new(0)).collect();
        self.attach(desc, labels, shard.clone());
        Histogram { shard, buckets, one_writer: PhantomData }
    }

    /// Adds values that are read at every scrape, by calling `read` on the scraping thread.
    pub fn collector(&self, read: Box<dyn Fn(&mut Samples) + Send + Sync>) {
        lock(&self.0.collectors).push(read.into());
    }

    /// Everything as OpenMetrics 1.0 text.
    pub fn render(&self) -> String {
        self.render_as(Format::OpenMetrics, Instant::now())
    }

    /// Everything in `format`. Series without a live handle are forgotten once they have been seen
    /// so for ten minutes before `now`.
    pub fn render_as(&self, format: Format, now: Instant) -> String {
        let families: Vec<_> = lock(&self.0.families).values().cloned().collect();
        let collectors = lock(&self.0.collectors).clone();
        render::render(format, &families, &collectors, now)
    }

    fn attach(&self, desc: &'static Desc, labels: &[&str], shard: Shard) {
        let family = lock(&self.0.families)
            .entry(desc.name)
            .or_insert_with(|| Arc::new(Family::new(desc)))
            .clone();
        family.attach(labels, shard, self.0.series_limit, Instant::now());
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("series_limit", &self.0.series_limit)
            .finish_non_exhaustive()
    }
}

/// Takes a lock whose data stays sound even where a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One thread at a time may hold a handle: its writes are no read-modify-writes.
type OneWriter = PhantomData<Cell<()>>;

/// Adds to a cell that this thread alone writes.
fn bump(cell: &AtomicU64, by: u64) {
    // Relaxed, and a load and a store in place of fetch_add: there is one writer (the handles are
    // neither Clone nor Sync), so nothing is lost without the lock prefix, and a reader needs no
    // order between numbers. The last value is seen through the drop of the handle's Arc.
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

/// A number that only grows. Belongs to the thread that writes it.
#[derive(Debug)]
pub struct Counter {
    cell: Arc<[AtomicU64; 1]>,
    one_writer: OneWriter,
}

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `by`.
    pub fn add(&self, by: u64) {
        let [cell] = &*self.cell;
        bump(cell, by);
    }
}

/// A number that goes up and down. Belongs to the thread that writes it.
#[derive(Debug)]
pub struct Gauge {
    cell: Arc<[AtomicU64; 1]>,
    one_writer: OneWriter,
}

impl Gauge {
    /// Adds `by`, which may be negative.
    pub fn add(&self, by: i64) {
        let [cell] = &*self.cell;
        // Two's complement: adding the bits of a negative number subtracts.
        bump(cell, by.cast_unsigned());
    }

    /// Makes this handle's part `value`.
    pub fn set(&self, value: i64) {
        let [cell] = &*self.cell;
        // Relaxed: as in `bump`.
        cell.store(value.cast_unsigned(), Ordering::Relaxed);
    }
}

/// A distribution of durations. Belongs to the thread that writes it.
#[derive(Debug)]
pub struct Histogram {
    shard: Shard,
    buckets: &'static Buckets,
    one_writer: OneWriter,
}

impl Histogram {
    /// Counts one duration, in microseconds.
    pub fn record_us(&self, us: u64) {
        if let [sum, buckets @ ..] = &*self.shard {
            bump(sum, us);
            if let Some(bucket) = buckets.get(self.buckets.index(us)) {
                bump(bucket, 1);
            }
        }
    }
}
