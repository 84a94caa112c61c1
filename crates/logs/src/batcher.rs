//! Batches of one sink that records are still added to, one for each partition.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use pillion_model::logs::{BatchLimits, FullPolicy};

use crate::batch::Batch;
use crate::budget::Budget;
use crate::receipt::Receipt;
use crate::record::UnixNanos;

/// The most batches that are open at a time; one more closes the oldest.
const OPEN: usize = 64;
/// The most buffers that are kept for the next batches.
const SPARE: usize = 4;

/// Where a record belongs.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    /// What has to travel apart from the rest.
    pub partition: &'a str,
    /// What happens to the batch when there is no room for it: what its source says.
    pub full: FullPolicy,
    /// Stand for the pieces that the record was made of.
    pub receipts: &'a [Receipt],
    /// When the record was read.
    pub read: UnixNanos,
}

/// The open batches of one sink.
#[derive(Debug)]
pub struct Batcher {
    limits: BatchLimits,
    budget: Budget,
    spares: Spares,
    /// The oldest first.
    open: VecDeque<Open>,
    closed: VecDeque<(Batch, FullPolicy)>,
}

#[derive(Debug)]
struct Open {
    batch: Batch,
    full: FullPolicy,
    since: Instant,
}

/// Buffers of batches that are done, for the next ones. Clones are the same.
#[derive(Clone, Debug)]
pub struct Spares {
    list: Rc<RefCell<Vec<Buffers>>>,
    longest: usize,
}

/// Bytes and ends of a batch, empty.
type Buffers = (Vec<u8>, Vec<u32>);

impl Batcher {
    /// A batcher whose batches are charged to `budget`.
    #[must_use]
    pub fn new(limits: BatchLimits, budget: Budget, spares: Spares) -> Self {
        let (open, closed) = (VecDeque::new(), VecDeque::new());
        Self { limits, budget, spares, open, closed }
    }

    /// Adds a record: `encode` appends it to the bytes that it is given, and must leave alone what
    /// is there. Where it appends nothing there is no record. Ask for [`Batcher::closed`] after it.
    pub fn add(&mut self, slot: Slot<'_>, now: Instant, encode: impl FnOnce(&mut Vec<u8>)) {
        let index = self.find(&slot).unwrap_or_else(|| self.begin(&slot, now));
        let Some(open) = self.open.get_mut(index) else { return };
        let batch = &mut open.batch;
        let start = batch.bytes.len();
        encode(&mut batch.bytes);
        let is_over = !batch.ends.is_empty() && batch.bytes.len() > self.limits.bytes;
        if is_over {
            // The record opens the next batch, so that no limit of a sink is exceeded.
            let (mut bytes, ends) = self.spares.take();
            bytes.extend_from_slice(batch.bytes.get(start..).unwrap_or_default());
            batch.bytes.truncate(start);
            self.close(index);
            self.open.push_back(open_with(&slot, now, bytes, ends));
        } else if batch.bytes.len() == start {
            if batch.ends.is_empty() {
                self.open.remove(index);
            }
            return;
        }
        let index = if is_over { self.open.len() - 1 } else { index };
        self.note(index, &slot);
    }

    /// A batch that is closed, to be delivered.
    pub fn closed(&mut self) -> Option<(Batch, FullPolicy)> {
        self.closed.pop_front()
    }

    /// Puts back a batch that is closed and was not taken after all: it comes first again.
    pub fn put_back(&mut self, batch: Batch, full: FullPolicy) {
        self.closed.push_front((batch, full));
    }

    /// When the oldest open batch is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.open.front()?.since.checked_add(self.limits.wait)
    }

    /// Closes what is due.
    pub fn close_due(&mut self, now: Instant) {
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            self.close(0);
        }
    }

    /// Closes everything.
    pub fn close_all(&mut self) {
        while !self.open.is_empty() {
            self.close(0);
        }
    }

    fn find(&self, slot: &Slot<'_>) -> Option<usize> {
        let fits = |open: &Open| open.full == slot.full && &*open.batch.partition == slot.partition;
        self.open.iter().position(fits)
    }

    fn begin(&mut self, slot: &Slot<'_>, now: Instant) -> usize {
        if self.open.len() == OPEN {
            self.close(0);
        }
        let (bytes, ends) = self.spares.take();
        self.open.push_back(open_with(slot, now, bytes, ends));
        self.open.len() - 1
    }

    /// Takes a record that was appended into the books of its batch.
    fn note(&mut self, index: usize, slot: &Slot<'_>) {
        let Some(Open { batch, .. }) = self.open.get_mut(index) else { return };
        batch.ends.push(u32::try_from(batch.bytes.len()).unwrap_or(u32::MAX));
        for receipt in slot.receipts {
            if !batch.receipts.last().is_some_and(|last| last.is_same(receipt)) {
                batch.receipts.push(receipt.clone());
            }
        }
        let size = batch.size();
        match &mut batch.charge {
            Some(charge) => charge.set(size),
            None => batch.charge = Some(self.budget.take_anyway(size)),
        }
        if batch.bytes.len() >= self.limits.bytes || batch.ends.len() >= self.limits.records {
            self.close(index);
        }
    }

    fn close(&mut self, index: usize) {
        let closed = self.open.remove(index);
        self.closed.extend(closed.map(|open| (open.batch, open.full)));
    }
}

fn open_with(slot: &Slot<'_>, now: Instant, bytes: Vec<u8>, ends: Vec<u32>) -> Open {
    let (partition, oldest) = (slot.partition.into(), slot.read);
    let batch = Batch { partition, bytes, ends, oldest, receipts: Vec::new(), charge: None };
    Open { batch, full: slot.full, since: now }
}

impl Spares {
    /// Keeps buffers that have room for up to `longest` bytes twice; longer ones were needed for
    /// something unusual.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        Self { list: Rc::default(), longest: longest.saturating_mul(2) }
    }

    /// Keeps the buffers of a batch that is done.
    pub fn keep(&self, mut bytes: Vec<u8>, mut ends: Vec<u32>) {
        let mut list = self.list.borrow_mut();
        if list.len() < SPARE && bytes.capacity() <= self.longest {
            bytes.clear();
            ends.clear();
            list.push((bytes, ends));
        }
    }

    fn take(&self) -> Buffers {
        self.list.borrow_mut().pop().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
