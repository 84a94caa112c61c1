//! Bucket bounds of histograms: two for each doubling, found with one bit scan.

/// Bounds `2^n` and `1.5 × 2^n` microseconds, from a first power of two over a number of
/// doublings, and one bucket for everything above.
#[derive(Debug, PartialEq, Eq)]
pub struct Buckets {
    /// The first bound is two to this, in microseconds; at least 1, so that 1.5 times it is whole.
    first_log2: u32,
    /// How often the first bound doubles until the last.
    doublings: u32,
}

impl Buckets {
    /// 64 µs to 67 s: durations of exchanges, attempts, connects.
    pub const LATENCY: Self = Self { first_log2: 6, doublings: 20 };
    /// 2 µs to 16 ms: time spent inside Pillion.
    pub const TAX: Self = Self { first_log2: 1, doublings: 13 };

    /// Number of buckets, the one without a bound included.
    pub(super) const fn cells(&self) -> usize {
        2 * self.doublings as usize + 2
    }

    /// The bucket of a value: the first whose bound is not below it.
    pub(super) const fn index(&self, us: u64) -> usize {
        // `us <= bound` is `us - 1 < bound`, and below a bound the leading two bits decide.
        let below = us.saturating_sub(1);
        if below >> self.first_log2 == 0 {
            return 0;
        }
        let log2 = below.ilog2();
        let upper_half = (below >> (log2 - 1)) & 1;
        let index = 1 + 2 * (log2 - self.first_log2) as usize + upper_half as usize;
        let last = self.cells() - 1;
        if index < last { index } else { last }
    }

    /// The upper bounds in microseconds, without the last bucket's, which has none.
    pub(super) fn bounds_us(&self) -> impl Iterator<Item = u64> {
        let first = 1_u64 << self.first_log2;
        (0..2 * self.doublings + 1).map(move |i| {
            let power = first << (i / 2);
            if i % 2 == 0 { power } else { power + power / 2 }
        })
    }
}
