//! The circuit of a sink: after enough failures in a row, one request at a time finds out whether
//! it works again.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open it.
const FAILURES: u32 = 5;

/// Whether requests go to a sink. Time is an argument.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    /// In a row.
    failures: u32,
    way: Way,
}

#[derive(Clone, Copy, Debug, Default)]
enum Way {
    #[default]
    Free,
    Shut(Instant),
    Probing,
}

/// How the circuit of a sink stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Requests go through.
    Closed,
    /// None does, for a while.
    Open,
    /// One is finding out whether the sink works again.
    Probing,
}

/// What a request is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Go, and report.
    Go,
    /// Come back then.
    At(Instant),
    /// Come back when another has reported.
    Later,
}

impl Circuit {
    /// Whether a request may go now.
    pub(super) fn enter(&mut self, now: Instant) -> Entry {
        match self.way {
            Way::Free => Entry::Go,
            Way::Shut(until) if now < until => Entry::At(until),
            Way::Shut(_) => {
                self.way = Way::Probing;
                Entry::Go
            }
            Way::Probing => Entry::Later,
        }
    }

    /// The sink has answered, and does what it is for.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// The sink could not be used; it is left alone for `pause` where that happens again and again.
    pub(super) fn failed(&mut self, now: Instant, pause: Duration) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES {
            self.way = Way::Shut(now + pause);
        }
    }

    pub(super) fn state(&self) -> State {
        match self.way {
            Way::Free => State::Closed,
            Way::Shut(_) => State::Open,
            Way::Probing => State::Probing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    #[test]
    fn enough_failures_in_a_row_open_it_and_one_success_closes_it() {
        let mut circuit = Circuit::default();
        let now = Instant::now();
        for _ in 1..FAILURES {
            circuit.failed(now, PAUSE);
        }
        circuit.succeeded();
        for _ in 1..FAILURES {
            circuit.failed(now, PAUSE);
            assert_eq!((circuit.state(), circuit.enter(now)), (State::Closed, Entry::Go));
        }
        circuit.failed(now, PAUSE);
        assert_eq!((circuit.state(), circuit.enter(now)), (State::Open, Entry::At(now + PAUSE)));
        let later = now + PAUSE;
        assert_eq!((circuit.enter(later), circuit.enter(later)), (Entry::Go, Entry::Later));
        assert_eq!(circuit.state(), State::Probing);
        circuit.succeeded();
        assert_eq!((circuit.state(), circuit.enter(later)), (State::Closed, Entry::Go));
    }

    #[test]
    fn a_probe_that_fails_shuts_it_again_at_once() {
        let mut circuit = Circuit::default();
        let now = Instant::now();
        for _ in 0..FAILURES {
            circuit.failed(now, PAUSE);
        }
        let later = now + PAUSE;
        assert_eq!(circuit.enter(later), Entry::Go);
        circuit.failed(later, 2 * PAUSE);
        assert_eq!(circuit.enter(later), Entry::At(later + 2 * PAUSE));
    }
}
