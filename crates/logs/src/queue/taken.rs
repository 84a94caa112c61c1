//! A batch that the sink was given.

use std::rc::Rc;

use crate::batch::Batch;
use crate::record::UnixNanos;

use super::Queue;

/// A batch in hand. Dropped without a word it goes back to the queue, and comes first again.
#[derive(Debug)]
pub struct Taken {
    queue: Queue,
    number: u64,
    batch: Rc<Batch>,
    is_over: bool,
}

impl Taken {
    pub(super) fn new(queue: Queue, number: u64, batch: Rc<Batch>) -> Self {
        Self { queue, number, batch, is_over: false }
    }

    /// The batch.
    #[must_use]
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// All of it is delivered.
    pub fn done(mut self) {
        self.finish();
    }

    /// To be tried again; until then it is the first of its partition.
    pub fn put_back(self) {
        drop(self);
    }

    /// The sink will never take these of its records: they are dead letters.
    pub fn refuse<'r>(
        &self,
        records: impl Iterator<Item = &'r [u8]>,
        reason: &str,
        now: UnixNanos,
    ) {
        self.queue.0.dead.write(records, reason, now);
    }

    /// The sink will never take it: all of its records are dead letters.
    pub fn dead(mut self, reason: &str, now: UnixNanos) {
        self.queue.0.dead.write(self.batch().records(), reason, now);
        self.finish();
    }

    fn finish(&mut self) {
        self.is_over = true;
        // The queue has it too, and its buffers are used again where nobody else has them.
        self.batch = Rc::default();
        let shared = &self.queue.0;
        shared.state.borrow_mut().finish(self.number, &shared.spares);
        shared.chores.notify_one();
        shared.room.notify_waiters();
        shared.filled.notify_waiters();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let shared = &self.queue.0;
        shared.state.borrow_mut().put_back(self.number);
        shared.filled.notify_waiters();
    }
}
