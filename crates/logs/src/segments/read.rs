//! Reading from the front, and knowing when a segment is done.

use std::fs::File;
use std::io;
use std::sync::Arc;

use pillion_runtime::say;

use super::{Bad, Found, Header, Position, Segment, Segments, Told, find, full, header};
use crate::batch::Batch;
use crate::record::UnixNanos;

impl Segments {
    /// Takes the next batch, with a receipt that moves the ledger once it is done (see
    /// [`Segments::settle`]); `None` where everything was read. What cannot be read is skipped, said
    /// and counted.
    ///
    /// # Errors
    /// A segment cannot be opened now, for reasons that may pass, such as too many open files.
    pub fn read(&mut self) -> io::Result<Option<Batch>> {
        while let Some((index, segment)) = self.current() {
            if self.at.offset >= segment.len {
                self.finish(index);
                if index + 1 == self.list.len() {
                    return Ok(None);
                }
                self.at = start(segment.number + 1);
                continue;
            }
            let file = match self.file(segment.number) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.lose(index, &"somebody removed it");
                    continue;
                }
                Err(error) => return Err(error),
            };
            match find(&file, self.at.offset, segment.len) {
                Ok(Found::Batch(header, batch)) => return Ok(Some(self.hand_on(&header, batch))),
                Ok(Found::Bad(bad)) => self.skip(bad),
                Ok(Found::End) => self.at.offset = segment.len,
                Err(error) => self.set_aside(index, &error),
            }
        }
        Ok(None)
    }

    /// When the first record of the batch was read that is next; `None` where there is none.
    pub fn oldest(&mut self) -> Option<UnixNanos> {
        let (index, segment) = self.current()?;
        let (segment, offset) = if self.at.offset < segment.len {
            (segment, self.at.offset)
        } else {
            (self.list.get(index + 1).copied()?, 0)
        };
        let file = match &self.reader {
            Some((number, file)) if *number == segment.number => file.clone(),
            _ => Arc::new(File::open(self.folder.segment(segment.number)).ok()?),
        };
        Some(header(&file, offset, segment.len).ok()??.ok()?.oldest)
    }

    /// Brings the ledger up to what is done, and lets go of the segments before it.
    pub fn settle(&mut self) {
        self.settle_but(full(self.limit) / 2);
    }

    /// As [`Segments::settle`], and ends the segment that is written to if all of it is done.
    pub(super) fn settle_all(&mut self) {
        self.settle_but(0);
    }

    /// `spare`: a last segment that is shorter stays, for what comes.
    fn settle_but(&mut self, spare: u64) {
        let before = self.done;
        let settled = self.handed.position();
        while self.count - (self.ends.len() as u64) < settled
            && let Some(end) = self.ends.pop_front()
        {
            self.done = end;
        }
        while let Some(front) = self.list.front().copied() {
            let is_past = front.number < self.done.segment;
            let is_done = front.number == self.done.segment && self.done.offset >= front.len;
            let stays = self.list.len() == 1 && self.writer.is_some() && front.len < spare;
            if !is_past && (!is_done || stays) {
                break;
            }
            self.retire(front);
        }
        if self.done != before || self.told == Told::Not {
            self.tell();
        }
    }

    fn retire(&mut self, front: Segment) {
        self.list.pop_front();
        if self.list.is_empty() {
            self.writer = None;
        }
        self.close_reader(front.number);
        self.done = self.done.max(start(front.number + 1));
        self.at = self.at.max(self.done);
        self.retired.push(front);
    }

    /// The segment where is read, and where it is in the list.
    fn current(&mut self) -> Option<(usize, Segment)> {
        let at = self.at.segment;
        let index = self.list.iter().position(|segment| segment.number >= at)?;
        let segment = self.list.get(index).copied()?;
        self.at = self.at.max(start(segment.number));
        Some((index, segment))
    }

    fn file(&mut self, number: u64) -> io::Result<Arc<File>> {
        if let Some((open, file)) = &self.reader
            && *open == number
        {
            return Ok(file.clone());
        }
        let written = self.list.back().is_some_and(|last| last.number == number);
        let file = match &self.writer {
            Some(writer) if written => writer.clone(),
            _ => Arc::new(File::open(self.folder.segment(number))?),
        };
        self.reader = Some((number, file.clone()));
        Ok(file)
    }

    fn hand_on(&mut self, header: &Header, mut batch: Batch) -> Batch {
        self.at.offset += header.frame();
        let at = self.at.segment;
        if let Some(segment) = self.list.iter_mut().find(|segment| segment.number == at) {
            segment.unread -= header.tally();
            segment.bound = segment.bound.saturating_sub(u64::from(!header.droppable));
        }
        self.count += 1;
        self.ends.push_back(self.at);
        batch.receipts.push(self.handed.hand_on(self.count));
        batch
    }

    fn skip(&mut self, bad: Bad) {
        self.counters.bad += 1;
        self.counters.bad_bytes += bad.end - bad.start;
        let file = self.folder.segment(self.at.segment);
        say!(
            Error,
            "skipped what cannot be read in the disk buffer",
            file = file.display(),
            offset = bad.start,
            bytes = bad.end - bad.start,
            error = bad.flaw,
        );
        self.at.offset = bad.end;
        self.count += 1;
        self.ends.push_back(self.at);
        self.handed.hand_on(self.count).done();
        self.settle();
    }

    /// Everything in a segment was read: what was written to it and did not come out is lost.
    fn finish(&mut self, index: usize) {
        let Some(segment) = self.list.get_mut(index) else { return };
        self.counters.lost += std::mem::take(&mut segment.unread);
        segment.bound = 0;
    }

    fn set_aside(&mut self, index: usize, error: &io::Error) {
        self.counters.errors += 1;
        if let Some(segment) = self.list.get(index)
            && let Err(error) = self.folder.set_aside(segment.number)
        {
            self.fault("cannot set a segment of the disk buffer aside", &error);
        }
        self.lose(index, error);
    }

    /// Goes on without a segment.
    fn lose(&mut self, index: usize, why: &dyn std::fmt::Display) {
        self.finish(index);
        if index + 1 == self.list.len() {
            self.writer = None;
        }
        let Some(segment) = self.list.remove(index) else { return };
        self.close_reader(segment.number);
        self.at = self.at.max(start(segment.number + 1));
        self.counters.missing += 1;
        let file = self.folder.segment(segment.number);
        say!(Error, "lost a segment of the disk buffer", file = file.display(), error = why);
    }

    fn close_reader(&mut self, number: u64) {
        self.reader.take_if(|(open, _)| *open == number);
    }
}

fn start(segment: u64) -> Position {
    Position { segment, offset: 0 }
}
