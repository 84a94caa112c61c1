//! One configuration at work: its sources, its sinks, and the tasks between them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pillion_model::logs::{Input, Logs, Source};
use pillion_runtime::say;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, sleep_until, timeout_at};

use super::feeds::Feeds;
use super::files::{Files, Quit};
use super::lane::Lane;
use super::outlet::{Outlet, Outlets};
use super::show::show;
use crate::batcher::Spares;
use crate::budget::Budget;
use crate::enrich::Enrichment;
use crate::redact::Redactor;
use crate::role::{Context, Error};
use crate::source::{self, App, Framing, Source as OtherSource, own_outputs};
use crate::status::{FilesBoard, StatusBoard};
use crate::tail::{self, Positions, Tail};

/// How often is said how things stand.
const SHOWN_EVERY: Duration = Duration::from_millis(500);
/// Once: a sink that takes nothing for so long will not take the rest.
const STALLED: Duration = Duration::from_secs(30);

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
    once: bool,
    status: StatusBoard,
}

/// A source at work.
pub(super) struct Running {
    pub(super) lane: Rc<Lane>,
    pub(super) files: Option<Rc<RefCell<tail::Status>>>,
    pub(super) feed: Option<Rc<Cell<source::Status>>>,
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
        let parts: Vec<_> = parts.map(|(number, what)| format!("{number} {what}")).collect();
        write!(f, "records: {}", parts.join(", "))?;
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
            status: context.status.clone(),
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
                let board = FilesBoard::new();
                let status = board.status();
                let reading = Files::new(lane.clone(), tail, self.budget.clone(), board, self.once);
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
    ) -> Result<Rc<Cell<source::Status>>, Error> {
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
            Input::Files(_) => return Ok(Rc::default()),
        };
        let status = Rc::new(Cell::new(source.status()));
        let feeds = Feeds::new(lane.clone(), source, chance(), status.clone());
        self.feeds.borrow_mut().spawn_local(feeds.run(Quit(quitting.clone())));
        Ok(status)
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

    /// Waits until every source has ended by itself: once, when everything was read. Shows
    /// meanwhile how things stand.
    pub(crate) async fn ended(&self) {
        let mut beat = interval(SHOWN_EVERY);
        while !self.once || self.over.get() < self.lanes.len() {
            tokio::select! {
                _ = beat.tick() => show(self, &self.status),
                () = self.source_ended.notified() => {}
            }
        }
    }

    /// Ends it: nothing more is read; what was read is delivered, or, at the deadline, kept on the
    /// disk. `None` waits for as long as the sinks try.
    pub(crate) async fn end(mut self, deadline: Option<Instant>) -> Option<Left> {
        self.quit.send_replace(true);
        let mut tails = Vec::new();
        let sources = self.sources.get_mut();
        while let Some(tail) = sources.join_next().await {
            tails.extend(tail.ok());
        }
        let feeds = self.feeds.get_mut();
        let over = deadline.unwrap_or_else(|| Instant::now() + STALLED);
        drop(timeout_at(over.into(), async { while feeds.join_next().await.is_some() {} }).await);
        tokio::select! {
            () = self.drain() => {}
            () = self.given_up(deadline) => {}
        }
        // What was on its way goes back to the queues.
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        let deliveries = self.deliveries.get_mut();
        deliveries.abort_all();
        while deliveries.join_next().await.is_some() {}
        for outlet in self.outlets.iter() {
            outlet.queue.spill_all().await;
        }
        for tail in &mut tails {
            if let Err(error) = tail.save().await {
                say!(
                    Error,
                    "positions cannot be written: what was delivered comes again",
                    error = error
                );
            }
        }
        show(&self, &self.status);
        self.left()
    }

    /// Closes the queues and waits until the sinks have everything.
    async fn drain(&self) {
        for outlet in self.outlets.iter() {
            outlet.close().await;
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

    /// The deadline has come; without one: nothing arrives any more.
    async fn given_up(&self, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            return sleep_until(deadline.into()).await;
        }
        let arrived = || {
            let statuses = self.outlets.iter().map(|outlet| outlet.deliverer.status());
            statuses.map(|status| status.delivered_records + status.rejected_records).sum::<u64>()
        };
        loop {
            let before = arrived();
            sleep(STALLED).await;
            if arrived() == before {
                return;
            }
        }
    }

    fn left(&self) -> Option<Left> {
        let mut left = Left::default();
        for outlet in self.outlets.iter() {
            let queue = outlet.queue.status();
            let delivery = outlet.deliverer.status();
            left.waiting += queue.memory.records + queue.in_hand.records;
            left.on_disk += queue.disk.records;
            left.rejected += delivery.rejected_records;
            left.dropped += queue.dropped.records;
            left.trouble = left.trouble.or(delivery.last_error);
        }
        let records = left.waiting + left.on_disk + left.rejected + left.dropped;
        (records > 0).then_some(left)
    }
}
