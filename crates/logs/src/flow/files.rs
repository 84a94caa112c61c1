//! The files of one source: read in turns, as long as there is room for what is in them.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use pillion_model::logs::FullPolicy;
use pillion_runtime::say;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::lane::{Context, Intake, Lane};
use super::outlet::Reading;
use super::{Moment, until};
use crate::budget::Budget;
use crate::tail::{Event, StreamId, Tail};

/// Once: how often is looked whether everything has been read.
const ONCE_LOOKS: Duration = Duration::from_millis(10);
/// Blocks that are read before others have their turn: the delivery, above all.
const BLOCKS: u32 = 8;

/// Reads the files of one source.
pub(crate) struct Files {
    lane: Rc<Lane>,
    tail: Tail,
    budget: Budget,
    /// Of streams in the middle of a line or a record: thousands of idle files take nothing here.
    streams: HashMap<StreamId, Intake>,
    /// Whether the files are only read to the end that they have.
    once: bool,
}

/// Tells a source to end.
pub(super) struct Quit(pub(super) watch::Receiver<bool>);

impl Quit {
    pub(super) async fn asked(&mut self) {
        // Whoever could have asked is gone: that is an order too.
        drop(self.0.wait_for(|quit| *quit).await);
    }
}

/// What comes next.
enum Turn {
    /// A block was read, or a stream ended.
    Read,
    /// Something has waited long enough.
    Expired,
    /// The source ends.
    Over,
}

impl Files {
    /// The files of a source.
    pub(crate) fn new(lane: Rc<Lane>, tail: Tail, budget: Budget, once: bool) -> Self {
        Self { lane, tail, budget, streams: HashMap::new(), once }
    }

    /// Reads until the source is to end, or everything was read that was to be read once. What is
    /// unfinished then comes again with the next start, or, once, is complete.
    pub(crate) async fn run(mut self, mut quit: Quit) -> Tail {
        let mut blocks = 0;
        loop {
            if self.once && self.tail.at_end() {
                self.finish(&mut quit).await;
                break;
            }
            match self.turn(&mut quit).await {
                Turn::Read | Turn::Expired => {}
                Turn::Over => break,
            }
            self.hand_on(&mut quit).await;
            self.make_room(&mut quit).await;
            blocks += 1;
            if blocks % BLOCKS == 0 {
                yield_now().await;
            }
        }
        self.tail.show();
        self.tail
    }

    /// Waits for the next thing to do, and does it.
    async fn turn(&mut self, quit: &mut Quit) -> Turn {
        let due = self.streams.values().filter_map(Intake::deadline).min();
        tokio::select! {
            biased;
            () = quit.asked() => Turn::Over,
            event = self.tail.next() => {
                handle(&self.lane, &mut self.streams, event);
                Turn::Read
            }
            () = until(due) => {
                let reading = reading();
                for intake in self.streams.values_mut() {
                    self.lane.expire(intake, Context::default(), reading);
                }
                Turn::Expired
            }
            // Files that have nothing new have no event to tell it by.
            () = sleep(ONCE_LOOKS), if self.once => Turn::Expired,
        }
    }

    /// Moves full batches on. Where a queue has no room the files wait, and are followed meanwhile, so
    /// that what is rotated away is not lost.
    async fn hand_on(&mut self, quit: &mut Quit) {
        let lane = self.lane.clone();
        tokio::select! {
            biased;
            () = lane.hand_on() => {}
            () = self.tail.keep_up() => {}
            () = quit.asked() => {}
        }
    }

    /// Waits while the budget is used up.
    async fn make_room(&mut self, quit: &mut Quit) {
        if self.budget.used() < self.budget.limit() {
            return;
        }
        let room = self.budget.room();
        tokio::select! {
            () = room => {}
            () = self.tail.keep_up() => {}
            () = quit.asked() => {}
        }
    }

    /// Everything has been read: what stands there without a line end is complete too.
    async fn finish(&mut self, quit: &mut Quit) {
        self.tail.finish();
        while let Some(event) = self.tail.try_next() {
            handle(&self.lane, &mut self.streams, event);
            self.hand_on(quit).await;
        }
        for intake in self.streams.values_mut() {
            self.lane.flush(intake, Context::default(), reading());
        }
        if self.tail.try_next().is_some() {
            say!(Debug, "a file grew while it was read for the last time");
        }
        self.hand_on(quit).await;
    }
}

fn handle(lane: &Lane, streams: &mut HashMap<StreamId, Intake>, event: Event<'_>) {
    match event {
        Event::Block(block) => {
            let begin = || lane.intake(block.offset, block.seed, block.ledger);
            let mut intake = streams.remove(&block.stream).unwrap_or_else(begin);
            lane.take(&mut intake, block.bytes, Context::default(), reading());
            if !intake.rests() {
                streams.insert(block.stream, intake);
            }
        }
        Event::Ended(stream) => {
            if let Some(mut intake) = streams.remove(&stream) {
                lane.flush(&mut intake, Context::default(), reading());
            }
        }
    }
}

/// Now. Files can wait, whatever else has no room.
fn reading() -> Reading {
    let Moment { now, unix } = Moment::now();
    Reading { now, unix, full: FullPolicy::Block }
}
