//! What waits for one sink on the disk: a log of small segments that are appended to, read from the
//! front, and removed when the sink has everything in them.
//!
//! `NNNNNNNN.seg` are the segments, `ledger` says up to where the sink has everything, `lock` keeps
//! a second process out. Whatever is found there, reading goes on: what cannot be read is skipped
//! up to the next good record, said and counted. Nothing here waits for the disk, except where the
//! kernel makes a write wait; [`SyncJob`] is what waits.

mod folder;
mod frame;
mod ledger;
mod read;
mod scan;
mod sync;
mod write;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;

use pillion_runtime::say;

pub(crate) use folder::{Folder, aside, is_locked, ledger, lock, segment, segments};
pub(crate) use frame::Header;
pub use ledger::{Entry, Position};
pub(crate) use ledger::{Ledger, peek};
pub use scan::Flaw;
pub(crate) use scan::{Bad, Found, find, header};
pub use sync::{SyncJob, Synced};
pub use write::{Dropped, Refused};

use crate::receipt;
use crate::tally::Tally;

/// The longest segment, but for one that holds a single longer batch.
const LONGEST: u64 = 8 << 20;
/// The shortest length at which a segment is full.
const SHORTEST: u64 = 64 << 10;
/// So many segments share the room, so that little of it is taken by what is done.
const SHARES: u64 = 8;

/// The segments of one sink. Dropped, they are as a killed process leaves them, and unlocked.
#[derive(Debug)]
pub struct Segments {
    folder: Folder,
    /// The most bytes that all segments may have.
    limit: u64,
    /// Oldest first. What is in them is not done, or not all of it.
    list: VecDeque<Segment>,
    /// The file of the last of them, where it can be appended to.
    writer: Option<Arc<File>>,
    /// The file that is read, and its number.
    reader: Option<(u64, Arc<File>)>,
    /// The number that the next segment gets.
    next: u64,
    /// Where is read next.
    at: Position,
    /// Receipts of what was read, numbered from 1; and where the end of each is that is not done.
    handed: receipt::Ledger,
    count: u64,
    ends: VecDeque<Position>,
    ledger: Ledger,
    /// What the ledger should say, and whether it was told and is on the disk.
    done: Position,
    told: Told,
    /// Segments that are done, and are removed once the ledger is on the disk.
    retired: Vec<Segment>,
    /// Segments that were written to since the last job.
    dirty: Vec<Arc<File>>,
    new_names: bool,
    counters: Counters,
    scratch: Vec<u8>,
}

/// One segment.
#[derive(Clone, Copy, Debug, Default)]
struct Segment {
    number: u64,
    /// Bytes, up to the end of the last whole record.
    len: u64,
    /// What was not read yet.
    unread: Tally,
    /// How many batches of that may not be dropped.
    bound: u64,
}

/// How far the ledger is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// The file does not have the position.
    Not,
    /// The file has it, the disk may not.
    File,
    /// The disk has it.
    Disk,
}

/// What went wrong since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Last records that were not written to their end, and were cut off at the start.
    pub torn: u64,
    /// Places that could not be read, and were skipped.
    pub bad: u64,
    /// Bytes of these.
    pub bad_bytes: u64,
    /// Segments that somebody else removed, or that the disk could not read.
    pub missing: u64,
    /// What was in such places and segments, as far as it was known.
    pub lost: Tally,
    /// Ledgers that were missing or damaged, so that all that is there is sent again; or ahead of
    /// the data.
    pub ledger_faults: u64,
    /// What the system refused: writes, reads, waits for the disk, removals.
    pub errors: u64,
}

impl Segments {
    /// Opens the segments in `path`, which is made if it is missing, for at most `limit` bytes.
    ///
    /// # Errors
    /// The folder cannot be made, locked or written, another process has it, or something in it was
    /// written by a newer version of this program.
    pub fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let folder = Folder::lock(path)?;
        let (ledger, entry) = Ledger::open(&folder.ledger())?;
        let numbers = segments(path)?;
        let done = match entry {
            Entry::At(position) => position,
            Entry::Missing | Entry::Bad => Position::default(),
        };
        let mut opened = Self {
            folder,
            limit,
            list: VecDeque::new(),
            writer: None,
            reader: None,
            next: numbers.last().map_or(0, |last| *last).max(done.segment) + 1,
            at: done,
            handed: receipt::Ledger::new(0),
            count: 0,
            ends: VecDeque::new(),
            ledger,
            done,
            told: Told::Not,
            retired: Vec::new(),
            dirty: Vec::new(),
            new_names: false,
            counters: Counters::default(),
            scratch: Vec::new(),
        };
        let last = numbers.last().copied();
        for number in numbers {
            opened.recover(number, Some(number) == last)?;
        }
        opened.check_ledger(entry);
        opened.settle();
        Ok(opened)
    }

    /// Takes a segment up that an earlier process left.
    fn recover(&mut self, number: u64, is_last: bool) -> io::Result<()> {
        let path = self.folder.segment(number);
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let len = file.metadata()?.len();
        let mut segment = Segment { number, len, ..Segment::default() };
        if number < self.done.segment {
            self.retired.push(segment);
            return Ok(());
        }
        let start = if number == self.done.segment { self.done.offset } else { 0 };
        if is_last && start <= len {
            segment.len = whole(&file, start, len)?;
        }
        if segment.len < len {
            file.set_len(segment.len)?;
            self.counters.torn += 1;
            let cut = len - segment.len;
            say!(Warn, "cut a torn record off the disk buffer", file = path.display(), bytes = cut);
        }
        (segment.unread, segment.bound) = count(&file, start, segment.len).map_err(|error| {
            let text = format!("cannot read {}: {error}", path.display());
            io::Error::new(error.kind(), text)
        })?;
        if is_last && start <= segment.len {
            self.writer = Some(Arc::new(file));
        }
        self.list.push_back(segment);
        Ok(())
    }

    /// Says and counts a ledger that does not fit the data.
    fn check_ledger(&mut self, entry: Entry) {
        let is_ahead = self
            .list
            .front()
            .is_some_and(|first| first.number == self.done.segment && first.len < self.done.offset);
        let problem = match entry {
            Entry::Missing if self.list.is_empty() => return,
            Entry::Missing => "it is missing: all that is there is sent again",
            Entry::Bad => "it is damaged: all that is there is sent again",
            Entry::At(_) if is_ahead => "the data that it is about did not all reach the disk",
            Entry::At(_) => return,
        };
        self.counters.ledger_faults += 1;
        let path = self.folder.ledger();
        say!(
            Warn,
            "the ledger of a disk buffer does not fit",
            file = path.display(),
            error = problem
        );
    }

    /// What is not read yet.
    #[must_use]
    pub fn unread(&self) -> Tally {
        let mut unread = Tally::default();
        self.list.iter().for_each(|segment| unread += segment.unread);
        unread
    }

    /// Bytes that the segments take.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.list.iter().chain(&self.retired).map(|segment| segment.len).sum()
    }

    /// Where is read next: where the batch ends that was read last.
    #[must_use]
    pub fn at(&self) -> Position {
        self.at
    }

    /// Whether there are segments that the next job removes.
    #[must_use]
    pub fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Whether a job would have something to do.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.dirty.is_empty() || self.has_retired() || self.told != Told::Disk
    }

    /// What went wrong since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What has to reach the disk for certain; `None` where it has everything.
    pub fn sync_job(&mut self) -> Option<SyncJob> {
        if !self.is_behind() {
            return None;
        }
        if self.told == Told::Not {
            self.tell();
        }
        let ledger = match self.told {
            Told::Not => Some(Err(io::Error::other("the ledger could not be written"))),
            Told::File => Some(self.ledger.handle()),
            Told::Disk => None,
        };
        // Until the job says otherwise; a position that is told meanwhile sets it back.
        if self.told == Told::File {
            self.told = Told::Disk;
        }
        let remove = self.retired.iter().map(|segment| segment.number);
        Some(SyncJob {
            data: std::mem::take(&mut self.dirty),
            upto: self.end(),
            folder: std::mem::take(&mut self.new_names).then(|| self.folder.path().to_owned()),
            ledger,
            remove: remove.map(|number| (number, self.folder.segment(number))).collect(),
        })
    }

    /// Takes note of what came of a job.
    pub fn synced(&mut self, synced: &Synced) {
        if let Err(error) = &synced.data {
            // What the kernel could not write it takes for written from now on: nothing more may
            // be trusted to this file.
            self.writer = None;
            self.fault("cannot bring the disk buffer to the disk", error);
        }
        if let Err(error) = &synced.ledger {
            self.told = Told::Not;
            self.fault("cannot bring the ledger of the disk buffer to the disk", error);
        }
        if synced.ledger.is_ok() && !synced.left.is_empty() {
            self.fault("cannot remove segments of the disk buffer", &synced.left.len());
        }
        self.retired.retain(|segment| !synced.removed.contains(&segment.number));
    }

    /// Where the next record will be written.
    fn end(&self) -> Position {
        let last = self.list.back();
        last.map_or(self.done, |last| Position { segment: last.number, offset: last.len })
    }

    /// Writes the position into the ledger.
    fn tell(&mut self) {
        self.told = Told::File;
        if let Err(error) = self.ledger.write(self.done) {
            self.told = Told::Not;
            self.fault("cannot write the ledger of the disk buffer", &error);
        }
    }

    fn fault(&mut self, what: &str, error: &dyn std::fmt::Display) {
        self.counters.errors += 1;
        say!(Error, "{what}", folder = self.folder.path().display(), error = error);
    }
}

/// Where the last whole record ends that follows `start`.
fn whole(file: &File, start: u64, len: u64) -> io::Result<u64> {
    let mut at = start;
    loop {
        match find(file, at, len)? {
            Found::Batch(header, _) => at += header.frame(),
            Found::Bad(bad) if bad.end == len => return Ok(bad.start),
            Found::Bad(bad) => at = bad.end,
            Found::End => return Ok(at),
        }
    }
}

/// What the headers after `start` say, and how many batches may not be dropped.
fn count(file: &File, start: u64, len: u64) -> io::Result<(Tally, u64)> {
    let (mut tally, mut bound, mut at) = (Tally::default(), 0, start);
    loop {
        match header(file, at, len)? {
            None => return Ok((tally, bound)),
            Some(Ok(header)) => {
                tally += header.tally();
                bound += u64::from(!header.droppable);
                at += header.frame();
            }
            Some(Err(Flaw::Version(version))) => {
                let text = format!(
                    "a record has version {version}, which this version of Pillion does not know: \
                     start a newer one, or move the file away"
                );
                return Err(io::Error::new(io::ErrorKind::Unsupported, text));
            }
            Some(Err(flaw)) => at = scan::skip(file, at, len, flaw)?.end,
        }
    }
}

/// The length at which a segment is full.
fn full(limit: u64) -> u64 {
    (limit / SHARES).clamp(SHORTEST, LONGEST)
}
