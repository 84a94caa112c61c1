//! Batches of one sink that records are still added to, one for each partition.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use pillion_model::logs::{BatchLimits, FullPolicy};

use crate::batch::Batch;
use crate::budget::Budget;
use crate::receipt::Receipt;
use crate::record::UnixNanos;

/// The most batches that are open at a time; one more closes the oldest.
const OPEN: usize = 64;
/// The most buffers that are kept for the next batches.
const SPARE: usize = 2;
/// A buffer that holds a whole batch has room for one more record of this part of its length, which
/// is moved to the next batch.
const ONE_MORE: usize = 64;
/// How many times as long a buffer becomes when it is too short.
const GROWTH: usize = 4;

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
    /// Everything but its bytes.
    batch: Batch,
    bytes: Vec<u8>,
    full: FullPolicy,
    since: Instant,
}

/// Buffers of batches that are done, for the next ones. Clones are the same.
#[derive(Clone, Debug)]
pub struct Spares {
    list: Rc<RefCell<Vec<Buffers>>>,
    longest: usize,
    budget: Budget,
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
        let start = open.bytes.len();
        make_room(&mut open.bytes, self.limits.bytes);
        encode(&mut open.bytes);
        let is_over = !open.batch.ends.is_empty() && open.bytes.len() > self.limits.bytes;
        if is_over {
            // The record opens the next batch, so that no limit of a sink is exceeded.
            let (mut bytes, ends) = self.spares.take();
            bytes.extend_from_slice(open.bytes.get(start..).unwrap_or_default());
            open.bytes.truncate(start);
            self.close(index);
            self.open.push_back(open_with(&slot, now, bytes, ends));
        } else if open.bytes.len() == start {
            if open.batch.ends.is_empty() {
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
        let Some(Open { batch, bytes, .. }) = self.open.get_mut(index) else { return };
        batch.ends.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        for receipt in slot.receipts {
            if !batch.receipts.last().is_some_and(|last| last.is_same(receipt)) {
                batch.receipts.push(receipt.clone());
            }
        }
        let size = held(bytes, &batch.ends);
        match &mut batch.charge {
            Some(charge) if charge.bytes() == size => {}
            Some(charge) => charge.set(size),
            None => batch.charge = Some(self.budget.take_anyway(size)),
        }
        if bytes.len() >= self.limits.bytes || batch.ends.len() >= self.limits.records {
            self.close(index);
        }
    }

    fn close(&mut self, index: usize) {
        let Some(Open { mut batch, mut bytes, full, .. }) = self.open.remove(index) else { return };
        // A buffer of a whole batch is not kept for a few records.
        if bytes.len() < bytes.capacity() / 2 {
            bytes.shrink_to_fit();
        }
        if let Some(charge) = &mut batch.charge {
            charge.set(held(&bytes, &batch.ends));
        }
        batch.bytes = bytes.into();
        self.closed.push_back((batch, full));
    }
}

/// Bytes that the buffers of a batch take, used or not.
fn held(bytes: &Vec<u8>, ends: &Vec<u32>) -> usize {
    bytes.capacity() + ends.capacity() * size_of::<u32>()
}

/// Grows a buffer in few steps, for the allocator keeps what each leaves behind for a while, and to
/// no more than a batch needs.
fn make_room(bytes: &mut Vec<u8>, limit: usize) {
    let whole = limit.saturating_add(limit / ONE_MORE);
    let is_tight = bytes.capacity() - bytes.len() < limit / ONE_MORE;
    if is_tight && bytes.capacity() < whole {
        let capacity = (bytes.capacity() * GROWTH).clamp(limit / ONE_MORE * 2, whole);
        bytes.reserve_exact(capacity - bytes.len());
    }
}

fn open_with(slot: &Slot<'_>, now: Instant, bytes: Vec<u8>, ends: Vec<u32>) -> Open {
    let (partition, oldest) = (slot.partition.into(), slot.read);
    let batch = Batch { partition, ends, oldest, ..Batch::default() };
    Open { batch, bytes, full: slot.full, since: now }
}

impl Spares {
    /// Keeps buffers that have room for up to `longest` bytes twice, for longer ones were needed for
    /// something unusual; and only what `budget` has room for.
    #[must_use]
    pub fn new(longest: usize, budget: Budget) -> Self {
        Self { list: Rc::default(), longest: longest.saturating_mul(2), budget }
    }

    /// Keeps the buffers of a batch that is done, unless somebody still has its bytes.
    pub fn keep(&self, bytes: Bytes, mut ends: Vec<u32>) {
        let Ok(mut bytes) = bytes.try_into_mut() else { return };
        bytes.clear();
        let bytes = Vec::from(bytes);
        ends.clear();
        let mut list = self.list.borrow_mut();
        let kept: usize = list.iter().map(|(bytes, ends)| held(bytes, ends)).sum();
        let fits = kept + held(&bytes, &ends) + self.budget.used() <= self.budget.limit();
        if list.len() < SPARE && bytes.capacity() <= self.longest && fits {
            list.push((bytes, ends));
        }
    }

    fn take(&self) -> Buffers {
        self.list.borrow_mut().pop().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
