//! From blocks of bytes to lines: where each begins and ends in its stream, and how much of it is
//! kept.

use std::ops::AddAssign;

use memchr::{memchr, memchr_iter};
use pillion_model::logs::Encoding;

/// A buffer for unfinished lines that has become larger than this is given back after its line, so
/// that many streams with one long line each do not add up.
const KEPT_BUFFER: usize = 8 * 1024;

/// One line, without its end (`\n`, or `\r\n`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// What is kept of it, in the encoding of its stream.
    pub bytes: &'a [u8],
    /// Where its first byte stands in the stream.
    pub start: u64,
    /// Where the next line begins.
    pub end: u64,
    /// It was longer than the limit, and cut.
    pub truncated: bool,
}

/// Bytes that were left out of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Bytes of lines that were longer than the limit.
    pub cut: u64,
    /// NUL bytes: most of all, the hole that truncation leaves in front of a line in a file whose
    /// writer goes on at its old position.
    pub hole: u64,
}

/// Finds the lines of one stream. It never holds more than the longest line that is kept.
#[derive(Debug)]
pub struct Framer {
    units: Units,
    /// The longest line that is kept, in bytes, a multiple of the unit.
    limit: usize,
    /// Where the next byte stands in the stream.
    offset: u64,
    /// Where the unfinished line begins, NUL bytes in front of it not counted.
    start: u64,
    /// The last byte that was taken; only of meaning within a line.
    last: u8,
    /// What is kept of the unfinished line; up to one unit more than the limit, for a `\r`.
    rest: Vec<u8>,
    /// What is held was given as a line, and can go.
    given: bool,
    left_out: LeftOut,
}

/// How wide a character is at least, and what its end of line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Units {
    Utf8,
    Latin1,
    Utf16([u8; 2]),
}

/// The lines of one block, one at a time.
#[derive(Debug)]
pub struct Lines<'f, 'b> {
    framer: &'f mut Framer,
    block: &'b [u8],
}

impl AddAssign for LeftOut {
    fn add_assign(&mut self, other: Self) {
        self.cut = self.cut.saturating_add(other.cut);
        self.hole = self.hole.saturating_add(other.hole);
    }
}

impl Framer {
    /// A framer whose stream begins at `offset`, which is the start of a line. Of lines longer than
    /// `line_bytes` the rest is skipped.
    #[must_use]
    pub fn new(encoding: Encoding, line_bytes: usize, offset: u64) -> Self {
        let units = match encoding {
            Encoding::Utf8 => Units::Utf8,
            Encoding::Latin1 => Units::Latin1,
            Encoding::Utf16Le => Units::Utf16([b'\n', 0]),
            Encoding::Utf16Be => Units::Utf16([0, b'\n']),
        };
        let limit = (line_bytes / units.width() * units.width()).max(units.width());
        let left_out = LeftOut::default();
        let rest = Vec::new();
        Self { units, limit, offset, start: offset, last: 0, rest, given: false, left_out }
    }

    /// Takes the bytes that follow, and gives the lines that end in them. What is dropped before
    /// its end has taken the bytes up to [`Framer::offset`].
    pub fn lines<'f, 'b>(&'f mut self, block: &'b [u8]) -> Lines<'f, 'b> {
        Lines { framer: self, block }
    }

    /// Where the next byte is expected.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What was left out since this was last asked.
    #[must_use]
    pub fn take_left_out(&mut self) -> LeftOut {
        std::mem::take(&mut self.left_out)
    }

    /// Bytes of the unfinished line that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.rest.len()
    }

    /// Whether it is between two lines: one that begins at [`Framer::offset`] would go on alike.
    pub fn rests(&mut self) -> bool {
        self.forget_given();
        !self.is_within()
    }

    /// The stream ends here: what is unfinished is its last line.
    pub fn flush(&mut self) -> Option<Line<'_>> {
        self.forget_given();
        if !self.is_within() {
            return None;
        }
        self.given = true;
        Some(self.held_line(self.length()))
    }

    fn is_within(&self) -> bool {
        self.offset > self.start
    }

    fn length(&self) -> u64 {
        self.offset - self.start
    }

    fn forget_given(&mut self) {
        if std::mem::take(&mut self.given) {
            self.forget_held();
        }
    }

    fn forget_held(&mut self) {
        self.start = self.offset;
        if self.rest.capacity() > KEPT_BUFFER {
            self.rest = Vec::new();
        }
        self.rest.clear();
    }

    /// Skips NUL bytes in front of a line; says how many bytes of the block those are.
    fn skip_hole(&mut self, block: &[u8]) -> usize {
        if block.first() != Some(&0) {
            return 0;
        }
        // Half a NUL unit may stand at the end of the block before.
        let half = usize::from(self.units.width() == 2 && self.rest == [0]);
        if self.is_within() && half == 0 {
            return 0;
        }
        let nuls = half + block.iter().position(|byte| *byte != 0).unwrap_or(block.len());
        let hole = nuls / self.units.width() * self.units.width();
        let Some(taken @ 1..) = hole.checked_sub(half) else { return 0 };
        self.advance(taken);
        self.forget_held();
        self.left_out.hole = self.left_out.hole.saturating_add(widen(hole));
        taken
    }

    fn advance(&mut self, bytes: usize) {
        self.offset = self.offset.saturating_add(widen(bytes));
    }

    /// Keeps a part of an unfinished line, as far as there is room.
    fn keep(&mut self, part: &[u8]) {
        let Some(last) = part.last() else { return };
        self.last = *last;
        let most = self.limit + self.units.width();
        let room = most.saturating_sub(self.rest.len()).min(part.len());
        let needed = self.rest.len() + room;
        if needed > self.rest.capacity() {
            let capacity = needed.max(self.rest.capacity() * 2).min(most);
            self.rest.reserve_exact(capacity - self.rest.len());
        }
        self.rest.extend_from_slice(part.get(..room).unwrap_or_default());
        self.advance(part.len());
    }

    /// The line that is held, `length` bytes of the stream without its end.
    fn held_line(&mut self, length: u64) -> Line<'_> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.rest.truncate(length);
        let (bytes, cut) = self.units.kept(&self.rest, length, self.limit);
        self.left_out.cut = self.left_out.cut.saturating_add(widen(cut));
        Line { bytes, start: self.start, end: self.offset, truncated: cut > 0 }
    }

    /// A line that stands whole in the block; `taken` counts its end too.
    fn whole_line<'b>(&mut self, bytes: &'b [u8], taken: usize) -> Line<'b> {
        let start = self.offset;
        self.advance(taken);
        self.start = self.offset;
        let (bytes, cut) = self.units.kept(bytes, bytes.len(), self.limit);
        self.left_out.cut = self.left_out.cut.saturating_add(widen(cut));
        Line { bytes, start, end: self.offset, truncated: cut > 0 }
    }
}

impl Lines<'_, '_> {
    /// The next line.
    #[expect(clippy::should_implement_trait, reason = "what it gives may be held by the framer")]
    pub fn next(&mut self) -> Option<Line<'_>> {
        self.framer.forget_given();
        let hole = self.framer.skip_hole(self.block);
        self.block = self.block.get(hole..).unwrap_or_default();
        let within = self.framer.is_within();
        let Some(taken) = self.framer.units.line_end(self.block, self.before()) else {
            self.framer.keep(std::mem::take(&mut self.block));
            return None;
        };
        let (line, block) = self.block.split_at_checked(taken)?;
        self.block = block;
        let width = self.framer.units.width();
        if !within {
            let bytes = line.get(..taken - width).unwrap_or_default();
            return Some(self.framer.whole_line(bytes, taken));
        }
        self.framer.keep(line);
        self.framer.given = true;
        let length = self.framer.length() - widen(width);
        Some(self.framer.held_line(length))
    }

    /// The first half of a unit that the block before ended with.
    fn before(&self) -> Option<u8> {
        (self.framer.length() % 2 == 1).then_some(self.framer.last)
    }
}

impl Units {
    fn width(self) -> usize {
        match self {
            Self::Utf8 | Self::Latin1 => 1,
            Self::Utf16(_) => 2,
        }
    }

    /// How many bytes of the block belong to the line that it begins with or goes on with, the end
    /// included; `before` is half a unit that stands in front of the block.
    fn line_end(self, block: &[u8], before: Option<u8>) -> Option<usize> {
        let Self::Utf16(end) = self else { return memchr(b'\n', block).map(|at| at + 1) };
        let odd = usize::from(before.is_some());
        if let (Some(before), Some(first)) = (before, block.first())
            && [before, *first] == end
        {
            return Some(1);
        }
        // The unit that holds this `\n` begins at it or before it, whichever is on the grid.
        memchr_iter(b'\n', block).find_map(|at| {
            let unit = if at % 2 == odd { at } else { at.checked_sub(1)? };
            (block.get(unit..unit + 2)? == end).then_some(unit + 2)
        })
    }

    /// What is kept of a line of which `held` is the beginning, and how many bytes are cut.
    fn kept(self, held: &[u8], length: usize, limit: usize) -> (&[u8], usize) {
        let held = if held.len() == length { self.without_return(held) } else { held };
        if held.len() <= limit {
            return (held, 0);
        }
        let kept = held.get(..self.boundary(held, limit)).unwrap_or(held);
        (kept, length - kept.len())
    }

    fn without_return(self, line: &[u8]) -> &[u8] {
        let end: &[u8] = match self {
            Self::Utf8 | Self::Latin1 => b"\r",
            Self::Utf16([0, _]) => b"\0\r",
            Self::Utf16(_) => b"\r\0",
        };
        line.strip_suffix(end).unwrap_or(line)
    }

    /// The last place at or before `limit` where a character begins.
    fn boundary(self, line: &[u8], limit: usize) -> usize {
        let continues = |at: usize| match self {
            Self::Utf8 => line.get(at).is_some_and(|byte| byte & 0xc0 == 0x80),
            Self::Latin1 => false,
            Self::Utf16([first, _]) => {
                let high = if first == 0 { line.get(at) } else { line.get(at + 1) };
                high.is_some_and(|byte| byte & 0xfc == 0xdc)
            }
        };
        let backwards = (0..4).step_by(self.width());
        let back =
            backwards.take_while(|back| *back <= limit).find(|back| !continues(limit - back));
        limit - back.unwrap_or(0)
    }
}

fn widen(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
