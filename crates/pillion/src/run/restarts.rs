//! Whether an app that ended is started again, and when.

use std::time::Duration;

use pillion_model::settings::RestartPolicy;
use pillion_runtime::supervise::Exit;

/// An app that ran this long begins to count anew.
const STEADY: Duration = Duration::from_secs(60);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The policy, and how often in a row it was made use of.
#[derive(Clone, Debug)]
pub(super) struct Restarts {
    policy: RestartPolicy,
    in_a_row: u32,
}

impl Restarts {
    /// None yet.
    pub(super) fn new(policy: RestartPolicy) -> Self {
        Self { policy, in_a_row: 0 }
    }

    /// The wait before the next start of an app that ended so after it `ran`; `None` when it is not
    /// started again. `chance` spreads the waits of a fleet over the upper half of their range.
    pub(super) fn after(&mut self, exit: Exit, ran: Duration, chance: u64) -> Option<Duration> {
        let RestartPolicy::OnFailure { max, backoff } = self.policy else { return None };
        if matches!(exit, Exit::Code(0) | Exit::KeeperLost) {
            return None;
        }
        if ran >= STEADY {
            self.in_a_row = 0;
        }
        if self.in_a_row >= max {
            return None;
        }
        let doubled = 2_u32.saturating_pow(self.in_a_row);
        self.in_a_row += 1;
        let longest = backoff.saturating_mul(doubled).min(LONGEST_WAIT);
        let fraction = (chance >> 32) as f64 / f64::from(u32::MAX);
        Some(longest.mul_f64(0.5 + fraction / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RestartPolicy =
        RestartPolicy::OnFailure { max: 3, backoff: Duration::from_millis(100) };
    const SHORT: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_and_end_when_the_restarts_are_spent() {
        let mut restarts = Restarts::new(POLICY);
        for wait in [100, 200, 400] {
            let next = restarts.after(Exit::Code(1), SHORT, u64::MAX);
            assert_eq!(next, Some(Duration::from_millis(wait)));
        }
        assert_eq!(restarts.after(Exit::Code(1), SHORT, u64::MAX), None);
    }

    #[test]
    fn a_wait_is_never_shorter_than_half_nor_longer_than_a_minute() {
        let mut restarts = Restarts::new(POLICY);
        assert_eq!(restarts.after(Exit::Signal(9), SHORT, 0), Some(Duration::from_millis(50)));
        let policy = RestartPolicy::OnFailure { max: 100, backoff: Duration::from_secs(50) };
        let mut restarts = Restarts::new(policy);
        let waits: Vec<_> =
            (0..40).filter_map(|_| restarts.after(Exit::Code(1), SHORT, u64::MAX)).collect();
        assert_eq!(waits.first(), Some(&Duration::from_secs(50)));
        assert!(waits[1..].iter().all(|wait| *wait == LONGEST_WAIT), "{waits:?}");
    }

    #[test]
    fn an_app_that_ran_for_a_minute_begins_to_count_anew() {
        let mut restarts = Restarts::new(POLICY);
        for _ in 0..3 {
            restarts.after(Exit::Code(1), SHORT, 0);
        }
        assert_eq!(restarts.after(Exit::Code(1), STEADY, 0), Some(Duration::from_millis(50)));
    }

    #[test]
    fn success_and_a_lost_keeper_are_final() {
        for (exit, again) in [
            (Exit::Code(0), false),
            (Exit::KeeperLost, false),
            (Exit::Code(1), true),
            (Exit::Signal(15), true),
        ] {
            let next = Restarts::new(POLICY).after(exit, SHORT, 0);
            assert_eq!(next.is_some(), again, "{exit}");
        }
        assert_eq!(Restarts::new(RestartPolicy::Never).after(Exit::Code(1), SHORT, 0), None);
    }
}
