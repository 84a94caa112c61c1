//! What the app writes and others send: taken as it comes.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use pillion_model::logs::{FullPolicy, Input};

use super::files::Quit;
use super::lane::{Context, Joint, Lane};
use super::outlet::Reading;
use super::{Moment, until};
use crate::source::{self, Chunk, Content, Event, Source, StreamId};
use crate::tail::Seed;

/// Takes what comes from one source that is no file.
pub(crate) struct Feeds {
    lane: Rc<Lane>,
    source: Source,
    streams: HashMap<StreamId, Joint>,
    /// Sets the ids of this process apart from those of another.
    salt: u64,
    status: Rc<Cell<source::Status>>,
}

impl Feeds {
    /// The feed of a source; `status` is where it says how it stands.
    pub(crate) fn new(
        lane: Rc<Lane>,
        source: Source,
        salt: u64,
        status: Rc<Cell<source::Status>>,
    ) -> Self {
        Self { lane, source, streams: HashMap::new(), salt, status }
    }

    /// Takes what comes until the source is to end; then what has come already.
    pub(crate) async fn run(mut self, mut quit: Quit) {
        let mut is_ending = false;
        loop {
            let due = self.streams.values().filter_map(Joint::deadline).min();
            tokio::select! {
                event = self.source.next() => match event {
                    Some(event) => self.take(event),
                    None => break,
                },
                () = quit.asked(), if !is_ending => {
                    is_ending = true;
                    self.source.stop();
                }
                () = until(due) => {
                    let reading = self.reading();
                    for joint in self.streams.values_mut() {
                        self.lane.release(joint, false, reading);
                    }
                }
            }
            self.status.set(self.source.status());
            self.lane.hand_on().await;
        }
        self.status.set(self.source.status());
        let reading = self.reading();
        for joint in self.streams.values_mut() {
            self.lane.release(joint, true, reading);
        }
        self.lane.hand_on().await;
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Chunk(chunk) => self.chunk(*chunk),
            Event::Ended(stream) => {
                if let Some(mut joint) = self.streams.remove(&stream) {
                    self.lane.release(&mut joint, true, self.reading());
                }
            }
        }
    }

    fn chunk(&mut self, chunk: Chunk) {
        let reading = Reading { unix: chunk.observed, ..self.reading() };
        let context =
            Context { stream: chunk.output, trace: chunk.trace, peer: chunk.peer.as_deref() };
        let seed = Seed::of_stream(self.salt, chunk.stream.0);
        match &chunk.content {
            Content::Texts(texts) => {
                let begin = || self.lane.joint(seed);
                let joint = self.streams.entry(chunk.stream).or_insert_with(begin);
                self.lane.texts(joint, (texts, chunk.first), &chunk.receipt, context, reading);
            }
            Content::Otlp(records) => {
                let records = (records, chunk.first);
                self.lane.structured(seed, records, &chunk.receipt, context, reading);
            }
        }
        chunk.receipt.done();
    }

    /// Now, and what is done where a sink has no room.
    fn reading(&self) -> Reading {
        let full = match &self.lane.source.input {
            Input::App(app) => FullPolicy::Drop(app.full),
            Input::Listen(listen) => listen.full,
            Input::Files(_) => FullPolicy::Block,
        };
        let Moment { now, unix } = Moment::now();
        Reading { now, unix, full }
    }
}
