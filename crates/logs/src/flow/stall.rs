//! Notices that nothing moves any more.

use std::time::{Duration, Instant};

/// The most that counts between two looks: a process that was stopped meanwhile has not waited.
const LOOK: Duration = Duration::from_secs(1);

/// For how long nothing has moved, as far as was looked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    moved: u64,
    lasted: Duration,
    looked: Instant,
}

impl Stall {
    /// Nothing has moved yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { moved: 0, lasted: Duration::ZERO, looked: now }
    }

    /// Looks: for how long nothing has moved; `moved` is how much has in all.
    pub(super) fn look(&mut self, moved: u64, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.looked).min(LOOK);
        let lasted = if moved == self.moved { self.lasted + passed } else { Duration::ZERO };
        *self = Self { moved, lasted, looked: now };
        lasted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_begins_anew_with_each_movement() {
        let start = Instant::now();
        let mut stall = Stall::new(start);
        for (at_ms, moved, lasted_ms) in [
            (0, 0, 0),
            (700, 0, 700),
            (1400, 0, 1400),
            (1500, 1, 0),
            (2100, 1, 600),
            // Stopped for a while.
            (90_000, 1, 1600),
            (90_500, 1, 2100),
            (91_000, 2, 0),
        ] {
            let lasted = stall.look(moved, start + Duration::from_millis(at_ms));
            assert_eq!(lasted, Duration::from_millis(lasted_ms), "{moved} after {at_ms} ms");
        }
    }
}
