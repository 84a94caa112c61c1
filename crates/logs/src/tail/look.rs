//! What a path leads to now, and what follows from that: files come, go, and are rotated.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pillion_runtime::say;

use super::content::Content;
use super::globs::Found;
use super::identity::FileId;
use super::names::{Packing, before_rotation, is_rotated};
use super::positions::Entry;
use super::recover::siblings;
use super::table::{File, Slot};
use super::unreadable::say_unreadable;
use super::{Tail, unix_ms};

/// As many links as the kernel follows.
const LINKS: usize = 40;

/// A regular file as a look at its path shows it.
pub(super) struct Sight {
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    pub(super) size: u64,
    pub(super) modified: u64,
    is_link: bool,
}

impl Sight {
    /// Looks. `None`: there is nothing, or something else than a file.
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        let missing = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(error),
        };
        let mut metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => return missing(error),
        };
        let is_link = metadata.is_symlink();
        if is_link {
            metadata = match fs::metadata(path) {
                Ok(metadata) => metadata,
                Err(error) => return missing(error),
            };
        }
        let modified = metadata.modified().map(super::since_1970_ms).unwrap_or(0);
        let (id, size) = (FileId::of(&metadata), metadata.len());
        Ok(metadata.is_file().then(|| Self { path: path.into(), id, size, modified, is_link }))
    }
}

impl Tail {
    /// Finds out what a path leads to.
    pub(super) fn look(&mut self, path: &Path) {
        let known = self.table.at(path);
        let sight = match Sight::of(path) {
            Ok(sight) => sight,
            Err(error) => {
                match known {
                    Some(slot) => self.fault(slot, &error),
                    None if self.globs.mean(path) => self.say_blocked(path, &error),
                    None => {}
                }
                return;
            }
        };
        if sight.is_none() {
            // A link that leads nowhere yet.
            self.follow_links(path);
        }
        match (known, sight) {
            (None, None) => {}
            (Some(slot), None) => self.left(slot),
            (Some(slot), Some(sight)) => match self.table.get(slot) {
                Some(file) if file.id == sight.id => self.confirm(slot, &sight),
                _ => {
                    self.left(slot);
                    self.found(sight);
                }
            },
            (None, Some(sight)) => self.found(sight),
        }
    }

    fn say_blocked(&mut self, path: &Path, error: &io::Error) {
        say_unreadable(path, error);
        self.blocked = true;
    }

    /// At the first look: says what whoever wrote the globs may not have meant.
    pub(super) fn say_what_is_odd(&self, found: &Found) {
        let source = &self.source;
        let folders = found.files.iter().filter(|path| self.globs.name(path) && path.is_dir());
        for folder in folders {
            say!(
                Warn,
                "this is a folder, and nothing in it is read: end it with /* or /**/*",
                source = source,
                path = folder.display()
            );
        }
        if !found.files.iter().any(|path| path.is_file()) {
            say!(Info, "there is no file yet that a source means", source = source);
        }
    }

    /// The path still leads to the file.
    fn confirm(&mut self, slot: Slot, sight: &Sight) {
        if sight.is_link {
            self.follow_links(&sight.path);
        }
        self.sighted(slot, sight);
        let Some(file) = self.table.get(slot) else { return };
        if sight.size != file.mark.end || file.fault.is_some() {
            self.wake(slot);
        }
    }

    /// Notes what a look at a file has shown.
    fn sighted(&mut self, slot: Slot, sight: &Sight) {
        let Some(file) = self.table.get_mut(slot) else { return };
        let is_changed = file.modified != sight.modified;
        (file.seen, file.modified) = (unix_ms(), sight.modified);
        // Where nothing was read, only this tells of a truncation, once its turn comes.
        let greatest = if file.mark.end == 0 { file.size } else { 0 };
        file.size = greatest.max(sight.size);
        if is_changed {
            self.touch(slot);
        }
    }

    /// A path leads to a file that was not there.
    fn found(&mut self, sight: Sight) {
        if let Some(owner) = self.table.owner(sight.id) {
            self.found_again(owner, &sight);
        } else if self.is_wanted(&sight) {
            self.found_new(sight);
        }
    }

    /// A file that this process has not seen.
    fn found_new(&mut self, sight: Sight) {
        if let Some(entry) = self.unclaimed.claim(sight.id) {
            if entry.copy {
                // Whether it still is one, a look at both tells.
                self.forget_copy(&entry, &sight);
                self.strangers.push(sight);
                return;
            }
            let file = File::resumed(&entry, sight.id, sight.path.as_path().into());
            let slot = self.table.insert(file);
            self.found_again(slot, &sight);
            if let Some(since) = self.away_since
                && entry.mark.end == 0
                && !entry.moved
            {
                // Nothing was read that could tell of a truncation: it was one for certain where
                // there is less than there was, and then before this program ended, perhaps.
                let is_less = sight.size < entry.size;
                let since = if is_less { entry.seen } else { entry.seen.max(since) };
                self.adopt(since, &siblings(&entry.path));
            }
        } else {
            self.strangers.push(sight);
        }
    }

    fn forget_copy(&mut self, entry: &Entry, sight: &Sight) {
        if entry.moved {
            self.rotated.insert(sight.path.clone());
        }
        if let Some(positions) = &self.positions {
            positions.remove(&self.source, entry.seed);
        }
    }

    fn is_wanted(&mut self, sight: &Sight) -> bool {
        let path = &sight.path;
        if self.globs.excluded(path) || self.rotated.contains(path) {
            return !self.globs.excluded(path);
        }
        if Packing::of(path).is_some() || self.globs.mean(path) {
            return Packing::of(path).is_none();
        }
        // It was created, written and rotated before anyone looked.
        let is_new = sight.modified >= self.began;
        let is_rotation = is_new && before_rotation(path).iter().any(|path| self.globs.mean(path));
        is_rotation && self.rotated.insert(path.clone())
    }

    /// A file that is known has another path, or one more.
    fn found_again(&mut self, owner: Slot, sight: &Sight) {
        let Some(file) = self.table.get(owner) else { return };
        if file.reached {
            if matches!(Sight::of(&file.path), Ok(Some(there)) if there.id == sight.id) {
                self.table.link(sight.path.clone(), file.path.clone());
                return;
            }
            self.table.leave(owner);
        }
        self.arrive(owner, sight);
        if let Some(file) = self.table.get_mut(owner) {
            let path = file.real_path().clone();
            file.moved = path != file.origin;
            if file.moved && !is_rotated(&path, &file.origin) {
                // Its name is another now, but not one that rotation gives.
                self.table.set_origin(owner, path);
            }
        }
    }

    pub(super) fn arrive(&mut self, slot: Slot, sight: &Sight) {
        if let Some(other) = self.table.at(&sight.path).filter(|other| *other != slot) {
            self.left(other);
        }
        let place = if sight.is_link { self.follow_links(&sight.path) } else { None };
        self.table.arrive(slot, sight.path.as_path().into(), place);
        self.sighted(slot, sight);
        self.wake(slot);
    }

    /// Notes each link on the way, and returns where it ends.
    fn follow_links(&mut self, path: &Path) -> Option<Arc<Path>> {
        let from: Arc<Path> = path.into();
        let mut hop = path.to_owned();
        for _ in 0..LINKS {
            let Ok(target) = fs::read_link(&hop) else { break };
            let next = hop.parent()?.join(target);
            // Folders on the way may be links as well; the last name is what rotation changes.
            let folder = fs::canonicalize(next.parent()?).ok()?;
            self.watch(&folder);
            hop = folder.join(next.file_name()?);
            self.table.link(hop.clone(), from.clone());
        }
        Some(hop.into())
    }

    /// The path of a file leads to nothing, or to another file.
    fn left(&mut self, slot: Slot) {
        let Some(file) = self.table.get_mut(slot) else { return };
        let (id, path, origin) = (file.id, file.real_path().clone(), file.origin.clone());
        let (seen, was_moved) = (file.seen, file.moved);
        let is_deleted = file.content.as_ref().and_then(Content::plain).map(is_deleted);
        let unread = file.queued;
        file.moved = true;
        self.table.leave(slot);
        self.wake(slot);
        if let Some(to) = self.moves.get(&*path).cloned()
            && matches!(Sight::of(&to), Ok(Some(there)) if there.id == id)
        {
            self.look(&to);
            return;
        }
        // What was read to its end, closed and then deleted is not worth a search.
        let unread = unread || self.is_needed(slot);
        let search = match is_deleted {
            Some(is_deleted) => !is_deleted,
            None => unread || self.reconciling || self.moves.contains_key(&*path),
        };
        if !search {
            return;
        }
        let siblings = siblings(&origin);
        if let Some(there) = siblings.iter().find(|sibling| sibling.id == id) {
            self.look(&there.path);
        } else if let Some(file) = self.table.get_mut(slot) {
            file.away = is_deleted.is_some() || self.moves.contains_key(&*path);
        }
        if !was_moved {
            self.adopt(seen.max(self.looked_before), &siblings);
        }
        let is_lost = |file: &File| !file.reached && file.content.is_none();
        if self.table.get(slot).is_some_and(is_lost) {
            self.recover(slot, &siblings);
        }
    }

    /// Whether a copy that is gone from its path has what its original has no more: it is a file like
    /// others then.
    fn is_needed(&mut self, copy: Slot) -> bool {
        let has_parted = self.has_parted(copy);
        if let Some(file) = self.table.get_mut(copy).filter(|_| has_parted) {
            (file.copy_of, file.next) = (None, 0);
        }
        has_parted
    }
}

fn is_deleted(file: &fs::File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
}
