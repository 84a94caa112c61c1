//! The one place that knows what phase the sidecar is in, and what it still waits for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// The phases of the sidecar's life. A drain is never taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// A condition is not met: at the start, and again when one is lost, as when the app restarts.
    Starting,
    /// Every condition is met.
    Ready,
    /// No new work is taken; what is in flight is finished.
    Draining,
    /// Everything is finished; the process is about to end.
    Stopped,
}

impl Phase {
    /// The word for metrics, pages and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Everything that is known about the phase at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The phase.
    pub phase: Phase,
    /// Each condition that is not met, by name, with the reason.
    pub missing: BTreeMap<&'static str, String>,
    /// Why the drain began; `None` before it.
    pub drain_reason: Option<String>,
}

impl Status {
    fn refresh(&mut self) {
        if self.phase < Phase::Draining {
            self.phase = if self.missing.is_empty() { Phase::Ready } else { Phase::Starting };
        }
    }
}

/// A shared handle; every clone sees and changes the same state, from any thread.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    status: Arc<watch::Sender<Status>>,
}

impl Lifecycle {
    /// Starts with all `conditions` missing. With none, it is ready at once.
    #[must_use]
    pub fn new(conditions: &[&'static str]) -> Self {
        let missing = conditions.iter().map(|name| (*name, "not started yet".to_owned())).collect();
        let mut status = Status { phase: Phase::Starting, missing, drain_reason: None };
        status.refresh();
        Self { status: Arc::new(watch::Sender::new(status)) }
    }

    /// Says that a condition is met.
    pub fn meet(&self, condition: &'static str) {
        self.status.send_if_modified(|status| {
            let changed = status.missing.remove(condition).is_some();
            status.refresh();
            changed
        });
    }

    /// Says that a condition is not met, or no longer, and why.
    pub fn miss(&self, condition: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        self.status.send_if_modified(|status| {
            let changed = status.missing.get(condition) != Some(&reason);
            status.missing.insert(condition, reason);
            status.refresh();
            changed
        });
    }

    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.status.borrow().phase
    }

    /// Phase, missing conditions and drain reason, of one moment.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Follows every change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Begins the drain. Only the first call does, and returns `true`; its reason is the one kept.
    pub fn begin_drain(&self, reason: impl Into<String>) -> bool {
        let reason = reason.into();
        self.status.send_if_modified(|status| {
            if status.phase >= Phase::Draining {
                return false;
            }
            status.phase = Phase::Draining;
            status.drain_reason = Some(reason);
            true
        })
    }

    /// Says that everything is finished.
    pub fn stopped(&self) {
        self.status.send_if_modified(|status| {
            let changed = status.phase != Phase::Stopped;
            status.phase = Phase::Stopped;
            changed
        });
    }

    /// Waits until the drain has begun; at once when it has. Cancel-safe.
    pub async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Waits until this phase, or a later one, is reached. Cancel-safe.
    pub async fn reached(&self, phase: Phase) {
        // The sender is held by `self`, so the wait cannot end in an error.
        drop(self.status.subscribe().wait_for(|status| status.phase >= phase).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_every_condition_is_met_and_says_which_is_not() {
        let lifecycle = Lifecycle::new(&["listeners", "app"]);
        assert_eq!(lifecycle.phase(), Phase::Starting);
        lifecycle.meet("listeners");
        lifecycle.miss("app", "no port is open yet");
        let status = lifecycle.status();
        assert_eq!(status.phase, Phase::Starting);
        assert_eq!(status.missing, BTreeMap::from([("app", "no port is open yet".to_owned())]));
        lifecycle.meet("app");
        assert_eq!(lifecycle.phase(), Phase::Ready);
        lifecycle.miss("app", "it is being restarted");
        assert_eq!(lifecycle.phase(), Phase::Starting);
    }

    #[test]
    fn without_conditions_it_is_ready_at_once() {
        assert_eq!(Lifecycle::new(&[]).phase(), Phase::Ready);
    }

    #[test]
    fn a_drain_begins_once_and_is_never_taken_back() {
        let lifecycle = Lifecycle::new(&["app"]);
        assert!(lifecycle.begin_drain("SIGTERM"));
        assert!(!lifecycle.begin_drain("POST /drain"));
        lifecycle.meet("app");
        assert_eq!(lifecycle.phase(), Phase::Draining);
        assert_eq!(lifecycle.status().drain_reason.as_deref(), Some("SIGTERM"));
        lifecycle.stopped();
        assert!(!lifecycle.begin_drain("again"));
        assert_eq!(lifecycle.phase(), Phase::Stopped);
    }

    #[tokio::test]
    async fn those_who_wait_for_the_drain_are_told_also_when_they_come_late() {
        let lifecycle = Lifecycle::new(&["app"]);
        let waiting = lifecycle.clone();
        let waiter = tokio::spawn(async move { waiting.draining().await });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        lifecycle.begin_drain("SIGTERM");
        waiter.await.unwrap();
        lifecycle.draining().await;
    }

    #[tokio::test]
    async fn a_change_that_changes_nothing_wakes_nobody() {
        let lifecycle = Lifecycle::new(&["app"]);
        let mut watch = lifecycle.watch();
        watch.mark_unchanged();
        lifecycle.miss("app", "not started yet");
        lifecycle.meet("listeners");
        assert!(!watch.has_changed().unwrap());
        lifecycle.meet("app");
        assert!(watch.has_changed().unwrap());
    }
}
