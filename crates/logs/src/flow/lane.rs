//! One source: how its bytes become records, and what happens to each.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use pillion_model::logs::Source;
use pillion_traffic::Random;
use smallvec::SmallVec;

use super::outlet::{Outlet, Outlets, Reading};
use crate::assemble::{Assembled, Assembler, Assembly};
use crate::encode::{Facts, Origin};
use crate::enrich;
use crate::lines::{Framer, LeftOut, Line};
use crate::parse::Parser;
use crate::receipt::{Ledger, Receipt};
use crate::record::{Record, Stream, Trace, Value};
use crate::redact::Redactor;
use crate::source::{Otlp, Text, Texts};
use crate::steps::{Circumstances, Outcome, StepCount, Steps};
use crate::tail::Seed;

/// One source, on its way to the sinks.
pub(crate) struct Lane {
    pub(crate) source: Arc<Source>,
    assembly: Rc<Assembly>,
    parser: Parser,
    steps: Steps,
    random: RefCell<Random>,
    redactor: Rc<RefCell<Redactor>>,
    /// The sinks that it goes to, and what is the same for them on every record.
    outlets: RefCell<Vec<(Rc<Outlet>, Origin)>>,
    pub(crate) counts: Counts,
}

/// What a source had, since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) bytes: Cell<u64>,
    pub(crate) records: Cell<u64>,
    /// Left out on purpose, by a step.
    pub(crate) dropped: Cell<u64>,
    pub(crate) truncated: Cell<u64>,
    pub(crate) unparsed: Cell<u64>,
    pub(crate) repaired: Cell<u64>,
    pub(crate) redacted: Cell<u64>,
    pub(crate) left_out: Cell<LeftOut>,
}

/// One stream of a source: a file between two rotations, a connection, an output of the app.
pub(crate) struct Intake {
    framer: Framer,
    assembler: Assembler<Receipt>,
    seed: Seed,
    ledger: Ledger,
}

/// One stream whose texts come whole.
pub(crate) struct Joint {
    assembler: Assembler<Receipt>,
    seed: Seed,
}

/// What is known of bytes beside themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Context<'a> {
    /// The output of the app that they were written to.
    pub(crate) stream: Option<Stream>,
    /// The request that the app was serving while it wrote them, if it was the only one.
    pub(crate) trace: Option<Trace>,
    /// Who sent them.
    pub(crate) peer: Option<&'a Peer>,
}

/// Who sent a record, as attributes that OpenTelemetry names.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    address: String,
    port: String,
}

const PEER_ADDRESS: &str = "network.peer.address";
const PEER_PORT: &str = "network.peer.port";

/// What the lines of a block have in common.
#[derive(Clone, Copy, Debug)]
struct Shared<'a> {
    seed: Seed,
    context: Context<'a>,
    reading: Reading,
}

impl Lane {
    /// A source and the sinks that want it.
    ///
    /// # Errors
    /// An expression is too large.
    pub(crate) fn new(
        source: &Arc<Source>,
        outlets: &Outlets,
        resource: &[(String, String)],
        redactor: &Rc<RefCell<Redactor>>,
        seed: u64,
    ) -> Result<Self, regex::Error> {
        let facts = Facts { source: &source.name, resource };
        let outlets = outlets.iter().filter(|outlet| outlet.is_for(&source.name));
        let outlets = outlets.map(|outlet| (outlet.clone(), outlet.origin(&facts))).collect();
        Ok(Self {
            assembly: Rc::new(Assembly::new(source)?),
            parser: Parser::new(source)?,
            steps: Steps::new(&source.steps)?,
            random: RefCell::new(Random::new(seed)),
            redactor: redactor.clone(),
            outlets: RefCell::new(outlets),
            source: source.clone(),
            counts: Counts::default(),
        })
    }

    /// The resource has other attributes now.
    pub(crate) fn describe(&self, resource: &[(String, String)]) {
        let facts = Facts { source: &self.source.name, resource };
        for (outlet, origin) in self.outlets.borrow_mut().iter_mut() {
            *origin = outlet.origin(&facts);
        }
    }

    /// A stream that begins at `offset`.
    pub(crate) fn intake(&self, offset: u64, seed: Seed, ledger: &Ledger) -> Intake {
        Intake {
            framer: Framer::new(self.source.encoding, self.source.line_bytes, offset),
            assembler: Assembler::new(self.assembly.clone()),
            seed,
            ledger: ledger.clone(),
        }
    }

    /// Takes the bytes that follow in a stream. Lines that end in them go their whole way; what is
    /// unfinished waits in the intake.
    pub(crate) fn take(
        &self,
        intake: &mut Intake,
        bytes: &[u8],
        context: Context<'_>,
        reading: Reading,
    ) {
        self.redactor.borrow_mut().refresh();
        add(&self.counts.bytes, bytes.len());
        // One piece for all the lines of this block: it ends where the last of them does.
        let piece = intake.ledger.hand_on(0);
        let shared = Shared { seed: intake.seed, context, reading };
        let mut lines = intake.framer.lines(bytes);
        while let Some(line) = lines.next() {
            piece.extend(line.end);
            self.line(&mut intake.assembler, line, piece.clone(), shared);
        }
        piece.done();
        self.note_left_out(intake.framer.take_left_out());
        self.note_left_out(intake.assembler.take_left_out());
    }

    /// The stream has ended: what is unfinished is complete.
    pub(crate) fn flush(&self, intake: &mut Intake, context: Context<'_>, reading: Reading) {
        let piece = intake.ledger.hand_on(0);
        let shared = Shared { seed: intake.seed, context, reading };
        if let Some(line) = intake.framer.flush() {
            piece.extend(line.end);
            self.line(&mut intake.assembler, line, piece.clone(), shared);
        }
        piece.done();
        let each = &mut |text: Assembled<'_, Receipt>| self.record(text, shared);
        intake.assembler.flush(reading.now, each);
        self.note_left_out(intake.framer.take_left_out());
        self.note_left_out(intake.assembler.take_left_out());
    }

    /// Gives what has waited long enough for its next line.
    pub(crate) fn expire(&self, intake: &mut Intake, context: Context<'_>, reading: Reading) {
        let shared = Shared { seed: intake.seed, context, reading };
        let each = &mut |text: Assembled<'_, Receipt>| self.record(text, shared);
        intake.assembler.expire(reading.now, each);
    }

    /// A stream whose texts come whole.
    pub(crate) fn joint(&self, seed: Seed) -> Joint {
        Joint { assembler: Assembler::new(self.assembly.clone()), seed }
    }

    /// Takes whole texts, the first of which has this number in its stream.
    pub(crate) fn texts(
        &self,
        joint: &mut Joint,
        (texts, first): (&Texts, u64),
        receipt: &Receipt,
        context: Context<'_>,
        reading: Reading,
    ) {
        self.redactor.borrow_mut().refresh();
        let shared = Shared { seed: joint.seed, context, reading };
        for (text, start) in texts.iter().zip(first..) {
            add(&self.counts.bytes, text.bytes.len());
            let Text { bytes, truncated } = text;
            let line = Line { bytes, start, end: start.saturating_add(1), truncated };
            self.line(&mut joint.assembler, line, receipt.clone(), shared);
        }
        self.note_left_out(texts.left_out());
        self.note_left_out(joint.assembler.take_left_out());
    }

    /// Takes records that came structured, the first of which has this number in its stream.
    pub(crate) fn structured(
        &self,
        seed: Seed,
        (records, first): (&Otlp, u64),
        receipt: &Receipt,
        context: Context<'_>,
        reading: Reading,
    ) {
        self.redactor.borrow_mut().refresh();
        let redactor = self.redactor.borrow();
        for (mut record, number) in records.records(reading.unix).zip(first..) {
            record.id = seed.record(number);
            let mut said = std::mem::take(&mut record.attributes);
            enrich::add(&self.source.attributes, &mut record);
            add_peer(context, &mut record);
            record.attributes.append(&mut said);
            redactor.record(&mut record);
            redactor.attributes(&mut record);
            self.offer(record, std::slice::from_ref(receipt), reading);
        }
    }

    /// A stream of whole texts has ended, or what waits in it has waited long enough.
    pub(crate) fn release(&self, joint: &mut Joint, is_over: bool, reading: Reading) {
        let shared = Shared { seed: joint.seed, context: Context::default(), reading };
        let each = &mut |text: Assembled<'_, Receipt>| self.record(text, shared);
        match is_over {
            true => joint.assembler.flush(reading.now, each),
            false => joint.assembler.expire(reading.now, each),
        }
    }

    fn line(
        &self,
        assembler: &mut Assembler<Receipt>,
        line: Line<'_>,
        receipt: Receipt,
        shared: Shared<'_>,
    ) {
        let each = &mut |text: Assembled<'_, Receipt>| self.record(text, shared);
        let reading = shared.reading;
        if let Some(of_cut_line) = assembler.push(line, receipt, reading.now, each) {
            of_cut_line.done();
        }
    }

    /// The way of one record: redacted as text, parsed, redacted by name, changed or dropped by the
    /// steps, and offered to each sink.
    fn record(&self, assembled: Assembled<'_, Receipt>, shared: Shared<'_>) {
        let Shared { seed, context, reading } = shared;
        let redactor = self.redactor.borrow();
        let (text, is_redacted) = redactor.text(Cow::Borrowed(assembled.text));
        let mut record = assembled.record(reading.unix);
        record.id = seed.record(assembled.start);
        record.stream = record.stream.or(context.stream);
        record.marks.redacted = is_redacted;
        enrich::add(&self.source.attributes, &mut record);
        add_peer(context, &mut record);
        self.parser.parse(&text, &mut record);
        record.trace = record.trace.or(context.trace);
        redactor.attributes(&mut record);
        self.offer(record, &assembled.tokens, reading);
        assembled.tokens.into_iter().for_each(Receipt::done);
    }

    /// Steps and sinks: the same for every record, however it came.
    fn offer<'a>(&'a self, mut record: Record<'a>, receipts: &[Receipt], reading: Reading) {
        self.count(&record);
        let circumstances = Circumstances {
            source: &self.source.name,
            now: reading.now,
            chance: self.random.borrow_mut().next(),
        };
        if self.steps.run(&mut record, circumstances) == Outcome::Kept {
            for (outlet, origin) in self.outlets.borrow().iter() {
                outlet.offer(&record, &self.source.name, origin, receipts, reading);
            }
        } else {
            add(&self.counts.dropped, 1);
        }
    }

    fn count(&self, record: &Record<'_>) {
        let Counts { records, truncated, unparsed, repaired, redacted, .. } = &self.counts;
        add(records, 1);
        let marks = record.marks;
        add(truncated, usize::from(marks.truncated));
        add(unparsed, usize::from(marks.unparsed));
        add(repaired, usize::from(marks.repaired));
        add(redacted, usize::from(marks.redacted));
    }

    fn note_left_out(&self, left_out: LeftOut) {
        let mut sum = self.counts.left_out.get();
        sum += left_out;
        self.counts.left_out.set(sum);
    }

    /// What each step of the source has done so far.
    pub(crate) fn steps(&self) -> Vec<StepCount> {
        self.steps.counts().collect()
    }

    /// Moves full batches to the queues; waits where there is no room and this source can wait.
    pub(crate) async fn hand_on(&self) {
        let outlets: SmallVec<[_; 4]> =
            self.outlets.borrow().iter().map(|(outlet, _)| outlet.clone()).collect();
        for outlet in outlets {
            outlet.hand_on().await;
        }
    }
}

impl Intake {
    /// Whether nothing waits in it: a new one that begins where it ended would go on alike.
    pub(crate) fn rests(&mut self) -> bool {
        self.framer.rests() && self.assembler.rests()
    }

    /// When something that waits has waited long enough.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.assembler.deadline()
    }
}

impl Joint {
    /// When something that waits has waited long enough.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.assembler.deadline()
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        // A socket of both families has addresses of IPv4 as those of IPv6.
        let (ip, port) = (address.ip().to_canonical(), address.port());
        Self { address: ip.to_string(), port: port.to_string() }
    }
}

fn add_peer<'a>(context: Context<'a>, record: &mut Record<'a>) {
    let Some(Peer { address, port }) = context.peer else { return };
    let address = Value::Text(Cow::Borrowed(address.as_str()));
    record.attributes.push((Cow::Borrowed(PEER_ADDRESS), address));
    record.attributes.push((Cow::Borrowed(PEER_PORT), Value::Json(Cow::Borrowed(port))));
}

fn add(counter: &Cell<u64>, by: usize) {
    counter.set(counter.get().wrapping_add(u64::try_from(by).unwrap_or(0)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv4_is_written_as_one_whatever_socket_it_came_to() {
        for (address, ip, port) in [
            ("192.0.2.7:514", "192.0.2.7", "514"),
            ("[::ffff:192.0.2.7]:514", "192.0.2.7", "514"),
            ("[2001:db8::1]:6514", "2001:db8::1", "6514"),
        ] {
            let peer = Peer::from(address.parse::<SocketAddr>().unwrap());
            assert_eq!((&*peer.address, &*peer.port), (ip, port), "{address}");
        }
    }
}
