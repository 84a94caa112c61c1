//! The requests that the app is serving, known well enough to say to which one a log line belongs
//! when there is no doubt.
//!
//! Each worker keeps four running totals: how many requests began and ended, and the exclusive or of
//! the ids of those that began and of those that ended. From two looks at them follows how many
//! requests were in flight at any time between the looks, and if it was one alone, its ids: the
//! exclusive or of a single value is the value. No list, no lock, no allocation on the request path.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};

/// Ids of an exchange, as the app sees them in `traceparent` (W3C Trace Context).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExchangeIds {
    /// The trace, 16 bytes.
    pub trace: u128,
    /// The span that the app is a child of, 8 bytes.
    pub span: u64,
}

/// What all workers know. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Exchanges(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    followed: AtomicBool,
    workers: Mutex<Vec<Arc<Totals>>>,
}

/// The part of one worker: the only one that writes it.
#[derive(Debug)]
pub struct WorkerExchanges {
    totals: Arc<Totals>,
    shared: Arc<Shared>,
}

/// Odd `version`: a write is under way.
#[derive(Debug, Default)]
struct Totals {
    version: AtomicU64,
    began: Sum,
    ended: Sum,
}

#[derive(Debug, Default)]
struct Sum {
    count: AtomicU64,
    ids: [AtomicU64; 3],
}

/// What is known about the requests of a stretch of time: from one look to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    began: u64,
    began_ids: [u64; 3],
    ended: u64,
    ended_ids: [u64; 3],
}

impl Exchanges {
    /// The part of one more worker.
    #[must_use]
    pub fn worker(&self) -> WorkerExchanges {
        let totals = Arc::<Totals>::default();
        self.workers().push(totals.clone());
        WorkerExchanges { totals, shared: self.0.clone() }
    }

    /// Says that somebody looks. Until then workers note nothing.
    pub fn follow(&self) {
        // Relaxed: an exchange more or less at the start does no harm, whoever noted its beginning notes its end.
        self.0.followed.store(true, Ordering::Relaxed);
    }

    /// A look at all workers.
    #[must_use]
    pub fn look(&self) -> Window {
        let mut sum = Window::default();
        for totals in self.workers().iter() {
            totals.add_to(&mut sum);
        }
        sum
    }

    fn workers(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Totals>>> {
        self.0.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WorkerExchanges {
    /// Whether somebody looks: else nothing needs to be noted.
    #[must_use]
    pub fn are_followed(&self) -> bool {
        // Relaxed: see `Exchanges::follow`.
        self.shared.followed.load(Ordering::Relaxed)
    }

    /// The app begins to serve an exchange, which [`WorkerExchanges::ended`] is called for too.
    pub fn began(&self, ids: ExchangeIds) {
        self.totals.write(&self.totals.began, ids);
    }

    /// An exchange that was noted has ended.
    pub fn ended(&self, ids: ExchangeIds) {
        self.totals.write(&self.totals.ended, ids);
    }
}

impl Totals {
    fn write(&self, sum: &Sum, ids: ExchangeIds) {
        // A sequence lock with one writer. The fence keeps the numbers after the odd version, the
        // release store keeps them before the even one.
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        let add = |cell: &AtomicU64, change: fn(u64, u64) -> u64, by| {
            cell.store(change(cell.load(Ordering::Relaxed), by), Ordering::Relaxed);
        };
        add(&sum.count, u64::wrapping_add, 1);
        for (cell, word) in sum.ids.iter().zip(words(ids)) {
            add(cell, |old, by| old ^ by, word);
        }
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    fn add_to(&self, window: &mut Window) {
        loop {
            let before = self.version.load(Ordering::Acquire);
            let mut read = *window;
            self.began.add_to(&mut read.began, &mut read.began_ids);
            self.ended.add_to(&mut read.ended, &mut read.ended_ids);
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before {
                *window = read;
                return;
            }
            std::hint::spin_loop();
        }
    }
}

impl Sum {
    fn add_to(&self, count: &mut u64, ids: &mut [u64; 3]) {
        *count = count.wrapping_add(self.count.load(Ordering::Relaxed));
        for (all, cell) in ids.iter_mut().zip(&self.ids) {
            *all ^= cell.load(Ordering::Relaxed);
        }
    }
}

impl ExchangeIds {
    /// The ids in the hexadecimal form of `traceparent`; `None` where it is no such form.
    #[must_use]
    pub fn from_hex(trace: &[u8; 32], span: &[u8; 16]) -> Option<Self> {
        let text = |bytes| std::str::from_utf8(bytes).ok();
        Some(Self {
            trace: u128::from_str_radix(text(trace)?, 16).ok()?,
            span: u64::from_str_radix(text(span)?, 16).ok()?,
        })
    }
}

impl Window {
    /// The exchange that was in flight between `earlier` and this look, if it was exactly one in
    /// all that time.
    #[must_use]
    pub fn only_since(&self, earlier: &Self) -> Option<ExchangeIds> {
        let in_flight = self.began.wrapping_sub(earlier.ended);
        let [high, low, span] = std::array::from_fn(|at| {
            let began = self.began_ids.get(at).copied().unwrap_or(0);
            began ^ earlier.ended_ids.get(at).copied().unwrap_or(0)
        });
        let trace = u128::from(high) << 64 | u128::from(low);
        (in_flight == 1).then_some(ExchangeIds { trace, span })
    }
}

fn words(ids: ExchangeIds) -> [u64; 3] {
    let half = |number: u128| u64::try_from(number & u128::from(u64::MAX)).unwrap_or(0);
    [half(ids.trace >> 64), half(ids.trace), ids.span]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_from_their_hexadecimal_form() {
        let ids = ExchangeIds::from_hex(b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331");
        let trace = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
        assert_eq!(ids, Some(ExchangeIds { trace, span: 0xb7ad_6b71_6920_3331 }));
        assert_eq!(ExchangeIds::from_hex(&[b'x'; 32], &[b'0'; 16]), None);
    }

    fn ids(number: u64) -> ExchangeIds {
        ExchangeIds { trace: u128::from(number) << 60 | 7, span: number }
    }

    fn followed() -> (Exchanges, WorkerExchanges, WorkerExchanges) {
        let exchanges = Exchanges::default();
        exchanges.follow();
        let (one, other) = (exchanges.worker(), exchanges.worker());
        (exchanges, one, other)
    }

    #[test]
    fn one_exchange_alone_is_known_also_when_it_has_ended() {
        let (exchanges, one, other) = followed();
        other.began(ids(1));
        other.ended(ids(1));
        let earlier = exchanges.look();
        assert_eq!(earlier.only_since(&earlier), None);
        one.began(ids(2));
        assert_eq!(exchanges.look().only_since(&earlier), Some(ids(2)));
        one.ended(ids(2));
        assert_eq!(exchanges.look().only_since(&earlier), Some(ids(2)));
        let later = exchanges.look();
        assert_eq!(exchanges.look().only_since(&later), None);
    }

    #[test]
    fn of_two_that_overlap_or_follow_each_other_none_is_named() {
        let (exchanges, one, other) = followed();
        let earlier = exchanges.look();
        one.began(ids(1));
        other.began(ids(2));
        assert_eq!(exchanges.look().only_since(&earlier), None);
        one.ended(ids(1));
        assert_eq!(exchanges.look().only_since(&earlier), None);
        let later = exchanges.look();
        assert_eq!(exchanges.look().only_since(&later), Some(ids(2)));
    }

    #[test]
    fn workers_see_that_somebody_looks() {
        let exchanges = Exchanges::default();
        let worker = exchanges.worker();
        assert!(!worker.are_followed());
        exchanges.follow();
        assert!(worker.are_followed() && exchanges.worker().are_followed());
    }
}
