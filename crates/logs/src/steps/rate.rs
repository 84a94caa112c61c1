//! Token buckets: so many records a second, and some at once after silence.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Values that have a bucket of their own. Those that come when all are in use share one.
const KEYS: usize = 1000;
/// How often buckets that nobody uses are looked for, at most.
const TIDY: Duration = Duration::from_secs(1);

/// Limits the records of each key.
#[derive(Debug)]
pub(super) struct Limiter {
    per_second: f64,
    burst: f64,
    buckets: HashMap<Box<str>, Bucket>,
    shared: Option<Bucket>,
    tidied: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Limiter {
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let (per_second, burst) = (f64::from(per_second), f64::from(burst.max(1)));
        Self { per_second, burst, buckets: HashMap::new(), shared: None, tidied: None }
    }

    /// Whether one more record with this key is let through.
    pub(super) fn admits(&mut self, key: &str, now: Instant) -> bool {
        let (per_second, burst) = (self.per_second, self.burst);
        let full = Bucket { tokens: burst, filled: now };
        if let Some(bucket) = self.buckets.get_mut(key) {
            return bucket.take(per_second, burst, now);
        }
        if self.buckets.len() >= KEYS {
            self.tidy(now);
        }
        let bucket = if self.buckets.len() < KEYS {
            self.buckets.entry(key.into()).or_insert(full)
        } else {
            self.shared.get_or_insert(full)
        };
        bucket.take(per_second, burst, now)
    }

    /// Forgets buckets that are full: a new one is no different.
    fn tidy(&mut self, now: Instant) {
        let due = |tidied: Instant| now.saturating_duration_since(tidied) >= TIDY;
        if self.tidied.is_none_or(due) {
            self.tidied = Some(now);
            let (per_second, burst) = (self.per_second, self.burst);
            self.buckets.retain(|_, bucket| bucket.level(per_second, burst, now) < burst);
        }
    }
}

impl Bucket {
    fn level(&self, per_second: f64, burst: f64, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        (self.tokens + passed * per_second).min(burst)
    }

    fn take(&mut self, per_second: f64, burst: f64, now: Instant) -> bool {
        let level = self.level(per_second, burst, now);
        let admitted = level >= 1.0;
        *self = Self { tokens: if admitted { level - 1.0 } else { level }, filled: now };
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_so_many_a_second() {
        let (mut limiter, start) = (Limiter::new(10, 3), Instant::now());
        let mut at = |ms| limiter.admits("", start + Duration::from_millis(ms));
        assert_eq!([0, 0, 0, 0].map(&mut at), [true, true, true, false]);
        assert_eq!([99, 100, 101, 199, 200].map(&mut at), [false, true, false, false, true]);
        assert_eq!([9000, 9000, 9000, 9000].map(&mut at), [true, true, true, false]);
    }

    #[test]
    fn keys_do_not_take_from_each_other_and_are_bounded() {
        let (mut limiter, start) = (Limiter::new(1, 1), Instant::now());
        for key in 0..KEYS {
            assert!(limiter.admits(&key.to_string(), start));
            assert!(!limiter.admits(&key.to_string(), start));
        }
        assert!(limiter.admits("one more", start));
        assert!(!limiter.admits("and one more", start));
        assert_eq!(limiter.buckets.len(), KEYS);
        let later = start + Duration::from_secs(2);
        assert!(limiter.admits("and one more", later));
        assert_eq!(limiter.buckets.len(), 1);
    }
}
