//! Which request the app was serving while it wrote: told only where there is no doubt.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use pillion_runtime::board::{Exchanges, Window};

use crate::record::{Trace, TraceOrigin};

/// A program may write about a request after it has answered it, and is named only where no other
/// request was served within this time before.
const MARGIN: Duration = Duration::from_millis(250);
/// Looks are kept at least so far apart.
const STEP: Duration = Duration::from_millis(50);

/// Looks at the requests in flight, each of a moment at which there was nothing to read.
#[derive(Debug)]
pub(super) struct Windows {
    exchanges: Exchanges,
    looks: VecDeque<(Instant, Window)>,
    last_empty: Option<Instant>,
}

impl Windows {
    pub(super) fn new(exchanges: Exchanges) -> Self {
        exchanges.follow();
        Self { exchanges, looks: VecDeque::new(), last_empty: None }
    }

    /// There is nothing to read at this moment.
    pub(super) fn empty(&mut self, now: Instant) {
        self.last_empty = Some(now);
        let far = |last: &(Instant, Window)| now.saturating_duration_since(last.0) >= STEP;
        if self.looks.back().is_none_or(far) {
            self.looks.push_back((now, self.exchanges.look()));
        }
        // The newest that is old enough stays, with those that will be.
        let old_enough = |at: Option<&(Instant, Window)>| {
            at.is_some_and(|(at, _)| now.saturating_duration_since(*at) >= MARGIN)
        };
        while old_enough(self.looks.get(1)) {
            self.looks.pop_front();
        }
    }

    /// Something was read. The request in flight, if it was one alone since well before it could
    /// have been written.
    pub(super) fn only(&self) -> Option<Trace> {
        let last_empty = self.last_empty?;
        let old_enough =
            |(at, _): &&(Instant, Window)| last_empty.saturating_duration_since(*at) >= MARGIN;
        let (_, earlier) = self.looks.iter().rev().find(old_enough)?;
        let ids = self.exchanges.look().only_since(earlier)?;
        Some(Trace { trace: ids.trace, span: ids.span, origin: TraceOrigin::OnlyRequest })
    }

    /// For how long it is worth looking on after something was read: until then there is a look
    /// that is old enough.
    pub(super) const fn settles_in() -> Duration {
        MARGIN.saturating_add(STEP).saturating_add(STEP)
    }

    /// How often to look.
    pub(super) const fn step() -> Duration {
        STEP
    }
}

#[cfg(test)]
mod tests {
    use pillion_runtime::board::ExchangeIds;

    use super::*;

    fn ids(number: u64) -> ExchangeIds {
        ExchangeIds { trace: u128::from(number) << 64 | 9, span: number }
    }

    #[test]
    fn a_line_is_tied_to_the_only_request_and_to_none_shortly_after_another() {
        let exchanges = Exchanges::default();
        let mut windows = Windows::new(exchanges.clone());
        let worker = exchanges.worker();
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let named = |windows: &Windows| windows.only().map(|trace| trace.span);
        assert_eq!(named(&windows), None);
        (0..=5).for_each(|step| windows.empty(ms(step * 50)));
        worker.began(ids(1));
        assert_eq!(named(&windows), Some(1));
        worker.ended(ids(1));
        // Written late: still the only one.
        assert_eq!(named(&windows), Some(1));
        windows.empty(ms(300));
        worker.began(ids(2));
        assert_eq!(named(&windows), None);
        worker.ended(ids(2));
        (0..=11).for_each(|step| windows.empty(ms(350 + step * 50)));
        assert_eq!(named(&windows), None);
        worker.began(ids(3));
        assert_eq!(named(&windows), Some(3));
        assert!(windows.looks.len() <= 7, "{}", windows.looks.len());
    }
}
