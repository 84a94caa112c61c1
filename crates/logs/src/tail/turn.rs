//! Reading: each file in turn, a block at a time.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::Path;

use nix::errno::Errno;
use pillion_runtime::say;
use tokio::time::Instant;

use super::content::Content;
use super::identity::{FileId, Mark};
use super::names::Packing;
use super::table::Slot;
use super::unreadable::{reason, say_unreadable};
use super::{BLOCK, LONGEST, QUIET, StreamId, Tail};
use crate::receipt::Ledger;

/// What a turn has for the caller.
pub(super) enum Step {
    /// A part of the buffer.
    Block { slot: Slot, offset: u64, bytes: Range<usize>, first: bool },
    /// A stream has ended.
    Ended(StreamId),
}

impl Tail {
    /// Whether another file is read first; then this one has its turn later.
    pub(super) fn waits(&mut self, slot: Slot) -> bool {
        let waits = self.table.has_earlier(slot);
        if waits {
            self.wake(slot);
        }
        waits
    }

    fn is_next(&mut self, slot: Slot) -> bool {
        self.table.get(slot).is_some_and(|file| file.mark.end > 0) || self.doubt_copies(slot)
    }

    /// Gives each file that waits one chance, until one has something.
    pub(super) fn turn(&mut self) -> Option<Step> {
        for _ in 0..self.ready.len() {
            if let Some(stream) = self.ends.pop_front() {
                return Some(Step::Ended(stream));
            }
            let slot = self.ready.pop_front()?;
            let Some(file) = self.table.get_mut(slot) else { continue };
            file.queued = false;
            if self.waits(slot) {
                continue;
            }
            if self.table.get(slot).is_some_and(|file| file.copy_of.is_some()) {
                self.compare(slot);
            } else if self.open(slot)
                && self.is_next(slot)
                && let Some(step) = self.read(slot)
            {
                return Some(step);
            }
        }
        self.ends.pop_front().map(Step::Ended)
    }

    /// Reads a block, together with the bytes before it, which must be those that were read.
    fn read(&mut self, slot: Slot) -> Option<Step> {
        let file = self.table.get_mut(slot)?;
        let now = file.content.as_ref().and_then(Content::plain).map(std::fs::File::metadata);
        if file.mark.end == 0 && matches!(now, Some(Ok(now)) if now.len() < file.size) {
            self.truncated(slot);
            return None;
        }
        let from = file.next.min(file.mark.end - file.mark.tail_bytes() as u64);
        let known = usize::try_from(file.mark.end - from).unwrap_or(usize::MAX);
        let wanted = known.saturating_add(BLOCK);
        self.buffer.resize(wanted, 0);
        let read = match file.content.as_mut()?.read_at(from, &mut self.buffer) {
            Ok(read) => read,
            Err(error) => {
                self.fault(slot, &error);
                return None;
            }
        };
        let window = self.buffer.get(..read)?;
        let tail = window.get(known - file.mark.tail_bytes()..known);
        if !tail.is_some_and(|tail| file.mark.follows(tail)) {
            self.truncated(slot);
            return None;
        }
        let new = read - known;
        file.fault = None;
        file.size = file.size.max(file.mark.end + new as u64);
        let offset = file.next;
        let start = usize::try_from(offset - from).unwrap_or(usize::MAX);
        if new == 0 {
            return self.at_end_of(slot, offset, start..read);
        }
        file.mark.extend(window, new);
        file.grown = Instant::now();
        file.finishing = false;
        // A writer who goes on where he was leaves zeros before it when the file is truncated.
        let is_fresh = file.generation > 0 && file.part == 0 && !file.speaking;
        let hole = if is_fresh { zeros(window.get(start..)?) } else { 0 };
        file.next = file.mark.end;
        if read == wanted {
            self.wake(slot);
        }
        self.touch(slot);
        self.block(slot, offset + hole as u64, start + hole..read)
    }

    fn block(&mut self, slot: Slot, offset: u64, bytes: Range<usize>) -> Option<Step> {
        if bytes.is_empty() {
            return None;
        }
        let file = self.table.get_mut(slot)?;
        let first = !std::mem::replace(&mut file.speaking, true);
        file.ledger.get_or_insert_with(|| Ledger::new(offset));
        Some(Step::Block { slot, offset, bytes, first })
    }

    /// There is nothing new. What was given back is given again when the stream ends.
    fn at_end_of(&mut self, slot: Slot, offset: u64, bytes: Range<usize>) -> Option<Step> {
        let file = self.table.get_mut(slot)?;
        if let Some(Content::Packed(_)) = file.content {
            file.finishing = true;
        }
        if !file.finishing {
            return None;
        }
        file.next = file.mark.end;
        if bytes.is_empty() {
            self.end(slot);
            return None;
        }
        self.wake(slot);
        self.block(slot, offset, bytes)
    }

    /// The current stream of the file has ended. What is read of it later is another stream.
    pub(super) fn end(&mut self, slot: Slot) {
        let Some(file) = self.table.get_mut(slot) else { return };
        file.finishing = false;
        if std::mem::take(&mut file.speaking) {
            self.ends.push_back(StreamId { slot, part: file.part });
            file.part += 1;
        }
        if !file.reached || matches!(file.content, Some(Content::Packed(_))) {
            self.close(slot);
        }
        self.touch(slot);
    }

    /// Puts the file among those that are to be read.
    pub(super) fn wake(&mut self, slot: Slot) {
        if let Some(file) = self.table.get_mut(slot)
            && !std::mem::replace(&mut file.queued, true)
        {
            self.ready.push_back(slot);
        }
    }

    /// Opens the file, where it is not open, and makes sure that it is the one that was read.
    pub(super) fn open(&mut self, slot: Slot) -> bool {
        let Some(file) = self.table.get(slot) else { return false };
        if file.content.is_some() {
            return true;
        }
        if !file.reached {
            self.search(slot);
            return false;
        }
        let (path, id, mark, next) = (file.path.clone(), file.id, file.mark, file.next);
        if !self.make_room() {
            self.wake(slot);
            return false;
        }
        let opened = match Packing::of(&path) {
            None => open_plain(&path, id, mark, next),
            Some(packing) => open_packed(&path, packing, mark, next),
        };
        match opened {
            Ok(Opened::Same(content, mark)) => {
                if let Some(file) = self.table.get_mut(slot) {
                    (file.content, file.mark, file.fault) = (Some(content), mark, None);
                    file.grown = Instant::now();
                }
                self.open.push(slot);
                true
            }
            Ok(Opened::Truncated(content)) => {
                if let Some(file) = self.table.get_mut(slot) {
                    file.content = Some(content);
                }
                self.open.push(slot);
                self.truncated(slot);
                false
            }
            Ok(Opened::Other) => {
                self.look(&path);
                false
            }
            Err(error) => {
                self.not_opened(slot, &error);
                false
            }
        }
    }

    fn not_opened(&mut self, slot: Slot, error: &io::Error) {
        let Some(path) = self.table.get(slot).map(|file| file.path.clone()) else { return };
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EMFILE | Errno::ENFILE) => {
                say!(Warn, "no descriptor is left to read with", path = path.display());
                self.close_one();
                self.wake(slot);
            }
            Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ENXIO) => self.look(&path),
            _ if error.kind() == io::ErrorKind::InvalidInput => self.look(&path),
            _ => self.fault(slot, error),
        }
    }

    /// The file is not open, and nobody knows where it is.
    fn search(&mut self, slot: Slot) {
        let Some(file) = self.table.get(slot) else { return };
        let (path, missing) = (file.path.clone(), file.size.saturating_sub(file.next));
        if missing > 0 {
            self.lost += missing;
            say!(
                Warn,
                "gone before it was read to its end",
                path = path.display(),
                bytes = missing
            );
        }
        self.end(slot);
    }

    /// The file cannot be read now; it is tried again when something about it changes, and from
    /// time to time.
    pub(super) fn fault(&mut self, slot: Slot, error: &io::Error) {
        self.close(slot);
        let Some(file) = self.table.get_mut(slot) else { return };
        let reason: Box<str> = reason(error).into();
        if file.fault.as_ref() != Some(&reason) {
            say_unreadable(&file.path, error);
            file.fault = Some(reason);
        }
    }

    pub(super) fn close(&mut self, slot: Slot) {
        if let Some(file) = self.table.get_mut(slot)
            && file.content.take().is_some()
        {
            self.open.retain(|open| *open != slot);
            self.touch(slot);
        }
    }

    /// Whether another file may be opened; if need be, one that can be found again is closed.
    fn make_room(&mut self) -> bool {
        self.open.len() < self.open_files || self.close_one()
    }

    fn close_one(&mut self) -> bool {
        let has = |slot: &Slot, idle: bool| {
            self.table.get(*slot).is_some_and(|file| {
                let is_plain =
                    file.content.as_ref().is_some_and(|content| content.plain().is_some());
                file.reached && is_plain && !(idle && file.queued)
            })
        };
        let idle = self.open.iter().copied().find(|slot| has(slot, true));
        let Some(slot) = idle.or_else(|| self.open.iter().copied().find(|slot| has(slot, false)))
        else {
            return false;
        };
        self.close(slot);
        true
    }

    /// Ends, closes and forgets what has been silent for long.
    pub(super) fn tidy(&mut self) {
        let slots: BTreeSet<Slot> = self.open.iter().chain(&self.touched).copied().collect();
        for slot in slots {
            let Some(file) = self.table.get_mut(slot) else { continue };
            let silent = file.grown.elapsed();
            if file.queued {
                continue;
            }
            let leaving = file.moved || !file.reached;
            if leaving && file.speaking && silent >= QUIET {
                file.finishing = true;
                self.wake(slot);
            }
            let Some(file) =
                self.table.get(slot).filter(|file| file.content.is_some() && !file.queued)
            else {
                continue;
            };
            if silent >= self.idle_close && !(leaving && file.speaking) {
                if file.reached {
                    self.close(slot);
                } else {
                    self.end(slot);
                }
            } else if !file.reached {
                // No notice tells of it any more.
                self.wake(slot);
            }
        }
    }

    /// The caller wants the bytes from `offset` on again, with what follows them, as it does where a
    /// line is not complete. They are part of the last block of the stream. Returns whether they will
    /// come again: where a stream is about to end, bytes are final, and more than 16 MiB before the
    /// end of what was read are not given twice.
    #[must_use]
    pub fn give_back(&mut self, stream: StreamId, offset: u64) -> bool {
        let Some(file) = self.table.get_mut(stream.slot) else { return false };
        let earliest = file.mark.end.saturating_sub(LONGEST);
        let possible = file.part == stream.part
            && !file.finishing
            && (earliest..=file.mark.end).contains(&offset);
        if possible {
            file.next = offset;
        }
        possible
    }
}

enum Opened {
    /// The file, and what was read of it.
    Same(Content, Mark),
    /// The file, with other contents.
    Truncated(Content),
    /// Another file.
    Other,
}

fn open_plain(path: &Path, id: FileId, mark: Mark, next: u64) -> io::Result<Opened> {
    let (mut content, metadata) = Content::open(path)?;
    if FileId::of(&metadata) != id {
        return Ok(Opened::Other);
    }
    if content.mark(mark.end)? != Some(mark) {
        return Ok(Opened::Truncated(content));
    }
    let mark = content.mark(next)?.unwrap_or(mark);
    Ok(Opened::Same(content, mark))
}

fn open_packed(path: &Path, packing: Packing, mark: Mark, next: u64) -> io::Result<Opened> {
    if Content::unpack(path, packing)?.mark(mark.end)? != Some(mark) {
        let other = "it does not begin with what was read of it";
        return Err(io::Error::new(io::ErrorKind::InvalidData, other));
    }
    let mut content = Content::unpack(path, packing)?;
    let mark = content.mark(next)?.unwrap_or(mark);
    Ok(Opened::Same(content, mark))
}

fn zeros(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len())
}
