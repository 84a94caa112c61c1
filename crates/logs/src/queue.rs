//! What waits for one sink: in memory up to a share, beyond that on the disk, and beyond that the
//! source waits or records are dropped, as their source says.
//!
//! There is one order. What was put back is older than what is on the disk, and that is older than
//! what is in memory: when memory is full, the oldest in memory goes to the disk. Before it goes what
//! was taken from memory and is not done, so that all of it comes in that order after a kill too. A
//! batch that the disk keeps gives its receipts back: under `Sync::Always` when the disk says that it
//! has it, else when it is written, for then the end of this process does not lose it.
//!
//! Waiting for the disk is done on a thread that Tokio keeps for such work, one at a time for each
//! queue: a slow disk delays the removal of segments and the receipts under `Always`, and nothing
//! else. That thread is there while there is something to wait for, and not at rest.

mod disk;
mod state;
mod taken;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use pillion_model::logs::{Buffer, FullPolicy};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{sleep_until, timeout};

pub use taken::Taken;

use crate::batch::Batch;
use crate::batcher::Spares;
use crate::budget::Budget;
use crate::dead_letters::DeadLetters;
use crate::record::UnixNanos;
use crate::segments::Counters;
use crate::tally::Tally;
use disk::Disk;
use state::{State, Waiting};

/// How long until something is tried again that the system refused, and that nobody announces.
const AGAIN: Duration = Duration::from_secs(1);

/// Which batches may be with the sink at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Any.
    Free,
    /// One of each partition, the oldest.
    Partition,
}

/// What a queue is made of.
#[derive(Debug)]
pub struct Plan {
    /// The most bytes of batches that wait in memory, in hand or not. A batch that is larger goes
    /// alone.
    pub memory: usize,
    /// As many bytes of batches are read from the disk at a time, and then one more batch.
    pub read_ahead: usize,
    /// What batches are charged to that come from the disk.
    pub budget: Budget,
    /// The folder and the bounds of the disk buffer; `None`: there is none.
    pub disk: Option<(PathBuf, Buffer)>,
    /// Which batches may be with the sink at the same time.
    pub order: Order,
    /// Where records go that the sink will never take.
    pub dead: DeadLetters,
    /// Where buffers of batches go that are done.
    pub spares: Spares,
}

/// What waits for one sink. Clones are the same queue.
#[derive(Clone, Debug)]
pub struct Queue(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    state: RefCell<State>,
    dead: DeadLetters,
    spares: Spares,
    /// There may be something to take.
    filled: Notify,
    /// There may be room.
    room: Notify,
    /// There is something to bring to the disk.
    chores: Notify,
}

/// How much waits, and what became of what does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What waits in memory.
    pub memory: Tally,
    /// What waits on the disk.
    pub disk: Tally,
    /// Bytes that the disk buffer takes.
    pub disk_bytes: u64,
    /// What the sink was given and did not say yes or no to.
    pub in_hand: Tally,
    /// What was dropped because there was no room.
    pub dropped: Tally,
    /// When the oldest record of all this was read.
    pub oldest: Option<UnixNanos>,
    /// What went wrong on the disk.
    pub counters: Counters,
    /// Why the disk buffer is not in use, where one is configured.
    pub trouble: Option<String>,
}

impl Queue {
    /// Opens the queue; what an earlier process left on the disk comes first. Where the disk buffer
    /// cannot be opened that is said, memory does what it can, and [`Queue::tend`] tries again.
    #[must_use]
    pub fn open(plan: Plan) -> Self {
        let disk = plan.disk.map(|(folder, buffer)| Disk::open(folder, buffer));
        Self(Rc::new(Shared {
            state: RefCell::new(State {
                limit: plan.memory,
                read_ahead: plan.read_ahead,
                from_disk: 0,
                budget: plan.budget,
                order: plan.order,
                used: 0,
                back: BTreeMap::new(),
                memory: VecDeque::new(),
                disk,
                in_hand: BTreeMap::new(),
                taken: 0,
                dropped: Tally::default(),
                is_closed: false,
            }),
            dead: plan.dead,
            spares: plan.spares,
            filled: Notify::new(),
            room: Notify::new(),
            chores: Notify::new(),
        }))
    }

    /// Adds a batch. Where there is no room in memory or on the disk, `full` says what happens:
    /// it is given back, to wait for [`Queue::room`], or batches are dropped and counted.
    /// `Drop(Oldest)` drops only what came with the same policy: in memory a batch, on the disk the
    /// oldest segment in which all is so.
    #[must_use]
    pub fn try_push(&self, batch: Batch, full: FullPolicy) -> Option<Batch> {
        let waiting = Waiting::new(batch, full);
        let back = self.0.state.borrow_mut().admit(waiting, &self.0.spares);
        // Even where it waits now: others may have gone to the disk.
        self.0.chores.notify_one();
        self.0.filled.notify_waiters();
        back.and_then(Waiting::into_batch)
    }

    /// Waits until there may be room, made since this was called.
    pub fn room(&self) -> impl Future<Output = ()> {
        let room = self.0.room.notified();
        async {
            // Nobody says when a full file system has room again.
            let _elapsed = timeout(AGAIN, room).await;
        }
    }

    /// Takes the next batch; waits for one. `None` once the queue is closed and everything in it is
    /// done.
    pub async fn pop(&self) -> Option<Taken> {
        loop {
            let filled = self.0.filled.notified();
            if let Some(taken) = self.try_pop() {
                return Some(taken);
            }
            let is_stuck = {
                let state = self.0.state.borrow();
                if state.is_closed && state.is_empty() {
                    return None;
                }
                state.disk.as_ref().is_some_and(Disk::is_stuck)
            };
            if is_stuck {
                let _elapsed = timeout(AGAIN, filled).await;
            } else {
                filled.await;
            }
        }
    }

    /// Takes the next batch, if there is one that may be taken now.
    #[must_use]
    pub fn try_pop(&self) -> Option<Taken> {
        let (number, batch) = self.0.state.borrow_mut().take()?;
        Some(Taken::new(self.clone(), number, batch))
    }

    /// Says that nothing more is pushed.
    pub fn close(&self) {
        self.0.state.borrow_mut().is_closed = true;
        self.0.filled.notify_waiters();
    }

    /// Brings the disk buffer to the disk when it is time, removes what is done, and opens it again
    /// where it could not be. Runs as long as the queue is in use; may be dropped at any time.
    pub async fn tend(&self) {
        loop {
            let chores = self.0.chores.notified();
            let due = self.0.state.borrow().disk.as_ref().and_then(Disk::due);
            let Some(due) = due else {
                chores.await;
                continue;
            };
            tokio::select! {
                () = sleep_until(due) => self.sync().await,
                () = chores => {}
            }
        }
    }

    /// Brings the disk buffer to the disk now.
    pub async fn sync(&self) {
        let job = self.0.state.borrow_mut().disk.as_mut().and_then(Disk::job);
        let synced = match job {
            // A job that panics has told nobody that the disk has anything.
            Some(job) => spawn_blocking(|| job.run()).await.ok(),
            None => None,
        };
        let has_more_room = {
            let mut state = self.0.state.borrow_mut();
            state.disk.as_mut().is_some_and(|disk| disk.synced(synced))
        };
        if has_more_room {
            self.0.room.notify_waiters();
        }
        // It may have been opened just now.
        self.0.filled.notify_waiters();
    }

    /// At the end: writes what memory holds to the disk, and `rest` after it, as far as there is
    /// room, and brings it to the disk. Nothing may be taken any more. Returns what could not be kept;
    /// it is dropped without its receipts, so that a source that can reads it again. Nothing is kept
    /// that comes after such a batch in its partition.
    pub async fn spill_all(&self, rest: impl IntoIterator<Item = (Batch, FullPolicy)>) -> Tally {
        let rest = rest.into_iter().map(|(batch, full)| Waiting::new(batch, full));
        let left = self.0.state.borrow_mut().spill_all(rest, &self.0.spares);
        self.sync().await;
        left
    }

    /// How much waits, and what became of what does not.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.state.borrow_mut().status()
    }

    /// Where records go that the sink will never take.
    #[must_use]
    pub fn dead_letters(&self) -> &DeadLetters {
        &self.0.dead
    }
}
