//! What a queue holds, and the order in which it comes and goes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use pillion_model::logs::{DropPolicy, FullPolicy};

use crate::batch::Batch;
use crate::batcher::Spares;
use crate::budget::Budget;
use crate::receipt::Receipt;
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
    /// What is in hand, by its number.
    pub(super) in_hand: BTreeMap<u64, Waiting>,
    /// How many batches were taken out.
    pub(super) taken: u64,
    pub(super) dropped: Tally,
    pub(super) is_closed: bool,
}

/// A batch that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The sink has it too while it is in hand.
    batch: Rc<Batch>,
    receipts: Vec<Receipt>,
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
    /// In memory; the disk has it too since something that came after it went there.
    Kept,
    /// On the disk, which still has it.
    Disk,
}

impl Waiting {
    pub(super) fn new(batch: Batch, full: FullPolicy) -> Self {
        Self::with(batch, full, Origin::Memory)
    }

    fn from_disk(mut batch: Batch, budget: &Budget) -> Self {
        batch.charge = Some(budget.take_anyway(batch.size()));
        Self::with(batch, FullPolicy::Block, Origin::Disk)
    }

    fn with(mut batch: Batch, full: FullPolicy, origin: Origin) -> Self {
        let (size, receipts) = (batch.size(), std::mem::take(&mut batch.receipts));
        Self { batch: Rc::new(batch), receipts, full, origin, size }
    }

    /// The batch as it came. `None`: somebody else has it.
    pub(super) fn into_batch(self) -> Option<Batch> {
        let batch = Rc::into_inner(self.batch)?;
        Some(Batch { receipts: self.receipts, ..batch })
    }

    fn tally(&self) -> Tally {
        Tally::from(&*self.batch)
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
                    self.drop_one(waiting, spares);
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
        if !self.keep_taken() {
            return Some(waiting);
        }
        let droppable = waiting.is_droppable();
        let Waiting { batch, receipts, .. } = &mut waiting;
        let appended = self.disk.as_mut().map(|disk| disk.append(batch, receipts, droppable));
        let Some(Ok(())) = appended else { return Some(waiting) };
        recycle(waiting, spares);
        None
    }

    /// Writes to the disk what was taken from memory and is not done: it is older than what goes
    /// there next, and has to come before it at the next start. Says whether that was possible.
    fn keep_taken(&mut self) -> bool {
        // What an earlier process left there comes first, where the disk could be opened only now.
        let Some(disk) = self.disk.as_mut().filter(|disk| disk.is_empty()) else { return true };
        let taken = self.back.iter_mut().chain(&mut self.in_hand);
        let taken = taken.filter(|(_, waiting)| waiting.origin == Origin::Memory);
        taken.collect::<BTreeMap<_, _>>().into_values().all(|waiting| {
            let droppable = waiting.is_droppable();
            let kept = disk.append_taken(&waiting.batch, &mut waiting.receipts, droppable).is_ok();
            if kept {
                (waiting.origin, waiting.full) = (Origin::Kept, FullPolicy::Block);
            }
            kept
        })
    }

    /// Drops the oldest that may be dropped; says whether there was one.
    fn drop_oldest(&mut self, spares: &Spares) -> bool {
        let back = self.back.iter().find(|(_, waiting)| waiting.is_droppable());
        if let Some(number) = back.map(|(number, _)| *number)
            && let Some(waiting) = self.back.remove(&number)
        {
            self.release(&waiting);
            self.drop_one(waiting, spares);
            return true;
        }
        if let Some(tally) = self.disk.as_mut().and_then(Disk::drop_oldest) {
            self.dropped += tally;
            return true;
        }
        let index = self.memory.iter().position(Waiting::is_droppable);
        let Some(waiting) = index.and_then(|index| self.memory.remove(index)) else { return false };
        self.release(&waiting);
        self.drop_one(waiting, spares);
        true
    }

    fn drop_one(&mut self, waiting: Waiting, spares: &Spares) {
        self.dropped += waiting.tally();
        recycle(waiting, spares);
    }

    /// The next batch that may be taken, and its number.
    pub(super) fn take(&mut self) -> Option<(u64, Rc<Batch>)> {
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
            Origin::Memory | Origin::Kept => &mut self.used,
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
            Order::Partition => {
                !self.in_hand.values().any(|held| held.batch.partition == *partition)
            }
        }
    }

    fn hand_out(&mut self, number: u64, waiting: Waiting) -> (u64, Rc<Batch>) {
        let batch = waiting.batch.clone();
        self.in_hand.insert(number, waiting);
        (number, batch)
    }

    /// A batch in hand is done.
    pub(super) fn finish(&mut self, number: u64, spares: &Spares) {
        let Some(waiting) = self.in_hand.remove(&number) else { return };
        self.release(&waiting);
        let origin = waiting.origin;
        recycle(waiting, spares);
        if let (Origin::Kept | Origin::Disk, Some(disk)) = (origin, &mut self.disk) {
            disk.settle();
        }
    }

    /// A batch in hand waits again.
    pub(super) fn put_back(&mut self, number: u64) {
        let waiting = self.in_hand.remove(&number);
        self.back.extend(waiting.map(|waiting| (number, waiting)));
    }

    /// Writes everything to the disk that is not there, and `rest` after it; returns what could not be
    /// written. Nothing follows that in its partition: the source that reads it again reads on.
    pub(super) fn spill_all(
        &mut self,
        rest: impl Iterator<Item = Waiting>,
        spares: &Spares,
    ) -> Tally {
        let back = std::mem::take(&mut self.back).into_iter();
        let is_in_memory = |(_, waiting): &(u64, Waiting)| waiting.origin == Origin::Memory;
        let (back, on_disk): (BTreeMap<_, _>, BTreeMap<_, _>) = back.partition(is_in_memory);
        self.back = on_disk;
        let memory = back.into_values().chain(std::mem::take(&mut self.memory));
        let memory: Vec<Waiting> = memory.collect();
        memory.iter().for_each(|waiting| self.release(waiting));
        let (mut left, mut broken) = (Tally::default(), BTreeSet::<Arc<str>>::new());
        for waiting in memory.into_iter().chain(rest) {
            let is_next = !broken.contains(&waiting.batch.partition);
            let refused = if is_next { self.keep(waiting, spares) } else { Some(waiting) };
            if let Some(waiting) = refused {
                left += waiting.tally();
                broken.insert(waiting.batch.partition.clone());
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
            match waiting.origin {
                Origin::Memory => status.memory += waiting.tally(),
                Origin::Kept | Origin::Disk => status.disk += waiting.tally(),
            }
        }
        self.in_hand.values().for_each(|held| status.in_hand += held.tally());
        let waiting = self.back.values().chain(self.memory.front());
        let oldest = waiting.map(|waiting| waiting.batch.oldest);
        let in_hand = self.in_hand.values().map(|held| held.batch.oldest);
        let disk = self.disk.as_mut().and_then(Disk::oldest);
        status.oldest = oldest.chain(in_hand).chain(disk).min();
        status
    }
}

/// Gives everything back that a batch holds.
fn recycle(waiting: Waiting, spares: &Spares) {
    if let Some(mut batch) = Rc::into_inner(waiting.batch) {
        // What they took is room for them.
        batch.charge = None;
        spares.keep(std::mem::take(&mut batch.bytes), std::mem::take(&mut batch.ends));
    }
    waiting.receipts.into_iter().for_each(Receipt::done);
}
