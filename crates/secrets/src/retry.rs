//! What failed and is tried again: how often it did in a row, and when the next try is due.

use std::time::{Duration, SystemTime};

use crate::chance::wait;
use crate::clock::until;

/// Failures in a row of one thing.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    failures: u32,
    at: Option<SystemTime>,
}

impl Retry {
    /// It failed: the next try is due after a wait within `backoff` (the first, and the longest), which
    /// is returned. `chance` is from 0 to 1.
    pub(crate) fn failed(
        &mut self,
        now: SystemTime,
        backoff: (Duration, Duration),
        chance: f64,
    ) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let wait = wait(self.failures, backoff, chance);
        self.at = now.checked_add(wait);
        wait
    }

    /// It went well: nothing is due, and the next failure is the first.
    pub(crate) fn went_well(&mut self) {
        *self = Self::default();
    }

    /// The try that was due is made now.
    pub(crate) fn begun(&mut self) {
        self.at = None;
    }

    /// How often it failed in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// When the next try is due; `None`: there is nothing to try.
    pub(crate) fn at(&self) -> Option<SystemTime> {
        self.at
    }

    /// Waits until the next try is due, for ever if there is none.
    pub(crate) async fn due(&self) {
        until(self.at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_is_due_after_each_failure_until_it_is_begun_or_all_is_well() {
        let now = SystemTime::UNIX_EPOCH;
        let backoff = (Duration::from_secs(1), Duration::from_secs(3));
        let mut retry = Retry::default();
        assert_eq!((retry.failures(), retry.at()), (0, None));
        for (failures, seconds) in [(1, 1), (2, 2), (3, 3), (4, 3)] {
            let wait = Duration::from_secs(seconds);
            assert_eq!(retry.failed(now, backoff, 0.0), wait);
            assert_eq!((retry.failures(), retry.at()), (failures, Some(now + wait)));
        }
        retry.begun();
        assert_eq!((retry.failures(), retry.at()), (4, None));
        retry.went_well();
        assert_eq!(retry.failed(now, backoff, 1.0), Duration::from_millis(500));
    }
}
