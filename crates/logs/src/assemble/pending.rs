//! A record that is not complete yet.

use std::time::Instant;

use super::{Assembled, Tokens};
use crate::record::{Marks, Stream, UnixNanos};

/// Memory beyond this is given back after the record.
const KEPT_BUFFER: usize = 8 * 1024;

/// A record of which more may come: its first lines or parts.
#[derive(Debug)]
pub(crate) struct Pending<T> {
    text: String,
    start: u64,
    time: Option<UnixNanos>,
    stream: Option<Stream>,
    marks: Marks,
    tokens: Tokens<T>,
    /// How many lines or parts it has.
    pub(crate) lines: usize,
    /// When it is taken for complete.
    pub(crate) deadline: Option<Instant>,
}

impl<T> Pending<T> {
    pub(crate) fn new() -> Self {
        Self {
            text: String::new(),
            start: 0,
            time: None,
            stream: None,
            marks: Marks::default(),
            tokens: Tokens::new(),
            lines: 0,
            deadline: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// Adds a line or part, as far as `limit` has room; says how many bytes it has no room for.
    pub(crate) fn add(&mut self, between: &str, more: Assembled<'_, T>, limit: usize) -> usize {
        if self.lines == 0 {
            (self.start, self.time, self.stream) = (more.start, more.time, more.stream);
        } else {
            self.text.push_str(between);
        }
        let room = more.text.floor_char_boundary(limit.saturating_sub(self.text.len()));
        let (kept, cut) = more.text.split_at(room);
        self.text.push_str(kept);
        self.marks.truncated |= more.marks.truncated;
        self.marks.unparsed |= more.marks.unparsed;
        self.marks.repaired |= more.marks.repaired;
        self.tokens.extend(more.tokens);
        self.lines += 1;
        cut.len()
    }

    /// What follows is left out.
    pub(crate) fn cut_here(&mut self) {
        self.marks.truncated = true;
    }

    /// Gives what there is, if anything, without empty lines at its end.
    pub(crate) fn give(&mut self, each: impl FnOnce(Assembled<'_, T>)) {
        self.deadline = None;
        if std::mem::take(&mut self.lines) == 0 {
            return;
        }
        each(Assembled {
            text: self.text.trim_end_matches('\n'),
            start: self.start,
            time: self.time,
            stream: self.stream,
            marks: std::mem::take(&mut self.marks),
            tokens: std::mem::take(&mut self.tokens),
        });
        if self.text.capacity() > KEPT_BUFFER {
            self.text = String::new();
        }
        self.text.clear();
    }
}
