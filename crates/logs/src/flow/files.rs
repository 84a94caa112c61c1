//! The files of one source: read in turns, as long as there is room for what is in them.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use pillion_model::logs::FullPolicy;
use pillion_runtime::role::Stop;
use pillion_runtime::say;
use tokio::task::yield_now;
use tokio::time::sleep_until;

use super::Moment;
use super::lane::{Context, Intake, Lane};
use super::outlet::Reading;
use crate::budget::Budget;
use crate::status::FilesBoard;
use crate::tail::{Event, StreamId, Tail};

/// Blocks that are read before others have their turn: the delivery, above all.
const BLOCKS: u32 = 8;

/// Reads the files of one source.
pub(crate) struct Files {
    lane: Rc<Lane>,
    tail: Tail,
    budget: Budget,
    streams: HashMap<StreamId, Intake>,
    board: FilesBoard,
    /// Whether the files are only read to the end that they have.
    once: bool,
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
    /// The files of a source. `board` is where it says how they stand.
    pub(crate) fn new(
        lane: Rc<Lane>,
        tail: Tail,
        budget: Budget,
        board: FilesBoard,
        once: bool,
    ) -> Self {
        Self { lane, tail, budget, streams: HashMap::new(), board, once }
    }

    /// Reads until the source is to end, or everything was read that was to be read once. What is
    /// unfinished then comes again with the next start, or, once, is complete.
    pub(crate) async fn run(mut self, mut stop: Stop) -> Tail {
        let mut blocks = 0;
        loop {
            if self.once && self.tail.at_end() {
                self.finish().await;
                break;
            }
            match self.turn(&mut stop).await {
                Turn::Read | Turn::Expired => {}
                Turn::Over => break,
            }
            self.lane.hand_on().await;
            self.make_room(&mut stop).await;
            blocks += 1;
            if blocks % BLOCKS == 0 {
                self.board.show(&self.tail);
                yield_now().await;
            }
        }
        self.board.show(&self.tail);
        self.tail
    }

    /// Waits for the next thing to do, and does it.
    async fn turn(&mut self, stop: &mut Stop) -> Turn {
        let due = self.streams.values().filter_map(Intake::deadline).min();
        let board = self.board.due();
        tokio::select! {
            biased;
            _ = stop.asked() => Turn::Over,
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
            () = sleep_until(board.into()) => {
                self.board.show(&self.tail);
                Turn::Expired
            }
        }
    }

    /// Waits while the budget is used up. The files are followed meanwhile, so that what is rotated
    /// away is not lost.
    async fn make_room(&mut self, stop: &mut Stop) {
        if self.budget.used() < self.budget.limit() {
            return;
        }
        let room = self.budget.room();
        tokio::select! {
            () = room => {}
            () = self.tail.keep_up() => {}
            _ = stop.asked() => {}
        }
    }

    /// Everything has been read: what stands there without a line end is complete too.
    async fn finish(&mut self) {
        self.tail.finish();
        while let Some(event) = self.tail.try_next() {
            handle(&self.lane, &mut self.streams, event);
            self.lane.hand_on().await;
        }
        for intake in self.streams.values_mut() {
            self.lane.flush(intake, Context::default(), reading());
        }
        if self.tail.try_next().is_some() {
            say!(Debug, "a file grew while it was read for the last time");
        }
        self.lane.hand_on().await;
    }
}

fn handle(lane: &Lane, streams: &mut HashMap<StreamId, Intake>, event: Event<'_>) {
    match event {
        Event::Block(block) => {
            let begin = || lane.intake(block.offset, block.seed, block.ledger);
            let intake = streams.entry(block.stream).or_insert_with(begin);
            lane.take(intake, block.bytes, Context::default(), reading());
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

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
