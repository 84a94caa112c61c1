//! What is kept and told of each file: its position, and how it stands.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::content::Content;
use super::identity::Seed;
use super::table::{File, Slot};
use super::{Tail, unix_ms};

/// How the files of a source stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The files that are furthest behind.
    pub files: Vec<FileStatus>,
    /// How many there are besides.
    pub others: usize,
    /// Bytes of these that have not been delivered.
    pub others_lag: u64,
    /// Files that are open.
    pub open: usize,
    /// Bytes that were gone before they were read, as far as is known.
    pub lost: u64,
}

/// How one file stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// Where it is, or was last.
    pub path: Arc<Path>,
    /// Bytes; of a compressed file, those that were decompressed.
    pub size: u64,
    /// How far it has been read.
    pub read: u64,
    /// How far it has been delivered.
    pub delivered: u64,
    /// Bytes that have not been delivered.
    pub lag: u64,
    /// Seconds since something was last read, or since it was first seen.
    pub silent_s: u64,
    /// What it does.
    pub state: FileState,
}

/// What a file does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    /// There is something to read.
    Waiting,
    /// It was read to its end, and is open.
    Idle,
    /// It was read to its end, and is closed until something is written.
    Closed,
    /// It was rotated away, and may still be written to.
    Rotated,
    /// It was deleted, truncated or moved out of sight; what was read of it is being delivered.
    Gone,
    /// It is a copy of what is read elsewhere.
    Copy,
    /// It cannot be read, for this reason.
    Unreadable(Box<str>),
}

impl FileState {
    /// One word for tables and labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Idle => "idle",
            Self::Closed => "closed",
            Self::Rotated => "rotated",
            Self::Gone => "gone",
            Self::Copy => "copy",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

/// Files that are shown one by one; the others as a sum.
const SHOWN: usize = 50;

impl Tail {
    /// Where is said how the files stand: true within a beat, whether anything is read or not.
    #[must_use]
    pub fn shown(&self) -> Rc<RefCell<Status>> {
        self.shown.clone()
    }

    /// Says how the files stand now.
    pub fn show(&self) {
        *self.shown.borrow_mut() = self.status(SHOWN);
    }

    /// How the files stand: the `most` that are furthest behind one by one, the others as a sum.
    #[must_use]
    pub fn status(&self, most: usize) -> Status {
        let mut files: Vec<FileStatus> = self.table.iter().map(|(_, file)| status(file)).collect();
        files.sort_by(|a, b| b.lag.cmp(&a.lag).then_with(|| a.path.cmp(&b.path)));
        let others = files.split_off(most.min(files.len()));
        Status {
            files,
            others: others.len(),
            others_lag: others.iter().map(|file| file.lag).sum(),
            open: self.open.len(),
            lost: self.lost,
        }
    }

    /// Says that the position of a file may have changed.
    pub(super) fn touch(&mut self, slot: Slot) {
        self.touched.insert(slot);
    }

    /// Notes how far the touched files have been delivered, and forgets those that are done with.
    pub(super) fn note_positions(&mut self) {
        if let Some(positions) = &self.positions {
            positions.looked(&self.source, self.looked);
        }
        for slot in std::mem::take(&mut self.touched) {
            let Some(file) = self.table.get(slot) else { continue };
            let is_original_there = file.copy_of.is_some_and(|of| self.table.get(of).is_some());
            if is_done(file) {
                self.retire(slot);
                continue;
            }
            let is_ending = file.moved && file.speaking;
            let waits = file.is_outstanding() || !file.reached || is_ending || is_original_there;
            if let Some(positions) = &self.positions {
                positions.put(&self.source, file.entry());
            }
            if waits {
                self.touched.insert(slot);
            }
        }
    }

    fn retire(&mut self, slot: Slot) {
        let Some(file) = self.table.get(slot) else { return };
        if file.away {
            self.unclaimed.add(file.entry());
            if let Some(positions) = &self.positions {
                positions.put(&self.source, file.entry());
            }
            self.table.remove(slot);
        } else {
            self.remove(slot);
        }
    }

    /// Forgets a file and its position.
    pub(super) fn remove(&mut self, slot: Slot) {
        self.close(slot);
        if let Some(file) = self.table.remove(slot)
            && let Some(positions) = &self.positions
        {
            positions.remove(&self.source, file.seed);
        }
    }

    /// Forgets positions of files that were not seen for long.
    pub(super) fn forget(&mut self) {
        let Some(positions) = &self.positions else { return };
        let present: std::collections::HashSet<Seed> =
            self.table.iter().map(|(_, file)| file.seed).collect();
        positions.forget(&self.source, unix_ms(), |seed| present.contains(&seed));
    }
}

/// Whether nothing can come of a file any more.
fn is_done(file: &File) -> bool {
    let is_silent = file.content.is_none() && !file.queued && !file.speaking;
    let is_packed = super::names::Packing::of(&file.path).is_some();
    is_silent && (!file.reached || is_packed) && !file.is_outstanding()
}

fn status(file: &File) -> FileStatus {
    let known = file.size.max(file.mark.end);
    let size = match &file.content {
        Some(Content::Plain(open)) => open.metadata().map_or(known, |metadata| metadata.len()),
        Some(Content::Packed(_)) => file.mark.end,
        None => known,
    };
    let (read, delivered) = (file.next, file.delivered());
    let lag = if file.copy_of.is_some() { 0 } else { size.saturating_sub(delivered) };
    let silent_s = file.grown.elapsed().as_secs();
    FileStatus { path: file.path.clone(), size, read, delivered, lag, silent_s, state: state(file) }
}

fn state(file: &File) -> FileState {
    match &file.fault {
        Some(fault) => FileState::Unreadable(fault.clone()),
        None if file.copy_of.is_some() => FileState::Copy,
        None if file.queued => FileState::Waiting,
        None if !file.reached => FileState::Gone,
        None if file.moved && file.speaking => FileState::Rotated,
        None if file.content.is_some() => FileState::Idle,
        None => FileState::Closed,
    }
}
