//! Appending batches, and making room.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use pillion_runtime::say;

use super::{Ledger, Position, Segment, Segments, frame, full};
use crate::batch::Batch;
use crate::tally::Tally;

/// Why a batch was not appended. Nothing of it is on the disk.
#[derive(Debug)]
pub enum Refused {
    /// There is no room for it within the bound.
    Full,
    /// The system refused.
    Failed(io::Error),
}

/// A whole segment that was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Its number.
    pub segment: u64,
    /// What was in it.
    pub tally: Tally,
}

impl Segments {
    /// Appends a batch, and says where it ends. Its receipts are the caller's: the disk has it for
    /// certain when a job has come back that was made after this.
    ///
    /// # Errors
    /// There is no room, or the system refused; a part that was written is taken back.
    pub fn append(&mut self, batch: &Batch, droppable: bool) -> Result<Position, Refused> {
        let mut lead = std::mem::take(&mut self.scratch);
        let header = frame::write_lead(batch, droppable, &mut lead).ok_or(Refused::Full);
        let result = header.and_then(|header| self.write(&lead, &batch.bytes, header.frame()));
        self.scratch = lead;
        result?;
        if let Some(segment) = self.list.back_mut() {
            segment.unread += Tally::from(batch);
            segment.bound += u64::from(!droppable);
        }
        Ok(self.end())
    }

    fn write(&mut self, lead: &[u8], bytes: &[u8], frame: u64) -> Result<(), Refused> {
        if self.used().saturating_add(frame) > self.limit {
            // If the sink has everything, then the next job makes room.
            self.settle_all();
            return Err(Refused::Full);
        }
        let (file, start) = match self.place(frame) {
            Ok(place) => place,
            Err(error) => return Err(self.refused(error)),
        };
        let middle = start + lead.len() as u64;
        let written = file.write_all_at(lead, start);
        if let Err(error) = written.and_then(|()| file.write_all_at(bytes, middle)) {
            self.take_back(&file);
            return Err(self.refused(error));
        }
        if let Some(segment) = self.list.back_mut() {
            segment.len += frame;
        }
        if !self.dirty.last().is_some_and(|dirty| Arc::ptr_eq(dirty, &file)) {
            self.dirty.push(file);
        }
        Ok(())
    }

    /// The file to write a frame to, and where.
    fn place(&mut self, frame: u64) -> io::Result<(Arc<File>, u64)> {
        if let (Some(file), Some(last)) = (&self.writer, self.list.back()) {
            let has_room = last.len == 0 || last.len.saturating_add(frame) <= full(self.limit);
            // A file that somebody removed would be gone with this process.
            if has_room && file.metadata()?.nlink() > 0 {
                return Ok((file.clone(), last.len));
            }
        }
        self.writer = None;
        let path = self.folder.segment(self.next);
        let file = match create(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.restore()?;
                create(&path)?
            }
            created => created?,
        };
        let file = Arc::new(file);
        self.list.push_back(Segment { number: self.next, ..Segment::default() });
        self.next += 1;
        self.new_names = true;
        self.writer = Some(file.clone());
        Ok((file, 0))
    }

    /// Makes the folder again after somebody removed it.
    fn restore(&mut self) -> io::Result<()> {
        self.folder.restore()?;
        (self.ledger, _) = Ledger::open(&self.folder.ledger())?;
        self.tell();
        Ok(())
    }

    /// Cuts off what was written of a record.
    fn take_back(&mut self, file: &File) {
        let Some(last) = self.list.back() else { return };
        if last.len == 0 {
            let path = self.folder.segment(last.number);
            self.list.pop_back();
            self.writer = None;
            // Where this fails too, the next start finds a segment with a torn record.
            let _torn = fs::remove_file(path);
        } else if file.set_len(last.len).is_err() {
            // Nothing may follow a torn record; readers stop before it.
            self.writer = None;
        }
    }

    fn refused(&mut self, error: io::Error) -> Refused {
        self.fault("cannot write the disk buffer", &error);
        Refused::Failed(error)
    }

    /// Drops the oldest segment that only has batches that may be dropped, and of which nothing was
    /// read yet. The one that is written to stays.
    pub fn drop_oldest(&mut self) -> Option<Dropped> {
        let droppable = |segment: &Segment| {
            segment.number > self.at.segment && segment.bound == 0 && !segment.unread.is_zero()
        };
        let index = self.list.iter().position(droppable)?;
        if index + 1 == self.list.len() {
            return None;
        }
        let Segment { number, unread, .. } = self.list.get(index).copied()?;
        // The ledger is before it and stays there: the order of jobs does not matter here.
        if let Err(error) = fs::remove_file(self.folder.segment(number))
            && error.kind() != io::ErrorKind::NotFound
        {
            self.fault("cannot remove a segment of the disk buffer", &error);
            return None;
        }
        self.list.remove(index);
        let (folder, records) = (self.folder.path().display(), unread.records);
        say!(Warn, "dropped the oldest of the disk buffer", folder = folder, records = records);
        Some(Dropped { segment: number, tally: unread })
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}
