//! What the app writes and others send: taken as it comes.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use pillion_model::logs::{FullPolicy, Input};

use super::files::Quit;
use super::lane::{Context, Joint, Lane, Peer};
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
}

/// How the feed of a source stands, as the source itself counts: where there is no room it drops for
/// as long as that lasts, and the feed hears nothing of it. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct FeedBoard {
    status: Rc<Cell<source::Status>>,
    lost: Rc<Cell<u64>>,
}

impl FeedBoard {
    /// How this source stands.
    pub(crate) fn of(source: &Source) -> Self {
        Self { status: source.live_status(), lost: source.lost() }
    }

    /// How it stands now.
    pub(crate) fn status(&self) -> source::Status {
        self.status.get()
    }

    /// How many of its texts or records are nowhere any more; it counts on at the end.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.get()
    }
}

impl Feeds {
    /// The feed of a source.
    pub(crate) fn new(lane: Rc<Lane>, source: Source, salt: u64) -> Self {
        Self { lane, source, streams: HashMap::new(), salt }
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
            self.lane.hand_on().await;
        }
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
        let peer = chunk.peer.map(Peer::from);
        let context = Context { stream: chunk.output, trace: chunk.trace, peer: peer.as_ref() };
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

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use pillion_model::logs::{DropPolicy, Encoding, Listen, ListenProtocol};
    use pillion_model::settings::Address;
    use pillion_testkit::PATIENCE;
    use tokio::task::{LocalSet, yield_now};
    use tokio::time::timeout;

    use super::*;
    use crate::budget::Budget;
    use crate::source::Framing;

    #[tokio::test]
    async fn what_is_dropped_is_shown_though_nothing_comes_any_more() {
        let listen = Listen {
            protocol: ListenProtocol::Udp,
            address: Address::Tcp("127.0.0.1:0".parse().unwrap()),
            connections: 1,
            full: FullPolicy::Drop(DropPolicy::Newest),
        };
        let framing = Framing { encoding: Encoding::Utf8, line_bytes: 100 };
        let budget = Budget::new(1);
        let _all = budget.try_take(1).unwrap();
        let test = async {
            let source = Source::listen(&listen, framing, &budget).unwrap();
            let board = FeedBoard::of(&source);
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.send_to(b"no room", source.address().unwrap().to_string()).unwrap();
            while board.status().dropped_records == 0 {
                yield_now().await;
            }
            assert!(source.try_next().is_none());
        };
        timeout(PATIENCE, LocalSet::new().run_until(test)).await.unwrap();
    }
}
