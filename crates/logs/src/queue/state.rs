//! What a queue holds, and the order in which it comes and goes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use pillion_model::logs::{DropPolicy, FullPolicy};

use crate::batch::Batch;
use crate::batcher::Spares;
use crate::budget::Budget;
use crate::record::UnixNanos;
use crate::tally::Tally;

use super::disk::Disk;
use super::{Order, Status};

/// So many batches from the disk are held, and so many in memory looked at, for one whose partition
/// is not in hand.
const LOOK_AHEAD: usize = 16;

#[derive(Debug)]
pub(super) struct State {
    /// The most bytes in memory that came from there, and how many there are.
    pub(super) limit: usize,
    pub(super) used: usize,
    /// The most bytes in memory that came from the disk, and how many there are.
    pub(super) read_ahead: usize,
    pub(super) from_disk: usize,
    pub(super) budget: Budget,
    pub(super) order: Order,
    /// What was taken out before and is not in hand, by its number: older than all below.
    pub(super) back: BTreeMap<u64, Waiting>,
    pub(super) disk: Option<Disk>,
    pub(super) memory: VecDeque<Waiting>,
    /// Facts about what is in hand.
    pub(super) in_hand: BTreeMap<u64, InHand>,
    /// How many batches were taken out.
    pub(super) taken: u64,
    pub(super) dropped: Tally,
    pub(super) is_closed: bool,
}

/// A batch that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) batch: Batch,
    full: FullPolicy,
    origin: Origin,
    /// Bytes of the share that are its own.
    size: usize,
}

/// Where a batch waited first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// In memory.
    Memory,
    /// On the disk, which still has it.
    Disk,
}

#[derive(Debug)]
pub(super) struct InHand {
    partition: Arc<str>,
    oldest: UnixNanos,
    tally: Tally,
}

impl Waiting {
    pub(super) fn new(batch: Batch, full: FullPolicy) -> Self {
        let size = batch.size();
        Self { batch, full, origin: Origin::Memory, size }
    }

    fn from_disk(mut batch: Batch, budget: &Budget) -> Self {
        let size = batch.size();
        batch.charge = Some(budget.take_anyway(size));
        Self { batch, full: FullPolicy::Block, origin: Origin::Disk, size }
    }

    /// All of it, and leaves an empty one.
    pub(super) fn take(&mut self) -> Self {
        let Self { full, origin, size, .. } = *self;
        Self { batch: std::mem::take(&mut self.batch), full, origin, size }
    }

    fn is_droppable(&self) -> bool {
        self.full == FullPolicy::Drop(DropPolicy::Oldest)
    }
}

impl State {
    /// Lets a batch in, or makes room for it, or drops what is to be dropped; gives it back where
    /// it has to wait.
    pub(super) fn admit(&mut self, mut waiting: Waiting, spares: &Spares) -> Option<Waiting> {
        while !self.fits(&waiting) {
            if self.spill_front(spares) {
                continue;
            }
            if self.memory.is_empty() {
                // All that memory holds is in hand: this one goes to the disk at once.
                waiting = self.keep(waiting, spares)?;
            }
            match waiting.full {
                FullPolicy::Block => return Some(waiting),
                FullPolicy::Drop(DropPolicy::Oldest) if self.drop_oldest(spares) => {}
                FullPolicy::Drop(DropPolicy::Oldest | DropPolicy::Newest) => {
                    self.drop_one(waiting.batch, spares);
                    return None;
                }
            }
        }
        self.used += waiting.size;
        self.memory.push_back(waiting);
        None
    }

    fn fits(&self, waiting: &Waiting) -> bool {
        self.used == 0 || self.used.saturating_add(waiting.size) <= self.limit
    }

    /// Moves the oldest in memory to the disk; says whether that was possible.
    fn spill_front(&mut self, spares: &Spares) -> bool {
        let Some(front) = self.memory.pop_front() else { return false };
        let size = front.size;
        if let Some(front) = self.keep(front, spares) {
            self.memory.push_front(front);
            return false;
        }
        self.used = self.used.saturating_sub(size);
        true
    }

    /// Writes a batch to the disk; gives it back where that cannot be.
    fn keep(&mut self, mut waiting: Waiting, spares: &Spares) -> Option<Waiting> {
        let droppable = waiting.is_droppable();
        let appended = self.disk.as_mut().map(|disk| disk.append(&mut waiting.batch, droppable));
        let Some(Ok(())) = appended else { return Some(waiting) };
        recycle(waiting.batch, spares);
        None
    }

    /// Drops the oldest that may be dropped; says whether there was one.
    fn drop_oldest(&mut self, spares: &Spares) -> bool {
        let back = self.back.iter().find(|(_, waiting)| waiting.is_droppable());
        if let Some(number) = back.map(|(number, _)| *number)
            && let Some(waiting) = self.back.remove(&number)
        {
            self.release(&waiting);
            self.drop_one(waiting.batch, spares);
            return true;
        }
        if let Some(tally) = self.disk.as_mut().and_then(Disk::drop_oldest) {
            self.dropped += tally;
            return true;
        }
        let index = self.memory.iter().position(Waiting::is_droppable);
        let Some(waiting) = index.and_then(|index| self.memory.remove(index)) else { return false };
        self.release(&waiting);
        self.drop_one(waiting.batch, spares);
        true
    }

    fn drop_one(&mut self, batch: Batch, spares: &Spares) {
        self.dropped += Tally::from(&batch);
        recycle(batch, spares);
    }

    /// The next batch that may be taken, and its number.
    pub(super) fn take(&mut self) -> Option<(u64, Waiting)> {
        let is_free = |waiting: &Waiting| self.is_free(waiting);
        let back =
            self.back.iter().find(|(_, waiting)| is_free(waiting)).map(|(number, _)| *number);
        if let Some(number) = back {
            let waiting = self.back.remove(&number)?;
            return Some(self.hand_out(number, waiting));
        }
        while self.back.len() < LOOK_AHEAD
            && let Some(waiting) = self.read()
        {
            let number = self.number();
            if self.is_free(&waiting) {
                return Some(self.hand_out(number, waiting));
            }
            self.back.insert(number, waiting);
        }
        if self.disk.as_ref().is_some_and(|disk| !disk.is_empty()) {
            return None;
        }
        let mut candidates = self.memory.iter().take(LOOK_AHEAD);
        let index = candidates.position(|waiting| self.is_free(waiting))?;
        let waiting = self.memory.remove(index)?;
        let number = self.number();
        Some(self.hand_out(number, waiting))
    }

    /// The next batch from the disk, if there is room for it. With nothing in hand there is: so that
    /// it goes on.
    fn read(&mut self) -> Option<Waiting> {
        if self.from_disk >= self.read_ahead && !self.in_hand.is_empty() {
            return None;
        }
        let batch = self.disk.as_mut()?.read()?;
        let waiting = Waiting::from_disk(batch, &self.budget);
        self.from_disk += waiting.size;
        Some(waiting)
    }

    /// A batch is in memory no longer.
    fn release(&mut self, waiting: &Waiting) {
        let used = match waiting.origin {
            Origin::Memory => &mut self.used,
            Origin::Disk => &mut self.from_disk,
        };
        *used = used.saturating_sub(waiting.size);
    }

    fn number(&mut self) -> u64 {
        self.taken += 1;
        self.taken
    }

    fn is_free(&self, waiting: &Waiting) -> bool {
        let partition = &waiting.batch.partition;
        match self.order {
            Order::Free => true,
            Order::Partition => !self.in_hand.values().any(|held| held.partition == *partition),
        }
    }

    fn hand_out(&mut self, number: u64, waiting: Waiting) -> (u64, Waiting) {
        let Batch { partition, oldest, .. } = &waiting.batch;
        let tally = Tally::from(&waiting.batch);
        let facts = InHand { partition: partition.clone(), oldest: *oldest, tally };
        self.in_hand.insert(number, facts);
        (number, waiting)
    }

    /// A batch in hand is done.
    pub(super) fn finish(&mut self, number: u64, waiting: Waiting, spares: &Spares) {
        self.in_hand.remove(&number);
        self.release(&waiting);
        let origin = waiting.origin;
        recycle(waiting.batch, spares);
        if let (Origin::Disk, Some(disk)) = (origin, &mut self.disk) {
            disk.settle();
        }
    }

    /// A batch in hand waits again.
    pub(super) fn put_back(&mut self, number: u64, waiting: Waiting) {
        self.in_hand.remove(&number);
        self.back.insert(number, waiting);
    }

    /// Writes everything to the disk that is not there; returns what could not be written.
    pub(super) fn spill_all(&mut self, spares: &Spares) -> Tally {
        let back = std::mem::take(&mut self.back).into_values();
        let all: Vec<Waiting> = back.chain(std::mem::take(&mut self.memory)).collect();
        let mut left = Tally::default();
        for waiting in all.into_iter().filter(|waiting| waiting.origin != Origin::Disk) {
            self.release(&waiting);
            if let Some(waiting) = self.keep(waiting, spares) {
                left += Tally::from(&waiting.batch);
            }
        }
        left
    }

    pub(super) fn is_empty(&self) -> bool {
        let disk_is_empty = self.disk.as_ref().is_none_or(Disk::is_empty);
        self.back.is_empty() && self.memory.is_empty() && self.in_hand.is_empty() && disk_is_empty
    }

    pub(super) fn status(&mut self) -> Status {
        let mut status = Status { dropped: self.dropped, ..Status::default() };
        if let Some(disk) = &self.disk {
            disk.status(&mut status);
        }
        for waiting in self.back.values().chain(&self.memory) {
            let tally = Tally::from(&waiting.batch);
            match waiting.origin {
                Origin::Memory => status.memory += tally,
                Origin::Disk => status.disk += tally,
            }
        }
        self.in_hand.values().for_each(|held| status.in_hand += held.tally);
        let waiting = self.back.values().chain(self.memory.front());
        let oldest = waiting.map(|waiting| waiting.batch.oldest);
        let in_hand = self.in_hand.values().map(|held| held.oldest);
        let disk = self.disk.as_mut().and_then(Disk::oldest);
        status.oldest = oldest.chain(in_hand).chain(disk).min();
        status
    }
}

/// Gives everything back that a batch holds.
fn recycle(mut batch: Batch, spares: &Spares) {
    // What they took is room for them.
    batch.charge = None;
    spares.keep(std::mem::take(&mut batch.bytes), std::mem::take(&mut batch.ends));
    batch.done();
}
