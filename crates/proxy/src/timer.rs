//! One timer per connection, moved along as the connection goes from phase to phase.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline that is cheap to move later: the sleeping timer is left where it is, and moved only
/// when it wakes too early.
#[derive(Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    deadline: Option<Instant>,
    /// Whether the task is woken when the sleep ends. A timer belongs to one task, so once is
    /// enough, and a poll in between costs next to nothing.
    is_watched: bool,
}

impl Timer {
    /// Sets the deadline, in place of any other.
    pub(crate) fn set(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// Takes the deadline away.
    pub(crate) fn clear(&mut self) {
        self.deadline = None;
    }

    /// Ready once the deadline has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        let is_early = sleep.deadline() <= deadline;
        if self.is_watched && is_early && !sleep.is_elapsed() {
            return Poll::Pending;
        }
        if !is_early || sleep.is_elapsed() && sleep.deadline() < deadline {
            sleep.as_mut().reset(deadline);
        }
        self.is_watched = true;
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}
