//! One source: how its bytes become records, and what happens to each.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use pillion_model::logs::Source;
use pillion_runtime::board::ExchangeIds;

use super::outlet::{Outlet, Outlets, Reading};
use crate::assemble::{Assembled, Assembler, Assembly};
use crate::encode::{Facts, Origin};
use crate::lines::{Framer, Line};
use crate::parse::Parser;
use crate::receipt::{Ledger, Receipt};
use crate::record::{Record, Stream, Trace, TraceOrigin};
use crate::redact::Redactor;
use crate::steps::Steps;
use crate::tail::Seed;

/// One source, on its way to the sinks.
pub(crate) struct Lane {
    pub(crate) source: Arc<Source>,
    assembly: Rc<Assembly>,
    parser: Parser,
    steps: RefCell<Steps>,
    redactor: Rc<RefCell<Redactor>>,
    /// The sinks that it goes to, and what is the same for them on every record.
    outlets: Vec<(Rc<Outlet>, Origin)>,
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
}

/// One stream of a source: a file between two rotations, a connection, an output of the app.
pub(crate) struct Intake {
    framer: Framer,
    assembler: Assembler<Receipt>,
    seed: Seed,
    ledger: Ledger,
}

/// What is known of bytes beside themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Context {
    /// The output of the app that they were written to.
    pub(crate) stream: Option<Stream>,
    /// The only request that the app was serving while it wrote them.
    pub(crate) exchange: Option<ExchangeIds>,
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
        Ok(Self {
            assembly: Rc::new(Assembly::new(source)?),
            parser: Parser::new(source)?,
            steps: RefCell::new(Steps::new(&source.steps, seed)?),
            redactor: redactor.clone(),
            outlets: outlets.map(|outlet| (outlet.clone(), outlet.origin(&facts))).collect(),
            source: source.clone(),
            counts: Counts::default(),
        })
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
        context: Context,
        reading: Reading,
    ) {
        add(&self.counts.bytes, bytes.len());
        // One piece for all the lines of this block: it ends where the last of them does.
        let piece = intake.ledger.hand_on(0);
        let mut lines = intake.framer.lines(bytes);
        while let Some(line) = lines.next() {
            piece.extend(line.end);
            self.line(&mut intake.assembler, line, piece.clone(), intake.seed, context, reading);
        }
        piece.done();
    }

    /// The stream has ended: what is unfinished is complete.
    pub(crate) fn flush(&self, intake: &mut Intake, context: Context, reading: Reading) {
        let piece = intake.ledger.hand_on(0);
        let seed = intake.seed;
        if let Some(line) = intake.framer.flush() {
            piece.extend(line.end);
            self.line(&mut intake.assembler, line, piece.clone(), seed, context, reading);
        }
        piece.done();
        let each = &mut |text: Assembled<'_, Receipt>| self.record(text, seed, context, reading);
        intake.assembler.flush(reading.now, each);
    }

    /// Gives what has waited long enough for its next line.
    pub(crate) fn expire(&self, intake: &mut Intake, context: Context, reading: Reading) {
        let seed = intake.seed;
        let each = &mut |text: Assembled<'_, Receipt>| self.record(text, seed, context, reading);
        intake.assembler.expire(reading.now, each);
    }

    fn line(
        &self,
        assembler: &mut Assembler<Receipt>,
        line: Line<'_>,
        receipt: Receipt,
        seed: Seed,
        context: Context,
        reading: Reading,
    ) {
        let each = &mut |text: Assembled<'_, Receipt>| self.record(text, seed, context, reading);
        if let Some(of_cut_line) = assembler.push(line, receipt, reading.now, each) {
            of_cut_line.done();
        }
    }

    /// The way of one record: redacted as text, parsed, redacted by name, changed or dropped by the
    /// steps, and offered to each sink.
    fn record(
        &self,
        assembled: Assembled<'_, Receipt>,
        seed: Seed,
        context: Context,
        reading: Reading,
    ) {
        let redactor = self.redactor.borrow();
        let (text, is_redacted) = redactor.text(Cow::Borrowed(assembled.text));
        let mut record = assembled.record(reading.unix);
        record.id = seed.record(assembled.start);
        record.stream = record.stream.or(context.stream);
        record.marks.redacted = is_redacted;
        self.parser.parse(&text, &mut record);
        redactor.record(&mut record);
        if record.trace.is_none() {
            record.trace = context.exchange.map(only_request);
        }
        record.attributes.extend(self.source.attributes.iter().map(|(name, value)| {
            (Cow::Borrowed(name.as_str()), crate::record::Value::Text(Cow::Borrowed(value)))
        }));
        self.count(&record);
        if self.steps.borrow_mut().keep(&mut record, &self.source.name, reading.now) {
            for (outlet, origin) in &self.outlets {
                outlet.offer(&record, &self.source.name, origin, &assembled.tokens, reading);
            }
        } else {
            add(&self.counts.dropped, 1);
        }
        assembled.tokens.into_iter().for_each(Receipt::done);
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

    /// Moves full batches to the queues; waits where there is no room and this source can wait.
    pub(crate) async fn hand_on(&self) {
        for (outlet, _) in &self.outlets {
            outlet.hand_on().await;
        }
    }
}

impl Intake {
    /// Where the next byte is expected.
    pub(crate) fn offset(&self) -> u64 {
        self.framer.offset()
    }

    /// When something that waits has waited long enough.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.assembler.deadline()
    }
}

fn only_request(ids: ExchangeIds) -> Trace {
    Trace { trace: ids.trace, span: ids.span, origin: TraceOrigin::OnlyRequest }
}

fn add(counter: &Cell<u64>, by: usize) {
    counter.set(counter.get().wrapping_add(u64::try_from(by).unwrap_or(0)));
}
