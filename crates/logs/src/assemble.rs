//! From lines to texts that are records: the parts that container runtimes split lines into are
//! put together, and lines that belong together are joined.
//!
//! Everything is done for one stream at a time, and within it for each output of the app, because
//! lines of the two interleave. An ordinary line is passed on as it stands in its block.

mod pending;

use std::rc::Rc;
use std::time::{Duration, Instant};

use pillion_model::logs::{Encoding, Format, Source};
use smallvec::SmallVec;

pub(crate) use self::pending::Pending;
use crate::decode::decode;
use crate::lines::{LeftOut, Line};
use crate::multiline::{Joiner, Joining};
use crate::parse::{Piece, Unparsed, cri, docker};
use crate::record::{Marks, Record, Stream, UnixNanos};

/// How long a part of a line waits for the next, before it is taken for the whole: the app that
/// wrote it may be gone.
const PART_TIMEOUT: Duration = Duration::from_secs(5);
/// The most parts of one line. Runtimes cut at 16 KiB, so that this is 64 MiB of honest text.
const MAX_PARTS: usize = 4096;

/// The text of one record.
#[derive(Debug, PartialEq)]
pub struct Assembled<'a, T> {
    /// The text, in the block that was read or in the memory of the assembler.
    pub text: &'a str,
    /// Where its first line begins in the stream.
    pub start: u64,
    /// When the container runtime read its first line.
    pub time: Option<UnixNanos>,
    /// Which output of the app it was written to, where the runtime says so.
    pub stream: Option<Stream>,
    /// What was done to it so far.
    pub marks: Marks,
    /// What came with each of its lines, in their order.
    pub tokens: Tokens<T>,
}

/// What came with the lines of a record.
pub type Tokens<T> = SmallVec<[T; 2]>;

/// How the lines of one source become records; the same for all its streams.
#[derive(Debug)]
pub struct Assembly {
    encoding: Encoding,
    line_bytes: usize,
    runtime: Option<Runtime>,
    joining: Option<Joining>,
}

/// Who wrapped the lines of the app.
#[derive(Clone, Copy, Debug)]
enum Runtime {
    Cri,
    Docker,
}

/// Puts together the records of one stream. `T` is what the caller wants back once all lines of a
/// record are passed on: a receipt.
#[derive(Debug)]
pub struct Assembler<T> {
    assembly: Rc<Assembly>,
    /// What is not known to be standard error, and standard error.
    outputs: [Output<T>; 2],
    left_out: LeftOut,
}

#[derive(Debug)]
struct Output<T> {
    parts: Pending<T>,
    /// The line was cut: until then, what follows of it is left out.
    skipping: Option<Instant>,
    /// Bytes that were left out of cut lines.
    cut: u64,
    joiner: Joiner<T>,
}

impl Assembly {
    /// Prepares what a source declares.
    ///
    /// # Errors
    /// An expression is none, or is too large.
    pub fn new(source: &Source) -> Result<Self, regex::Error> {
        let runtime = match source.parse.first() {
            Some(Format::Cri) => Some(Runtime::Cri),
            Some(Format::Docker) => Some(Runtime::Docker),
            _ => None,
        };
        let joining = source.multiline.as_ref().map(Joining::new).transpose()?;
        Ok(Self { encoding: source.encoding, line_bytes: source.line_bytes, runtime, joining })
    }
}

impl Runtime {
    fn parse(self, line: &str) -> Result<Piece<'_>, Unparsed> {
        match self {
            Self::Cri => cri::parse(line),
            Self::Docker => docker::parse(line),
        }
    }
}

impl<T> Assembled<'_, T> {
    /// A record of this text, without its id and body.
    #[must_use]
    pub fn record<'r>(&self, observed: UnixNanos) -> Record<'r> {
        let (time, stream, marks) = (self.time, self.stream, self.marks);
        Record { observed, time, stream, marks, ..Record::default() }
    }
}

impl<T> Assembler<T> {
    /// An assembler for one stream of a source.
    #[must_use]
    pub fn new(assembly: Rc<Assembly>) -> Self {
        Self { assembly, outputs: [Output::new(), Output::new()], left_out: LeftOut::default() }
    }

    /// Takes the next line, and gives the records that are complete by it to `each`. What is given
    /// back is the token of a line of which nothing is kept: it belongs to a line that was cut.
    #[must_use = "nobody else will say that this line is done"]
    pub fn push(
        &mut self,
        line: Line<'_>,
        token: T,
        now: Instant,
        each: &mut impl FnMut(Assembled<'_, T>),
    ) -> Option<T> {
        let assembly = &*self.assembly;
        let decoded = decode(line.bytes, assembly.encoding);
        self.left_out.hole += widen(decoded.nuls);
        let marks =
            Marks { truncated: line.truncated, repaired: decoded.repaired, ..Marks::default() };
        let tokens = Tokens::from_iter([token]);
        let (start, time, stream) = (line.start, None, None);
        let mut whole = Assembled { text: &decoded.text, start, time, stream, marks, tokens };
        let [output, errors] = &mut self.outputs;
        let piece = assembly.runtime.map(|runtime| runtime.parse(&decoded.text));
        let Some(Ok(piece)) = piece else {
            whole.marks.unparsed = piece.is_some();
            output.joiner.join(assembly.joining.as_ref(), whole, now, each);
            return None;
        };
        let part = Assembled { text: &piece.text, time: piece.time, stream: piece.stream, ..whole };
        let output = if piece.stream == Some(Stream::Stderr) { errors } else { output };
        output.put(assembly, part, piece.partial, now, each)
    }

    /// When something that waits has waited long enough.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.outputs.iter().flat_map(Output::deadlines).min()
    }

    /// Gives what has waited long enough. Only for a stream that was read to its end: as long as
    /// there is something to read, what belongs together may just not have been read yet.
    pub fn expire(&mut self, now: Instant, each: &mut impl FnMut(Assembled<'_, T>)) {
        let joining = self.assembly.joining.as_ref();
        for output in &mut self.outputs {
            output.expire(joining, now, each);
        }
    }

    /// The stream has ended: gives everything that waits.
    pub fn flush(&mut self, now: Instant, each: &mut impl FnMut(Assembled<'_, T>)) {
        let joining = self.assembly.joining.as_ref();
        for output in &mut self.outputs {
            output.flush(joining, now, each);
        }
    }

    /// Whether nothing waits in it: a new one would go on alike.
    #[must_use]
    pub fn rests(&self) -> bool {
        self.deadline().is_none() && self.held() == 0
    }

    /// Bytes that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.outputs.iter().map(|output| output.parts.len() + output.joiner.held()).sum()
    }

    /// What was left out since this was last asked: of lines that were put together of parts, and
    /// NUL characters within lines.
    #[must_use]
    pub fn take_left_out(&mut self) -> LeftOut {
        for output in &mut self.outputs {
            self.left_out.cut += std::mem::take(&mut output.cut);
        }
        std::mem::take(&mut self.left_out)
    }
}

impl<T> Output<T> {
    fn new() -> Self {
        Self { parts: Pending::new(), skipping: None, cut: 0, joiner: Joiner::new() }
    }

    /// Takes a line of the app, or a part of one.
    fn put(
        &mut self,
        assembly: &Assembly,
        part: Assembled<'_, T>,
        partial: bool,
        now: Instant,
        each: &mut impl FnMut(Assembled<'_, T>),
    ) -> Option<T> {
        let wait = partial.then(|| now + PART_TIMEOUT);
        if self.skipping.is_some() {
            self.skipping = wait;
            self.cut += widen(part.text.len());
            return part.tokens.into_iter().next();
        }
        let joining = assembly.joining.as_ref();
        if !partial && self.parts.lines == 0 {
            self.joiner.join(joining, part, now, each);
            return None;
        }
        let cut = self.parts.add("", part, assembly.line_bytes);
        self.cut += widen(cut);
        self.parts.deadline = wait;
        if cut > 0 || self.parts.lines >= MAX_PARTS {
            self.parts.cut_here();
            self.skipping = wait;
        } else if partial {
            return None;
        }
        self.parts.give(|line| self.joiner.join(joining, line, now, each));
        None
    }

    fn deadlines(&self) -> impl Iterator<Item = Instant> {
        [self.parts.deadline, self.skipping, self.joiner.deadline()].into_iter().flatten()
    }

    fn expire(
        &mut self,
        joining: Option<&Joining>,
        now: Instant,
        each: &mut impl FnMut(Assembled<'_, T>),
    ) {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if passed(self.skipping) {
            self.skipping = None;
        }
        if passed(self.parts.deadline) {
            self.parts.give(|line| self.joiner.join(joining, line, now, each));
        }
        if passed(self.joiner.deadline()) {
            self.joiner.flush(each);
        }
    }

    fn flush(
        &mut self,
        joining: Option<&Joining>,
        now: Instant,
        each: &mut impl FnMut(Assembled<'_, T>),
    ) {
        self.parts.give(|line| self.joiner.join(joining, line, now, each));
        self.joiner.flush(each);
    }
}

fn widen(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
