//! The rest of a file that was deleted or truncated: where it is now.

use std::cmp::Reverse;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::Path;

use super::Tail;
use super::content::Content;
use super::identity::{FileId, Mark, Seed};
use super::look::Sight;
use super::names::{Packing, before_rotation, is_rotated};
use super::table::{File, Slot};
use super::unreadable::say_unreadable;

impl Tail {
    /// Looks for the rest of a file that was deleted or truncated: under another name, in the copy
    /// that was made before, or compressed. Returns whether it was found.
    pub(super) fn recover(&mut self, slot: Slot, siblings: &[Sight]) -> bool {
        for sibling in siblings {
            let Some(file) = self.table.get(slot) else { return false };
            let (mark, next) = (file.mark, file.next);
            let owner = self.table.owner(sibling.id);
            let copy = owner.filter(|owner| {
                self.table.get(*owner).is_some_and(|other| other.copy_of == Some(slot))
            });
            // Where nothing was read, there is nothing to compare: name or time have to tell.
            let is_named = *sibling.path.with_extension("") == *file.path;
            let is_packed = Packing::of(&sibling.path).is_some();
            let is_its = is_packed && (is_named || sibling.modified == file.modified);
            let is_likely = copy.is_some() || (owner.is_none() && (mark.end > 0 || is_its));
            if !is_likely {
                continue;
            }
            match self.rest(&sibling.path, mark, next) {
                Ok(Some((content, mark))) => {
                    if let Some(copy) = copy {
                        self.remove(copy);
                    }
                    self.rebind(slot, sibling, content, mark);
                    return true;
                }
                Ok(None) => self.finish_copy(copy, slot),
                Err(error) => say_unreadable(&sibling.path, &error),
            }
        }
        false
    }

    /// What follows `next` in a file that begins with what was read.
    pub(super) fn rest(
        &self,
        path: &Path,
        mark: Mark,
        next: u64,
    ) -> io::Result<Option<(Content, Mark)>> {
        let Some(packing) = Packing::of(path) else {
            let (mut content, _) = Content::open(path)?;
            if content.mark(mark.end)? != Some(mark) {
                return Ok(None);
            }
            let mark = content.mark(next)?;
            return Ok(mark.map(|mark| (content, mark)));
        };
        if !self.compressed || Content::unpack(path, packing)?.mark(mark.end)? != Some(mark) {
            return Ok(None);
        }
        let mut content = Content::unpack(path, packing)?;
        let mark = content.mark(next)?;
        Ok(mark.map(|mark| (content, mark)))
    }

    /// A copy that is shorter than what was read of the original: what was written between the copy
    /// and the truncation is not in it, but it was read.
    fn finish_copy(&mut self, copy: Option<Slot>, original: Slot) {
        let Some(mark) = self.table.get(original).map(|file| file.mark) else { return };
        if let Some(file) = copy.and_then(|copy| self.table.get_mut(copy))
            && file.mark.end < mark.end
        {
            file.copy_of = None;
        }
    }

    fn rebind(&mut self, slot: Slot, sibling: &Sight, content: Content, mark: Mark) {
        self.close(slot);
        self.table.own(slot, sibling.id);
        // What is compressed is never closed to make room: the last place is left to others, else
        // nobody could look whether they are copies. It is opened again in its turn.
        let stays_open = content.plain().is_some() || self.open.len() + 1 < self.open_files;
        if let Some(file) = self.table.get_mut(slot) {
            (file.mark, file.size) = (mark, 0);
            file.content = stays_open.then_some(content);
            file.finishing = false;
        }
        self.open.extend(stays_open.then_some(slot));
        self.arrive(slot, sibling);
        if let Some(file) = self.table.get_mut(slot) {
            file.moved = true;
        }
    }

    /// The file was truncated, and perhaps written again: what follows is another generation.
    pub(super) fn truncated(&mut self, slot: Slot) {
        let Some(old) = self.table.get_mut(slot) else { return };
        let generation = old.generation + 1;
        let seed = Seed::new(&self.source, old.id, generation, super::unix_ns());
        let mut file = File::new(old.id, old.path.clone(), seed);
        file.generation = generation;
        file.moved = old.moved;
        (file.seen, file.since) = (super::unix_ms(), super::unix_ms());
        file.content = old.content.take();
        old.moved = true;
        let (path, place, reached) = (old.path.clone(), old.place.clone(), old.reached);
        let (origin, seen, was_moved) = (old.origin.clone(), old.seen, file.moved);
        let is_unread = old.mark.end == 0;
        file.origin = origin.clone();
        let fresh = self.table.insert(file);
        for open in &mut self.open {
            if *open == slot {
                *open = fresh;
            }
        }
        if reached {
            self.table.leave(slot);
            self.table.arrive(fresh, path, place);
        }
        self.touch(slot);
        self.touch(fresh);
        let siblings = siblings(&origin);
        if !self.recover(slot, &siblings) {
            self.end(slot);
        }
        if !was_moved && is_unread {
            // What is compressed by now could not be known by its contents before.
            self.adopt_all(seen, &siblings);
        } else if !was_moved {
            self.adopt(seen, &siblings);
        }
        self.wake(fresh);
        self.meet_strangers();
    }

    /// Looks for files that were known at the last end of the program, and are elsewhere now.
    pub(super) fn recover_unclaimed(&mut self) {
        for seed in self.unclaimed.seeds() {
            let Some(entry) = self.unclaimed.get(seed).cloned() else { continue };
            let siblings = siblings(&entry.path);
            if let Some(there) = siblings.iter().find(|sibling| sibling.id == entry.id) {
                self.rotated.insert(there.path.clone());
                self.look(&there.path);
            }
            if self.unclaimed.get(seed).is_some() {
                let mut file = File::resumed(&entry, FileId::default(), entry.path.clone());
                if entry.copy {
                    // All of it is needed, unless its original still knows where it is.
                    file.next = 0;
                    self.verify_at(&entry.path);
                }
                let slot = self.table.insert(file);
                if self.recover(slot, &siblings) {
                    self.unclaimed.take(seed);
                } else {
                    self.table.remove(slot);
                }
            }
            if let Some(since) = self.away_since
                && !entry.moved
            {
                self.adopt(entry.seen.max(since), &siblings);
            }
        }
    }

    fn verify_at(&mut self, path: &Path) {
        if let Some(there) = self.table.at(path) {
            self.verify(there);
        }
    }
}

/// What a path, or one that it was itself rotated from, may have become by rotation: the newest
/// first.
pub(super) fn siblings(path: &Path) -> Vec<Sight> {
    let Some(folder) = path.parent() else { return Vec::new() };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            say_unreadable(folder, &error);
            return Vec::new();
        }
    };
    let mut originals = before_rotation(path);
    originals.push(path.to_owned());
    let stems: Vec<&OsStr> = originals.iter().filter_map(|path| path.file_stem()).collect();
    let is_alike = |name: &OsString| {
        let name = name.as_encoded_bytes();
        stems.iter().any(|stem| name.starts_with(stem.as_encoded_bytes()))
    };
    let names = entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name()));
    let paths = names.filter(is_alike).map(|name| folder.join(name));
    let rotated = paths.filter(|other| originals.iter().any(|path| is_rotated(other, path)));
    let mut siblings: Vec<Sight> = rotated.filter_map(|path| Sight::of(&path).ok()?).collect();
    siblings.sort_by_key(|sight| Reverse(sight.modified));
    siblings
}
