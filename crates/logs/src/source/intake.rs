//! What was read and waits for the pipeline, and who has to go when there is no room.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use pillion_model::logs::{DropPolicy, FullPolicy, Listen};
use tokio::sync::{Notify, Semaphore};

use super::{Framing, Otlp, Peer, Texts};
use crate::budget::{Budget, Charge};
use crate::receipt::{Ledger, Receipt};
use crate::record::{Stream, Trace, UnixNanos};

/// So much is read at once.
pub(super) const BLOCK: usize = 64 << 10;
/// What a chunk costs beside its texts: so that many small ones are bounded too.
const OVERHEAD: usize = 512;
/// Request bodies that are read at a time.
const BODIES: usize = 8;

/// One connection, one output of the app, or one socket for datagrams; unique within its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(pub u64);

/// What comes from a source.
#[derive(Debug)]
pub enum Event {
    /// Texts or records were read.
    Chunk(Box<Chunk>),
    /// Nothing follows in this stream: what waits for a line that belongs to it is complete.
    Ended(StreamId),
}

/// What was read at once.
#[derive(Debug)]
pub struct Chunk {
    /// Of which stream.
    pub stream: StreamId,
    /// The number, within the stream, of the first of its texts or records.
    pub first: u64,
    /// What was read.
    pub content: Content,
    /// To be given back once all of it is delivered; the ledger counts texts or records.
    pub receipt: Receipt,
    /// What it takes of the budget.
    pub charge: Charge,
    /// When it was read.
    pub observed: UnixNanos,
    /// Who sent it: the other end of a TCP connection, or the sender of a datagram.
    pub peer: Option<SocketAddr>,
    /// Which output of the app it was written to.
    pub output: Option<Stream>,
    /// The request that the app was serving, if it was the only one. What a text itself says counts
    /// more.
    pub trace: Option<Trace>,
}

/// What a chunk holds.
#[derive(Debug)]
pub enum Content {
    /// Texts, each of which is a line of its stream.
    Texts(Texts),
    /// Records as an OTLP sender gave them.
    Otlp(Otlp),
}

/// What has happened in a source so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Texts or records that were handed on.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Texts or records that were dropped, because the budget had no room.
    pub dropped_records: u64,
    /// Their bytes.
    pub dropped_bytes: u64,
    /// Datagrams that the kernel dropped, because they were not read in time.
    pub kernel_dropped: u64,
    /// Requests that were refused for want of room.
    pub busy: u64,
    /// Requests that could not be understood.
    pub bad: u64,
    /// Connections now.
    pub connections: usize,
    /// Bytes that were not shown where the app's output went without us, because nobody took them.
    pub terminal_dropped: u64,
}

/// What was read, and waits.
pub(super) struct Intake {
    budget: Budget,
    framing: Cell<Framing>,
    full: Cell<FullPolicy>,
    pub(super) most_connections: Cell<usize>,
    waiting: RefCell<VecDeque<Event>>,
    arrived: Notify,
    /// A connection has ended, or more are allowed.
    pub(super) place_free: Notify,
    /// Request bodies are read by so many at a time: they may be large.
    pub(super) bodies: Semaphore,
    streams: Cell<u64>,
    /// Tasks that may still hand something on.
    open: Cell<usize>,
    closed: Cell<bool>,
    close: Notify,
    /// Shared with whoever shows it: what is dropped here is no event that the pipeline hears of.
    pub(super) status: Rc<Cell<Status>>,
    /// Texts or records of pieces whose receipts were not all given back.
    pub(super) lost: Rc<Cell<u64>>,
    /// Where reads go to.
    block: RefCell<Vec<u8>>,
}

/// One stream's way into the intake. Dropped, the stream has ended.
#[derive(Debug)]
pub(super) struct Feed {
    intake: Rc<Intake>,
    stream: StreamId,
    ledger: Ledger,
    given: Cell<u64>,
    output: Option<Stream>,
}

/// There is no room, and the sender has to come again.
#[derive(Debug)]
pub(super) struct NoRoom;

/// What became of what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    Taken,
    Dropped,
}

impl Intake {
    pub(super) fn new(framing: Framing, listen: &Listen, budget: &Budget) -> Self {
        Self::with(framing, listen.full, listen.connections, budget)
    }

    pub(super) fn of_app(framing: Framing, full: DropPolicy, budget: &Budget) -> Self {
        Self::with(framing, FullPolicy::Drop(full), 0, budget)
    }

    fn with(framing: Framing, full: FullPolicy, connections: usize, budget: &Budget) -> Self {
        Self {
            budget: budget.clone(),
            framing: Cell::new(framing),
            full: Cell::new(full),
            most_connections: Cell::new(connections),
            waiting: RefCell::default(),
            arrived: Notify::new(),
            place_free: Notify::new(),
            bodies: Semaphore::new(BODIES),
            streams: Cell::new(0),
            open: Cell::new(0),
            closed: Cell::new(false),
            close: Notify::new(),
            status: Rc::default(),
            lost: Rc::default(),
            block: RefCell::default(),
        }
    }

    pub(super) fn reconfigure(&self, framing: Framing, listen: &Listen) {
        self.framing.set(framing);
        self.full.set(listen.full);
        self.most_connections.set(listen.connections);
        self.place_free.notify_one();
    }

    /// For streams that begin now.
    pub(super) fn framing(&self) -> Framing {
        self.framing.get()
    }

    pub(super) fn full(&self) -> FullPolicy {
        self.full.get()
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(super) fn status(&self) -> Status {
        self.status.get()
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut Status)) {
        let mut status = self.status.get();
        change(&mut status);
        self.status.set(status);
    }

    /// Reads into memory that all streams share, and does something with what was read.
    pub(super) fn with_block<T>(&self, use_block: impl FnOnce(&mut [u8]) -> T) -> T {
        let mut block = self.block.borrow_mut();
        block.resize(BLOCK, 0);
        use_block(&mut block)
    }

    /// What comes next; `None` once it is closed and nothing is left.
    pub(super) async fn next(&self) -> Option<Event> {
        loop {
            let arrived = self.arrived.notified();
            if let Some(event) = self.try_next() {
                return Some(event);
            }
            if self.closed.get() && self.open.get() == 0 {
                return None;
            }
            arrived.await;
        }
    }

    pub(super) fn try_next(&self) -> Option<Event> {
        self.waiting.borrow_mut().pop_front()
    }

    /// Nothing more is to be read.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.close.notify_waiters();
        self.arrived.notify_one();
    }

    /// Waits until nothing more is to be read.
    pub(super) async fn closing(&self) {
        let close = self.close.notified();
        if !self.closed.get() {
            close.await;
        }
    }

    fn push(&self, event: Event) {
        self.waiting.borrow_mut().push_back(event);
        self.arrived.notify_one();
    }

    /// A charge for this many bytes, made room for as the policy says; `None`: there is none.
    fn charge(&self, bytes: usize, policy: DropPolicy) -> Option<Charge> {
        loop {
            if let Some(charge) = self.budget.try_take(bytes) {
                return Some(charge);
            }
            if policy == DropPolicy::Newest || !self.drop_oldest() {
                return None;
            }
        }
    }

    /// Drops what waits longest; whether there was something.
    fn drop_oldest(&self) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let Some(at) = waiting.iter().position(|event| matches!(event, Event::Chunk(_))) else {
            return false;
        };
        let Some(Event::Chunk(chunk)) = waiting.remove(at) else { return false };
        self.count_dropped(&chunk.content);
        // It was counted when it was handed on.
        self.note(|status| {
            status.records -= chunk.content.len();
            status.bytes -= chunk.content.bytes();
        });
        chunk.receipt.done();
        true
    }

    fn count_dropped(&self, content: &Content) {
        self.note(|status| {
            status.dropped_records += content.len();
            status.dropped_bytes += content.bytes();
        });
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("status", &self.status.get()).finish_non_exhaustive()
    }
}

impl Content {
    fn len(&self) -> u64 {
        let len = match self {
            Self::Texts(texts) => texts.len(),
            Self::Otlp(records) => records.len(),
        };
        u64::try_from(len).unwrap_or(u64::MAX)
    }

    fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Texts(texts) => texts.bytes(),
            Self::Otlp(records) => records.bytes(),
        };
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    fn held(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Texts(texts) => texts.held(),
                Self::Otlp(records) => records.held(),
            }
    }
}

impl Feed {
    pub(super) fn new(intake: &Rc<Intake>, output: Option<Stream>) -> Self {
        let stream = StreamId(intake.streams.get());
        intake.streams.set(stream.0 + 1);
        intake.open.set(intake.open.get() + 1);
        let (intake, given) = (intake.clone(), Cell::new(0));
        let ledger = Ledger::read_once(intake.lost.clone());
        Self { intake, stream, ledger, given, output }
    }

    pub(super) fn intake(&self) -> &Rc<Intake> {
        &self.intake
    }

    /// Hands texts on; where there is no room, it waits or drops, as configured.
    pub(super) async fn give(&self, texts: Texts, peer: Peer) -> Given {
        if texts.is_empty() {
            return Given::Taken;
        }
        let content = Content::Texts(texts);
        match self.intake.full() {
            FullPolicy::Block => {
                let charge = self.intake.budget.take(content.held()).await;
                self.hand_on(content, charge, peer, None);
                Given::Taken
            }
            FullPolicy::Drop(policy) => self.give_or_drop(content, policy, peer, None),
        }
    }

    /// Hands on what the sender can send again; where there is no room, it is told to, or all is
    /// dropped, as configured.
    pub(super) fn try_give(&self, content: Content, peer: Peer) -> Result<Given, NoRoom> {
        match self.intake.full() {
            FullPolicy::Block => {
                let Some(charge) = self.intake.budget.try_take(content.held()) else {
                    return Err(NoRoom);
                };
                self.hand_on(content, charge, peer, None);
                Ok(Given::Taken)
            }
            FullPolicy::Drop(policy) => Ok(self.give_or_drop(content, policy, peer, None)),
        }
    }

    /// Hands on what the app wrote: it never waits.
    pub(super) fn give_or_drop(
        &self,
        content: Content,
        policy: DropPolicy,
        peer: Peer,
        trace: Option<Trace>,
    ) -> Given {
        if content.len() == 0 {
            return Given::Taken;
        }
        let Some(charge) = self.intake.charge(content.held(), policy) else {
            self.intake.count_dropped(&content);
            return Given::Dropped;
        };
        self.hand_on(content, charge, peer, trace);
        Given::Taken
    }

    fn hand_on(&self, content: Content, charge: Charge, peer: Peer, trace: Option<Trace>) {
        let first = self.given.get();
        self.given.set(first + content.len());
        self.intake.note(|status| {
            status.records += content.len();
            status.bytes += content.bytes();
        });
        self.intake.push(Event::Chunk(Box::new(Chunk {
            stream: self.stream,
            first,
            receipt: self.ledger.hand_on(self.given.get()),
            content,
            charge,
            observed: unix_nanos(),
            peer,
            output: self.output,
            trace,
        })));
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.intake.open.set(self.intake.open.get() - 1);
        self.intake.push(Event::Ended(self.stream));
    }
}

fn unix_nanos() -> UnixNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
