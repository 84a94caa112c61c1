//! Making secrets unreadable in bytes that come piece by piece: the copy for the terminal.

use std::ops::Range;

use super::Redactor;
use super::cuts::REDACTED;
use super::forms::SHORTEST;

/// What is left of a stream: bytes at its end that may be the beginning of a secret, fewer than the
/// longest has.
#[derive(Debug, Default)]
pub struct Unfinished {
    held: Vec<u8>,
    /// So many of the first of them have been shown or replaced already.
    shown: usize,
}

impl Unfinished {
    /// Appends to `out` what may be shown once `bytes` have come.
    pub fn push(&mut self, redactor: &Redactor, bytes: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        let found = self.find(redactor);
        let end = self.first_open(redactor);
        self.show(end, &found, out);
    }

    /// Nothing more has come for a moment: what is held back and too short to be a secret may be
    /// shown, so that a prompt does not lack its last letter. If it is one's beginning after all, the
    /// rest of it will not be shown.
    pub fn release(&mut self, out: &mut Vec<u8>) {
        if self.held.len() < SHORTEST {
            out.extend_from_slice(self.held.get(self.shown..).unwrap_or_default());
            self.shown = self.held.len();
        }
    }

    /// Whether [`Unfinished::release`] would show something.
    #[must_use]
    pub fn may_release(&self) -> bool {
        self.held.len() < SHORTEST && self.shown < self.held.len()
    }

    /// Nothing more will come: all that is held back is shown. A whole secret among it, which could
    /// have been the beginning of a longer one, is not.
    pub fn finish(&mut self, redactor: &Redactor, out: &mut Vec<u8>) {
        let found = self.find(redactor);
        let all = self.held.len();
        self.show(all, &found, out);
    }

    /// Where secrets stand in what is held, from the first on.
    fn find(&self, redactor: &Redactor) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        redactor.needles.find(&self.held, &mut found);
        found.sort_unstable_by_key(|range| (range.start, range.end));
        found
    }

    /// Where what may be the beginning of a secret begins.
    fn first_open(&self, redactor: &Redactor) -> usize {
        let from = (self.held.len() + 1).saturating_sub(redactor.needles.longest());
        let mut starts = from..self.held.len();
        let may_begin = |start: &usize| {
            self.held.get(*start..).is_some_and(|end| redactor.needles.may_begin(end))
        };
        starts.find(may_begin).unwrap_or(self.held.len())
    }

    /// Shows everything before `end`. A secret that was found and reaches beyond is replaced too; what
    /// it has of the rest stays, for another may begin in it.
    fn show(&mut self, end: usize, found: &[Range<usize>], out: &mut Vec<u8>) {
        let (mut at, mut redacted) = (self.shown, 0);
        for range in found.iter().filter(|range| range.start < end) {
            if range.start >= redacted {
                out.extend_from_slice(self.held.get(at..range.start).unwrap_or_default());
                out.extend_from_slice(REDACTED.as_bytes());
            }
            redacted = redacted.max(range.end);
            at = at.max(range.end);
        }
        out.extend_from_slice(self.held.get(at..end).unwrap_or_default());
        self.shown = at.saturating_sub(end);
        self.held.drain(..end);
    }
}
