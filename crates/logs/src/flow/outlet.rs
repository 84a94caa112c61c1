//! One sink, as records see it: which it takes, in what form, and where they wait.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use pillion_model::logs::{FullPolicy, Sink as Settings};
use tokio::sync::Notify;

use super::Moment;
use crate::batch::Batch;
use crate::batcher::{Batcher, Slot, Spares};
use crate::budget::Budget;
use crate::condition::Filter;
use crate::dead_letters::DeadLetters;
use crate::deliver::{self, Deliverer, Parcel, Supply};
use crate::encode::{Encoder, Facts, Origin};
use crate::queue::{Plan, Queue, Taken};
use crate::receipt::Receipt;
use crate::record::Record;
use crate::sink::{Sink, SinkError};
use crate::tally::Tally;

/// Where the disk buffers are, below the state folder.
const BUFFERS: &str = "buffer";
/// Where there is a disk, a batch is at most this part of what the sink may hold in memory. The queue
/// takes half of that, what is read back a fourth and at most one batch more, and what is gathered the
/// rest: together they leave sources room in the budget until the disk is full.
const BATCHES: usize = 8;

/// One sink.
pub(crate) struct Outlet {
    pub(crate) settings: Arc<Settings>,
    filter: Filter,
    encoder: RefCell<Encoder>,
    batcher: RefCell<Batcher>,
    pub(crate) queue: Queue,
    pub(crate) deliverer: Deliverer,
    /// Something was added to an empty batcher.
    begun: Notify,
    handing_on: tokio::sync::Mutex<()>,
    /// Nobody waits for room any more.
    over: Cell<bool>,
    ending: Notify,
    /// Records that it was given.
    pub(crate) taken: Cell<u64>,
}

/// Why a sink cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OutletError {
    /// What it is cannot be.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// An expression is too large.
    #[error(transparent)]
    Expression(#[from] regex::Error),
}

/// When a record was read, on both clocks, and what is done where there is no room for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) now: Instant,
    pub(crate) unix: i64,
    pub(crate) full: FullPolicy,
}

impl Outlet {
    /// A sink with its queue. `share` is what it may hold in memory.
    ///
    /// # Errors
    /// What the configuration says cannot be.
    pub(crate) fn open(
        settings: &Arc<Settings>,
        state: Option<&Path>,
        budget: &Budget,
        (share, spares): (usize, &Spares),
        seed: u64,
    ) -> Result<Self, OutletError> {
        let sink = Sink::new(&settings.output)?;
        let name = &settings.name;
        let disk = state.filter(|_| settings.buffer.disk > 0);
        let disk = disk.map(|state| (state.join(BUFFERS).join(&**name), settings.buffer));
        let mut batch = settings.batch;
        if disk.is_some() {
            batch.bytes = batch.bytes.min(share / BATCHES);
        }
        let queue = Queue::open(Plan {
            // With a disk, the rest is for what is gathered and for what is read back: else sources
            // would find no room in the budget before the queue goes to the disk.
            memory: if disk.is_some() { share / 2 } else { share },
            read_ahead: share / 4,
            budget: budget.clone(),
            disk,
            order: sink.order,
            dead: DeadLetters::new(state, name),
            spares: spares.clone(),
        });
        Ok(Self {
            filter: Filter::new(&settings.when)?,
            encoder: RefCell::new(Encoder::new(&settings.output)),
            batcher: RefCell::new(Batcher::new(batch, budget.clone(), spares.clone())),
            queue,
            deliverer: Deliverer::new(name.clone(), sink, settings.retry, seed),
            settings: settings.clone(),
            begun: Notify::new(),
            handing_on: tokio::sync::Mutex::new(()),
            over: Cell::new(false),
            ending: Notify::new(),
            taken: Cell::new(0),
        })
    }

    /// Whether it gets records of this source at all.
    pub(crate) fn is_for(&self, source: &str) -> bool {
        let sources = &self.settings.sources;
        sources.is_empty() || sources.iter().any(|name| **name == *source)
    }

    /// What of a source is the same on every record.
    pub(crate) fn origin(&self, facts: &Facts<'_>) -> Origin {
        self.encoder.borrow().origin(facts)
    }

    /// Takes a record, if it is one for this sink.
    pub(crate) fn offer(
        &self,
        record: &Record<'_>,
        source: &str,
        origin: &Origin,
        receipts: &[Receipt],
        reading: Reading,
    ) {
        if !self.filter.holds(record, source) {
            return;
        }
        self.taken.set(self.taken.get() + 1);
        let mut encoder = self.encoder.borrow_mut();
        let partition = encoder.partition(record, origin);
        let Reading { now, unix, full } = reading;
        let slot = Slot { partition: &partition, full, receipts, read: unix };
        let mut batcher = self.batcher.borrow_mut();
        let was_empty = batcher.deadline().is_none();
        batcher.add(slot, now, |bytes| encoder.encode(record, origin, bytes));
        if was_empty {
            self.begun.notify_one();
        }
    }

    /// Moves full batches into the queue; waits where there is no room and the source can wait.
    /// Dropped, it has lost nothing.
    pub(crate) async fn hand_on(&self) {
        // One after the other, so that batches keep their order.
        let _turn = self.handing_on.lock().await;
        loop {
            let (room, ending) = (self.queue.room(), self.ending.notified());
            let closed = self.batcher.borrow_mut().closed();
            let Some((batch, full)) = closed else { return };
            let Some(batch) = self.queue.try_push(batch, full) else { continue };
            self.batcher.borrow_mut().put_back(batch, full);
            if self.over.get() {
                return;
            }
            tokio::select! {
                () = room => {}
                () = ending => return,
            }
        }
    }

    /// Whoever waits for room goes on, and nobody waits any more.
    pub(crate) fn stop_waiting(&self) {
        self.over.set(true);
        self.ending.notify_waiters();
    }

    /// At the end, when nobody delivers any more: keeps on the disk what was not taken. Returns what
    /// could not be kept; only a source that can reads it again.
    pub(crate) async fn keep_rest(&self) -> Tally {
        let rest: Vec<_> = {
            let mut batcher = self.batcher.borrow_mut();
            batcher.close_all();
            std::iter::from_fn(|| batcher.closed()).collect()
        };
        self.queue.spill_all(rest).await
    }

    /// Closes batches that are old enough, for as long as the sink is there.
    pub(crate) async fn watch_age(&self) {
        loop {
            let due = self.batcher.borrow().deadline();
            match due {
                None => self.begun.notified().await,
                Some(due) => {
                    tokio::time::sleep_until(due.into()).await;
                    self.batcher.borrow_mut().close_due(Instant::now());
                    self.hand_on().await;
                }
            }
        }
    }

    /// Closes everything: nothing more is offered.
    pub(crate) async fn close(&self) {
        self.batcher.borrow_mut().close_all();
        self.hand_on().await;
        self.queue.close();
    }

    /// Delivers until the queue is closed and empty.
    pub(crate) async fn deliver(&self) -> deliver::End {
        self.deliverer.run(Waiting(self.queue.clone())).await
    }
}

/// The queue, as the delivery takes from it.
struct Waiting(Queue);

impl Supply for Waiting {
    type Parcel = Taken;

    async fn next(&mut self) -> Option<Taken> {
        self.0.pop().await
    }
}

impl Parcel for Taken {
    fn batch(&self) -> &Batch {
        Taken::batch(self)
    }

    fn dead<'r>(&self, records: impl Iterator<Item = &'r [u8]>, reason: &str) {
        self.refuse(records, reason, Moment::now().unix);
    }

    fn done(self) {
        Taken::done(self);
    }
}

/// Every sink of a configuration.
pub(crate) type Outlets = Rc<[Rc<Outlet>]>;
