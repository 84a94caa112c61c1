//! One configuration at work: its sources, its sinks, and the tasks between them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pillion_model::logs::{Input, Logs, Source};
use pillion_runtime::causes::Causes;
use pillion_runtime::role::Stop;
use pillion_runtime::say;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use super::feeds::{FeedBoard, Feeds};
use super::files::{Files, Quit};
use super::lane::Lane;
use super::outlet::{Outlet, Outlets};
use super::show::show;
use super::stall::Stall;
use crate::batcher::Spares;
use crate::budget::Budget;
use crate::enrich::Enrichment;
use crate::redact::Redactor;
use crate::role::{Context, Error, Once};
use crate::source::{App, Framing, Source as OtherSource, own_outputs};
use crate::status::StatusBoard;
use crate::tail::{self, Positions, Tail};

/// How often is said how things stand.
const SHOWN_EVERY: Duration = Duration::from_millis(500);
/// At the end: how long sources may take to hand on what they have read, when nobody waits for room.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// One configuration at work. Dropped, everything stops where it is.
pub(crate) struct Generation {
    settings: Arc<Logs>,
    pub(super) budget: Budget,
    pub(super) outlets: Outlets,
    pub(super) lanes: Vec<Running>,
    /// Tells the sources to end.
    quit: watch::Sender<bool>,
    /// Sources whose files are read.
    sources: RefCell<JoinSet<Tail>>,
    /// Sources that are no files.
    feeds: RefCell<JoinSet<()>>,
    /// The delivery to each sink.
    deliveries: RefCell<JoinSet<()>>,
    /// Everything else.
    tasks: JoinSet<()>,
    /// Sources that have ended by themselves.
    over: Rc<Cell<usize>>,
    source_ended: Rc<Notify>,
    once: Option<Once>,
    /// Once: how long nothing has moved.
    stall: Cell<Stall>,
    status: StatusBoard,
    /// What was lost before it began.
    lost_before: u64,
}

/// A source at work.
pub(super) struct Running {
    pub(super) lane: Rc<Lane>,
    pub(super) files: Option<Rc<RefCell<tail::Status>>>,
    pub(super) feed: Option<FeedBoard>,
}

/// How long an end takes at most; less where it is told to be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Until it is told to be over.
    UntilTold,
    /// So long.
    For(Duration),
    /// For as long as something moves, as [`Once`] has it.
    WhileSomethingMoves,
}

/// What was not delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Records that were read, and are neither delivered nor on disk.
    pub waiting: u64,
    /// Records on disk.
    pub on_disk: u64,
    /// Records that a sink refused.
    pub rejected: u64,
    /// Records that were dropped because there was no room.
    pub dropped: u64,
    /// Whether there is more in the files than was read.
    pub unread: bool,
    /// How long nothing had moved when it was given up; `None`: that is not why it ended.
    pub stalled: Option<Duration>,
    /// The last trouble of a sink.
    pub trouble: Option<String>,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.waiting, "not delivered"),
            (self.on_disk, "in the disk buffer"),
            (self.rejected, "refused by the sink"),
            (self.dropped, "dropped for want of room"),
        ];
        let parts = parts.iter().filter(|(number, _)| *number > 0);
        let mut parts: Vec<_> = parts.map(|(number, what)| format!("{number} {what}")).collect();
        if self.unread {
            parts.push("an unknown number not read".to_owned());
        }
        write!(f, "records: {}", parts.join(", "))?;
        if let Some(time) = self.stalled {
            write!(f, "; given up after {time:?} in which no sink took anything")?;
        }
        match &self.trouble {
            Some(trouble) => write!(f, "; the sink: {trouble}"),
            None => Ok(()),
        }
    }
}

/// A number that nobody can foresee.
fn chance() -> u64 {
    // Each state is keyed by the system's randomness.
    RandomState::new().hash_one(())
}

/// The sinks, each with its share of the memory.
fn outlets(settings: &Logs, budget: &Budget) -> Result<Outlets, Error> {
    let share = settings.memory / settings.sinks.len().max(1);
    let state = settings.state.as_deref();
    let longest = settings.sinks.iter().map(|sink| sink.batch.bytes).max().unwrap_or(0);
    let spares = Spares::new(longest, budget.clone());
    let open = |sink: &Arc<pillion_model::logs::Sink>| {
        let outlet = Outlet::open(sink, state, budget, (share, &spares), chance());
        let name = sink.name.to_string();
        outlet.map(Rc::new).map_err(|error| Error::Sink { name, error })
    };
    settings.sinks.iter().map(open).collect()
}

/// Writes down how far the files of each source were delivered.
async fn save_positions(tails: Vec<Tail>) {
    for mut tail in tails {
        if let Err(error) = tail.save().await {
            say!(
                Error,
                "positions cannot be written: what was delivered comes again",
                error = Causes(&error)
            );
        }
    }
}

impl Generation {
    /// Starts sources and sinks.
    ///
    /// # Errors
    /// Something in the settings cannot be used.
    pub(crate) fn start(
        settings: &Arc<Logs>,
        context: &Context,
        positions: Option<&Positions>,
    ) -> Result<Self, Error> {
        let budget = Budget::new(settings.memory);
        let outlets = outlets(settings, &budget)?;
        let redactor = Redactor::new(&settings.redact, &context.board.delivered)?;
        let (quit, quitting) = watch::channel(false);
        let mut generation = Self {
            settings: settings.clone(),
            budget,
            outlets,
            lanes: Vec::new(),
            quit,
            sources: RefCell::default(),
            feeds: RefCell::default(),
            deliveries: RefCell::default(),
            tasks: JoinSet::new(),
            over: Rc::default(),
            source_ended: Rc::default(),
            once: context.once,
            stall: Cell::new(Stall::new(Instant::now())),
            status: context.status.clone(),
            lost_before: context.status.current().lost,
        };
        let redactor = Rc::new(RefCell::new(redactor));
        let enrichment = Enrichment::new(&settings.resource, context.defaults.clone());
        for source in &settings.sources {
            let lane = generation.lane(source, &redactor, &enrichment)?;
            generation.begin(lane, context, positions.cloned(), &quitting)?;
        }
        generation.describe(enrichment);
        generation.tend();
        Ok(generation)
    }

    fn lane(
        &self,
        source: &Arc<Source>,
        redactor: &Rc<RefCell<Redactor>>,
        enrichment: &Enrichment,
    ) -> Result<Rc<Lane>, Error> {
        let resource = enrichment.attributes();
        Ok(Rc::new(Lane::new(source, &self.outlets, resource, redactor, chance())?))
    }

    /// Follows the files that say where records come from.
    fn describe(&mut self, mut enrichment: Enrichment) {
        let lanes: Vec<_> = self.lanes.iter().map(|running| running.lane.clone()).collect();
        self.tasks.spawn_local(async move {
            loop {
                enrichment.changed().await;
                lanes.iter().for_each(|lane| lane.describe(enrichment.attributes()));
            }
        });
    }

    /// Starts the reading of a source.
    fn begin(
        &mut self,
        lane: Rc<Lane>,
        context: &Context,
        positions: Option<Positions>,
        quitting: &watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let files = match &lane.source.input {
            Input::Files(files) => {
                let tail = Tail::new(files, lane.source.name.clone(), positions)?;
                let status = tail.shown();
                let (budget, once) = (self.budget.clone(), self.once.is_some());
                let reading = Files::new(lane.clone(), tail, budget, once);
                let (quit, over) = (quitting.clone(), self.over.clone());
                let ended = self.source_ended.clone();
                self.sources.borrow_mut().spawn_local(async move {
                    let tail = reading.run(Quit(quit)).await;
                    over.set(over.get() + 1);
                    ended.notify_one();
                    tail
                });
                Some(status)
            }
            Input::App(_) | Input::Listen(_) => None,
        };
        let feed = match &lane.source.input {
            Input::Files(_) => None,
            Input::App(_) | Input::Listen(_) => Some(self.feed(&lane, context, quitting)?),
        };
        self.lanes.push(Running { lane, files, feed });
        Ok(())
    }

    /// Starts a source that is no file.
    fn feed(
        &mut self,
        lane: &Rc<Lane>,
        context: &Context,
        quitting: &watch::Receiver<bool>,
    ) -> Result<FeedBoard, Error> {
        let settings = &lane.source;
        let framing = Framing { encoding: settings.encoding, line_bytes: settings.line_bytes };
        let source = match &settings.input {
            Input::App(output) => {
                let app = App {
                    outputs: &context.outputs,
                    exchanges: &context.board.exchanges,
                    redactor: Redactor::new(&self.settings.redact, &context.board.delivered)?,
                    terminal: own_outputs().map_err(Error::Outputs)?,
                };
                context.board.exchanges.follow();
                OtherSource::app(*output, framing, app, &self.budget)?
            }
            Input::Listen(listen) => OtherSource::listen(listen, framing, &self.budget)?,
            Input::Files(_) => return Ok(FeedBoard::default()),
        };
        let board = FeedBoard::of(&source);
        let feeds = Feeds::new(lane.clone(), source, chance());
        self.feeds.borrow_mut().spawn_local(feeds.run(Quit(quitting.clone())));
        Ok(board)
    }

    /// Starts what serves the sinks.
    fn tend(&mut self) {
        for outlet in self.outlets.iter() {
            let [aging, keeping, delivering] = [(); 3].map(|()| outlet.clone());
            self.tasks.spawn_local(async move { aging.watch_age().await });
            self.tasks.spawn_local(async move { keeping.queue.tend().await });
            self.deliveries.borrow_mut().spawn_local(async move {
                if let crate::deliver::End::Closed(reason) = delivering.deliver().await {
                    let name = &delivering.settings.name;
                    say!(
                        Error,
                        "a sink will never take anything again",
                        sink = name,
                        error = reason
                    );
                }
            });
        }
    }

    /// Waits until every source has ended by itself: once, when everything was read, or nothing
    /// moves any more. Shows meanwhile how things stand.
    pub(crate) async fn ended(&self) {
        let mut beat = interval(SHOWN_EVERY);
        while !(self.has_read_once() || self.has_stalled()) {
            tokio::select! {
                _ = beat.tick() => show(self, &self.status),
                () = self.source_ended.notified() => {}
            }
        }
    }

    /// Ends it: nothing more is read; what was read is delivered, or, when the time is up, kept on
    /// the disk.
    pub(crate) async fn end(mut self, patience: Patience, stop: &mut Stop) -> Option<Left> {
        let mut unread = self.once.is_some() && !self.has_read_once();
        self.quit.send_replace(true);
        let mut tails = Vec::new();
        let sources = self.sources.get_mut();
        while let Some(tail) = sources.join_next().await {
            tails.extend(tail.ok());
        }
        unread |= self.once.is_some() && tails.iter().any(Tail::is_blocked);
        let mut feeds = self.feeds.take();
        let drained = async {
            while feeds.join_next().await.is_some() {}
            self.drain().await;
        };
        let has_stalled = tokio::select! {
            () = drained => false,
            () = self.given_up(patience) => patience == Patience::WhileSomethingMoves,
            () = stop.over() => false,
        };
        self.stop_tasks(feeds).await;
        let stalled = self.once.filter(|_| has_stalled).and_then(|once| once.give_up);
        let mut left = Left { unread, stalled, ..Left::default() };
        for outlet in self.outlets.iter() {
            left.waiting += outlet.keep_rest().await.records;
        }
        self.say_lost();
        save_positions(tails).await;
        show(&self, &self.status);
        self.left(left)
    }

    /// Ends all that runs. What was on its way to a sink goes back to its queue.
    async fn stop_tasks(&mut self, mut feeds: JoinSet<()>) {
        self.outlets.iter().for_each(|outlet| outlet.stop_waiting());
        let rest = async { while feeds.join_next().await.is_some() {} };
        drop(timeout(LAST_WORDS, rest).await);
        self.tasks.shutdown().await;
        self.deliveries.get_mut().shutdown().await;
        feeds.shutdown().await;
    }

    /// Texts and records that nobody can read again, and that were not delivered to every sink or
    /// kept: so many since the role began.
    pub(super) fn lost(&self) -> u64 {
        let feeds = self.lanes.iter().filter_map(|running| running.feed.as_ref());
        self.lost_before + feeds.map(FeedBoard::lost).sum::<u64>()
    }

    /// What of each source is nowhere any more.
    fn say_lost(&self) {
        for running in &self.lanes {
            let lost = running.feed.as_ref().map_or(0, FeedBoard::lost);
            if lost > 0 {
                let source = &running.lane.source.name;
                say!(
                    Error,
                    "records are lost: not every sink took them in time, no disk buffer had room, \
                     and they cannot be read again",
                    source = source,
                    records = lost
                );
            }
        }
    }

    /// Closes the queues and waits until the sinks have everything.
    async fn drain(&self) {
        // At the same time: one that has no room must not keep the others from their rest.
        for outlet in self.outlets.iter() {
            let outlet = outlet.clone();
            self.deliveries.borrow_mut().spawn_local(async move { outlet.close().await });
        }
        let mut deliveries = self.deliveries.take();
        let mut beat = interval(SHOWN_EVERY);
        while !deliveries.is_empty() {
            tokio::select! {
                _ = deliveries.join_next() => {}
                _ = beat.tick() => show(self, &self.status),
            }
        }
    }

    /// Waits until patience has come to its end.
    async fn given_up(&self, patience: Patience) {
        match patience {
            Patience::UntilTold => std::future::pending().await,
            Patience::For(time) => sleep(time).await,
            Patience::WhileSomethingMoves => {
                while !self.has_stalled() {
                    sleep(SHOWN_EVERY).await;
                }
            }
        }
    }

    /// Whether it reads once, and has.
    fn has_read_once(&self) -> bool {
        self.once.is_some() && self.over.get() == self.lanes.len()
    }

    /// Whether it reads once, and nothing has moved for as long as that is waited for: a sink that
    /// took nothing will not take the rest.
    fn has_stalled(&self) -> bool {
        let Some(limit) = self.once.and_then(|once| once.give_up) else { return false };
        let read = self.lanes.iter().map(|running| running.lane.counts.bytes.get());
        let delivered = self.outlets.iter().map(|outlet| outlet.deliverer.status());
        let delivered = delivered.map(|status| status.delivered_records + status.rejected_records);
        let mut stall = self.stall.get();
        let lasted = stall.look(read.chain(delivered).sum(), Instant::now());
        self.stall.set(stall);
        lasted >= limit
    }

    /// All that was not delivered, of which this is known already.
    fn left(&self, mut left: Left) -> Option<Left> {
        for outlet in self.outlets.iter() {
            let queue = outlet.queue.status();
            let delivery = outlet.deliverer.status();
            left.on_disk += queue.disk.records;
            left.rejected += delivery.rejected_records;
            left.dropped += queue.dropped.records;
            left.trouble = left.trouble.or(delivery.last_error);
        }
        let feeds = self.lanes.iter().filter_map(|lane| lane.feed.as_ref());
        left.dropped += feeds.map(|feed| feed.status().dropped_records).sum::<u64>();
        let records = left.waiting + left.on_disk + left.rejected + left.dropped;
        (records > 0 || left.unread).then_some(left)
    }
}
