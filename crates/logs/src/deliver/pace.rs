//! How many requests a sink gets at a time: one more while it keeps up, fewer when it slows down
//! or says that it has too much to do.

use std::time::Duration;

use tokio::time::Instant;

/// What is left of the limit after the sink said that it has too much …
const BUSY: f64 = 0.5;
/// … and after it became slow.
const SLOW: f64 = 0.9;
/// How much of an average the last time is.
const WEIGHT: f64 = 0.3;
/// How many times the usual deviation a request may exceed the usual time by …
const DEVIATIONS: f64 = 3.0;
/// … and what is never called slow.
const LEEWAY: f64 = 0.02;

/// The limit of a sink. Time is an argument.
#[derive(Debug)]
pub(super) struct Pace {
    most: f64,
    limit: f64,
    /// Average time of a request and its average deviation, in seconds, once there was one.
    usual: Option<(f64, f64)>,
    /// A request that began before this knew nothing of the last decrease.
    decreased: Option<Instant>,
}

/// How a request went, as far as the pace goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The sink answered.
    Answered,
    /// It said that it has too much to do, or did not answer in time.
    Overloaded,
    /// It says nothing about the pace.
    Unrelated,
}

impl Pace {
    /// Begins with one request at a time.
    pub(super) fn new(most: usize) -> Self {
        let most = u32::try_from(most.max(1)).unwrap_or(u32::MAX);
        Self { most: f64::from(most), limit: 1.0, usual: None, decreased: None }
    }

    /// Requests at a time.
    pub(super) fn limit(&self) -> usize {
        // It is between 1 and what a configuration may say.
        self.limit as usize
    }

    /// A request that began at `began` while `on_their_way` were, has ended.
    pub(super) fn ended(
        &mut self,
        (began, now): (Instant, Instant),
        on_their_way: usize,
        outcome: Outcome,
    ) {
        match outcome {
            Outcome::Unrelated => {}
            Outcome::Overloaded => self.decrease((began, now), BUSY),
            Outcome::Answered => {
                if self.is_slow(now.saturating_duration_since(began)) {
                    self.decrease((began, now), SLOW);
                } else if on_their_way >= self.limit() {
                    // One more in the time of a whole round.
                    self.limit = (self.limit + 1.0 / self.limit).min(self.most);
                }
            }
        }
    }

    fn decrease(&mut self, (began, now): (Instant, Instant), factor: f64) {
        // Requests that were on their way together say the same once.
        if self.decreased.is_none_or(|decreased| began >= decreased) {
            self.limit = (self.limit * factor).max(1.0);
            self.decreased = Some(now);
        }
    }

    /// Whether this took much longer than is usual; it becomes usual if it goes on.
    fn is_slow(&mut self, took: Duration) -> bool {
        let took = took.as_secs_f64();
        let Some((usual, deviation)) = self.usual else {
            self.usual = Some((took, 0.0));
            return false;
        };
        let difference = took - usual;
        let new = usual + WEIGHT * difference;
        self.usual = Some((new, deviation + WEIGHT * (difference.abs() - deviation)));
        difference > DEVIATIONS * deviation + LEEWAY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sink that is asked with as many requests as the limit allows.
    struct Run {
        pace: Pace,
        now: Instant,
    }

    impl Run {
        fn new(most: usize) -> Self {
            Self { pace: Pace::new(most), now: Instant::now() }
        }

        /// A round of requests that all take this long.
        fn round(&mut self, milliseconds: u64, outcome: Outcome) -> usize {
            let (began, on_their_way) = (self.now, self.pace.limit());
            self.now += Duration::from_millis(milliseconds);
            for _ in 0..on_their_way {
                self.pace.ended((began, self.now), on_their_way, outcome);
            }
            self.pace.limit()
        }
    }

    #[test]
    fn it_grows_by_one_a_round_up_to_the_most() {
        let mut run = Run::new(4);
        let limits: Vec<_> = (0..12).map(|_| run.round(10, Outcome::Answered)).collect();
        assert_eq!(limits.last(), Some(&4));
        assert!(
            limits.is_sorted() && limits.windows(2).all(|two| two[1] - two[0] <= 1),
            "{limits:?}"
        );
    }

    #[test]
    fn too_much_halves_it_once_a_round_and_never_below_one() {
        let mut run = Run::new(16);
        while run.pace.limit() < 16 {
            run.round(10, Outcome::Answered);
        }
        let limits: Vec<_> = (0..6).map(|_| run.round(10, Outcome::Overloaded)).collect();
        assert_eq!(limits, [8, 4, 2, 1, 1, 1]);
    }

    #[test]
    fn a_sink_that_becomes_slow_gets_less_at_a_time() {
        let mut run = Run::new(16);
        while run.pace.limit() < 16 {
            run.round(10, Outcome::Answered);
        }
        assert!(run.round(500, Outcome::Answered) < 16);
    }

    #[test]
    fn it_does_not_grow_while_it_is_not_used_up() {
        let mut pace = Pace::new(4);
        let now = Instant::now();
        for _ in 0..100 {
            pace.ended((now, now), 0, Outcome::Answered);
        }
        assert_eq!(pace.limit(), 1);
    }

    #[test]
    fn what_says_nothing_about_the_pace_changes_nothing() {
        let mut run = Run::new(4);
        run.round(10, Outcome::Answered);
        let before = run.pace.limit();
        assert_eq!(run.round(10_000, Outcome::Unrelated), before);
    }
}
