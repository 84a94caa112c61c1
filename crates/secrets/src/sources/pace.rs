//! Waits of a source: between questions, and after failures.

use std::fmt;
use std::time::Duration;

use tokio::time::sleep;

use crate::chance::wait;

/// The first wait after a failure, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Gives numbers from 0 to 1.
pub type Chance = Box<dyn FnMut() -> f64 + Send>;

/// Waits of one source, none of them as long as another's, so that many programs do not ask at once.
pub(super) struct Pace {
    chance: Chance,
    failures: u32,
}

impl Pace {
    pub(super) fn new(chance: Chance) -> Self {
        Self { chance, failures: 0 }
    }

    /// Waits after failures: twice as long after each.
    pub(super) async fn recover(&mut self) {
        if self.failures > 0 {
            sleep(wait(self.failures, WAITS, (self.chance)())).await;
        }
    }

    /// Waits for the next question.
    pub(super) async fn rest(&mut self, interval: Duration) {
        sleep(spread(interval, (self.chance)())).await;
    }

    pub(super) fn learn(&mut self, went_well: bool) {
        self.failures = if went_well { 0 } else { self.failures.saturating_add(1) };
    }
}

/// A wait that is up to a fifth shorter.
fn spread(wait: Duration, chance: f64) -> Duration {
    wait.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 5.0)
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").field("failures", &self.failures).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_with_failures_and_end_with_the_first_success() {
        let mut pace = Pace::new(Box::new(|| 0.0));
        let mut waits = Vec::new();
        for went_well in [false, false, false, true, false] {
            pace.learn(went_well);
            let began = Instant::now();
            pace.recover().await;
            waits.push(began.elapsed().as_millis());
        }
        assert_eq!(waits, [500, 1000, 2000, 0, 500]);
        pace.failures = u32::MAX;
        let began = Instant::now();
        pace.recover().await;
        assert_eq!(began.elapsed(), WAITS.1);
    }

    #[test]
    fn chance_makes_a_wait_up_to_a_fifth_shorter() {
        let second = Duration::from_secs(1);
        for (chance, millis) in [(0.0, 1000), (0.5, 900), (1.0, 800), (7.0, 800), (-1.0, 1000)] {
            assert_eq!(spread(second, chance).as_millis(), millis);
        }
    }
}
