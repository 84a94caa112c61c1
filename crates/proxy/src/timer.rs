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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// How long a task that does nothing but wait for the timer waits: it is polled when it is
    /// woken and at no other time.
    async fn wait(timer: &mut Timer) -> Duration {
        let start = Instant::now();
        poll_fn(|cx| timer.poll(cx)).await;
        start.elapsed()
    }

    /// Polls once, as a task does that was woken by something else.
    async fn look(timer: &mut Timer) -> bool {
        poll_fn(|cx| Poll::Ready(timer.poll(cx).is_ready())).await
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_at_its_deadline_however_that_was_moved() {
        // Deadlines in milliseconds, set one after another with a look after each.
        let cases: [&[u64]; 6] =
            [&[50], &[50, 80], &[80, 50], &[50, 80, 20], &[10, 10], &[80, 20, 90]];
        for deadlines in cases {
            let mut timer = Timer::default();
            let start = Instant::now();
            for deadline in deadlines {
                timer.set(start + ms(*deadline));
                assert!(!look(&mut timer).await);
            }
            let last = ms(*deadlines.last().unwrap());
            assert_eq!(wait(&mut timer).await, last, "{deadlines:?}");
            assert!(look(&mut timer).await, "it stays ended");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_whose_sleep_has_ended_unseen_wakes_its_task_again() {
        let mut timer = Timer::default();
        timer.set(Instant::now() + ms(10));
        assert!(!look(&mut timer).await);
        // The sleep ends while the task waits for something else and does not look.
        timer.clear();
        advance(ms(20)).await;
        assert!(!look(&mut timer).await, "there is no deadline");
        timer.set(Instant::now() + ms(30));
        assert_eq!(wait(&mut timer).await, ms(30));
        // And with a deadline that has passed before anybody looked.
        timer.set(Instant::now() + ms(5));
        advance(ms(20)).await;
        assert_eq!(wait(&mut timer).await, ms(0));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_moved_on_and_on_ends_after_the_last_move() {
        let mut timer = Timer::default();
        for _ in 0..100 {
            timer.set(Instant::now() + ms(10));
            assert!(!look(&mut timer).await);
            advance(ms(9)).await;
        }
        assert_eq!(wait(&mut timer).await, ms(1));
    }
}
