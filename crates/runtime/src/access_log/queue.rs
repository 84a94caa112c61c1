//! The bounded way to the log thread.
//!
//! The thread parks as soon as nothing is left. The standard library's `recv` would first spin for
//! some microseconds, at every batch, on a core that a worker may need.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError};
use std::thread::{self, Thread};

use super::Message;

/// One of the ends that messages are put in at.
#[derive(Clone)]
pub(super) struct Sender {
    queue: SyncSender<Message>,
    // After `queue`: a thread that is woken by the last end finds that there are none left.
    thread: Wake,
}

#[derive(Clone)]
struct Wake(Thread);

impl Sender {
    /// `thread` is the one that calls [`receive`].
    pub(super) fn new(queue: SyncSender<Message>, thread: Thread) -> Self {
        Self { queue, thread: Wake(thread) }
    }

    /// Never waits: a message that finds no place comes back.
    pub(super) fn try_send(&self, message: Message) -> Result<(), Message> {
        self.queue.try_send(message).map_err(|refused| match refused {
            TrySendError::Full(message) | TrySendError::Disconnected(message) => message,
        })?;
        self.thread.0.unpark();
        Ok(())
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.0.unpark();
    }
}

/// The next message, once there is one; `None` when the last [`Sender`] is gone.
pub(super) fn receive(queue: &Receiver<Message>) -> Option<Message> {
    loop {
        match queue.try_recv() {
            Ok(message) => return Some(message),
            Err(TryRecvError::Disconnected) => return None,
            // Returns at once if something was sent since.
            Err(TryRecvError::Empty) => thread::park(),
        }
    }
}
