//! Chance for jitter: a sidecar is one of thousands that would otherwise ask at the same moment.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// A number from 0 to 1 that nobody can foresee.
pub(crate) fn chance() -> f64 {
    // Each state is keyed by the system's randomness. 32 bits are exact in an f64.
    let bits = RandomState::new().hash_one(()) >> 32;
    f64::from(u32::try_from(bits).unwrap_or(0)) / f64::from(u32::MAX)
}

/// The wait before the next try after so many `failures` in a row: it doubles from the first to the
/// longest, and up to a half of it is taken off by chance (0 to 1).
pub(crate) fn wait(failures: u32, backoff: (Duration, Duration), chance: f64) -> Duration {
    let (first, longest) = backoff;
    let doublings = failures.saturating_sub(1).min(31);
    let whole = first.saturating_mul(1 << doublings).min(longest);
    whole.mul_f64(1.0 - chance / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_differ_by_chance() {
        let backoff = (Duration::from_secs(1), Duration::from_secs(60));
        let waits = [1, 2, 3, 6, 7, 8, 1000].map(|n| wait(n, backoff, 0.0).as_secs());
        assert_eq!(waits, [1, 2, 4, 32, 60, 60, 60]);
        assert_eq!(wait(2, backoff, 1.0), Duration::from_secs(1));
        assert_eq!(wait(2, backoff, 0.5), Duration::from_millis(1500));
    }

    #[test]
    fn chance_is_between_0_and_1_and_not_always_the_same() {
        let chances: Vec<f64> = (0..100).map(|_| chance()).collect();
        assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)), "{chances:?}");
        assert!(chances.iter().any(|chance| *chance > 0.5));
        assert!(chances.iter().any(|chance| *chance < 0.5));
    }
}
