//! The disk buffer of a queue: its segments while they can be used, and the receipts of what they
//! do not have for certain.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use pillion_model::logs::{Buffer, Sync};
use pillion_runtime::say;
use tokio::time::Instant;

use crate::batch::Batch;
use crate::receipt::Receipt;
use crate::record::UnixNanos;
use crate::segments::{Position, Refused, Segments, SyncJob, Synced};
use crate::tally::Tally;

use super::{AGAIN, Status};

/// How long until a disk buffer is tried again that could not be opened.
const REOPEN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    buffer: Buffer,
    segments: Option<Segments>,
    /// Why it is not open.
    trouble: Option<String>,
    /// Whether the next batch could not be read, for a reason that may pass.
    is_stuck: bool,
    /// Receipts of batches that the disk may not have; in order.
    kept: VecDeque<Kept>,
    /// When a job is due, and up to where the one goes that is under way.
    due: Option<Instant>,
    under_way: Option<Position>,
}

#[derive(Debug)]
struct Kept {
    end: Position,
    receipts: Vec<Receipt>,
    /// The disk refused it, and no later success says that it has it after all: only delivery
    /// gives these receipts back.
    is_doubtful: bool,
}

impl Disk {
    pub(super) fn open(folder: PathBuf, buffer: Buffer) -> Self {
        let mut disk = Self {
            folder,
            buffer,
            segments: None,
            trouble: None,
            is_stuck: false,
            kept: VecDeque::new(),
            due: None,
            under_way: None,
        };
        disk.try_open();
        disk
    }

    fn try_open(&mut self) {
        match Segments::open(&self.folder, self.buffer.disk) {
            Ok(segments) => {
                (self.segments, self.trouble) = (Some(segments), None);
                self.due = Some(Instant::now());
            }
            Err(error) => {
                let folder = self.folder.display();
                say!(Error, "cannot open a disk buffer", folder = folder, error = error);
                self.trouble = Some(format!("cannot open the disk buffer {folder}: {error}"));
                self.due = Some(Instant::now() + REOPEN);
            }
        }
    }

    /// Writes a batch. Its receipts are taken: they are done when it is kept for certain.
    pub(super) fn append(
        &mut self,
        batch: &Batch,
        receipts: &mut Vec<Receipt>,
        droppable: bool,
    ) -> Result<(), Refused> {
        let Some(segments) = &mut self.segments else { return Err(Refused::Full) };
        let appended = segments.append(batch, droppable);
        if appended.is_err() && segments.has_retired() {
            // The next job makes room.
            self.due = Some(Instant::now());
        }
        let end = appended?;
        let receipts = std::mem::take(receipts);
        match self.buffer.sync {
            Sync::Always => {
                self.kept.push_back(Kept { end, receipts, is_doubtful: false });
                self.due = Some(Instant::now());
            }
            Sync::Every(period) => {
                receipts.into_iter().for_each(Receipt::done);
                self.due.get_or_insert_with(|| Instant::now() + period);
            }
        }
        Ok(())
    }

    /// Writes a batch that was taken already, and takes it for read: nothing before it may wait to
    /// be. What it has of receipts from now on is that of the disk, and those that it still needs.
    pub(super) fn append_taken(
        &mut self,
        batch: &Batch,
        receipts: &mut Vec<Receipt>,
        droppable: bool,
    ) -> Result<(), Refused> {
        self.append(batch, receipts, droppable)?;
        // Where it cannot be read it comes once more.
        *receipts = self.read().map(|batch| batch.receipts).unwrap_or_default();
        Ok(())
    }

    /// The next batch, with its receipt and those that it still has from its source.
    pub(super) fn read(&mut self) -> Option<Batch> {
        let segments = self.segments.as_mut()?;
        let read = segments.read();
        self.is_stuck = read.is_err();
        let mut batch = match read {
            Ok(batch) => batch?,
            Err(error) => {
                let folder = self.folder.display();
                say!(Error, "cannot read a disk buffer now", folder = folder, error = error);
                return None;
            }
        };
        // What is before it could not be read: its receipts are lost with it, so that the source
        // reads it again.
        while let Some(kept) = self.kept.pop_front_if(|kept| kept.end <= segments.at()) {
            if kept.end == segments.at() {
                batch.receipts.extend(kept.receipts);
            }
        }
        Some(batch)
    }

    /// Takes note that a batch from here may be done.
    pub(super) fn settle(&mut self) {
        let Some(segments) = &mut self.segments else { return };
        segments.settle();
        if segments.has_retired() {
            self.due = Some(Instant::now());
        } else if let Sync::Every(period) = self.buffer.sync {
            self.due.get_or_insert_with(|| Instant::now() + period);
        }
    }

    /// Drops the oldest segment that may be dropped.
    pub(super) fn drop_oldest(&mut self) -> Option<Tally> {
        let dropped = self.segments.as_mut()?.drop_oldest()?;
        give_back(&mut self.kept, |kept| kept.end.segment == dropped.segment);
        Some(dropped.tally)
    }

    /// When a job is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether the disk does not have everything, or has what is done.
    #[cfg(test)]
    pub(super) fn is_behind(&self) -> bool {
        self.under_way.is_some() || self.segments.as_ref().is_some_and(Segments::is_behind)
    }

    /// Whether the next batch is there and cannot be read now.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.as_ref().is_none_or(|segments| segments.unread().is_zero())
    }

    /// What has to be brought to the disk.
    pub(super) fn job(&mut self) -> Option<SyncJob> {
        self.due = None;
        // Nobody waited for the job before this one: what came of it is not known.
        if let Some(upto) = self.under_way.take() {
            self.doubt(upto);
        }
        let Some(segments) = &mut self.segments else {
            self.try_open();
            return None;
        };
        let job = segments.sync_job()?;
        self.under_way = Some(job.upto());
        Some(job)
    }

    /// Takes note of what came of the job that is under way, `None`: nobody knows. Says whether
    /// there is more room now.
    pub(super) fn synced(&mut self, synced: Option<Synced>) -> bool {
        let Some(upto) = self.under_way.take() else { return false };
        let Some(segments) = &mut self.segments else { return false };
        let used = segments.used();
        if let Some(synced) = &synced {
            segments.synced(synced);
        }
        if segments.is_behind() {
            self.due.get_or_insert_with(|| Instant::now() + AGAIN);
        }
        let has_more_room = segments.used() < used;
        if synced.is_some_and(|synced| synced.data.is_ok()) {
            give_back(&mut self.kept, |kept| kept.end <= upto && !kept.is_doubtful);
        } else {
            self.doubt(upto);
        }
        has_more_room
    }

    fn doubt(&mut self, upto: Position) {
        let doubtful = self.kept.iter_mut().filter(|kept| kept.end <= upto);
        doubtful.for_each(|kept| kept.is_doubtful = true);
    }

    pub(super) fn oldest(&mut self) -> Option<UnixNanos> {
        self.segments.as_mut()?.oldest()
    }

    pub(super) fn status(&self, status: &mut Status) {
        status.trouble.clone_from(&self.trouble);
        if let Some(segments) = &self.segments {
            status.disk = segments.unread();
            status.disk_bytes = segments.used();
            status.counters = segments.counters();
        }
    }
}

/// Gives the receipts back of those for which this holds.
fn give_back(kept: &mut VecDeque<Kept>, holds: impl Fn(&Kept) -> bool) {
    for one in std::mem::take(kept) {
        if holds(&one) {
            one.receipts.into_iter().for_each(Receipt::done);
        } else {
            kept.push_back(one);
        }
    }
}
