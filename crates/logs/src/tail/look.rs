//! What a path leads to now, and what follows from that: files come, go, and are rotated.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pillion_runtime::say;

use super::content::Content;
use super::identity::{FileId, Mark, Seed};
use super::names::{Packing, before_rotation, is_rotated};
use super::table::{File, Slot};
use super::{FILES, Tail, unix_ms};

/// As many links as the kernel follows.
const LINKS: usize = 40;
/// A file that is not read from its beginning is read from the last line that begins in so many
/// bytes before its end.
const LAST_LINE: u64 = 64 << 10;

/// A regular file as a look at its path shows it.
pub(super) struct Sight {
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    size: u64,
    modified: u64,
    is_link: bool,
}

impl Sight {
    /// Looks. `None`: there is nothing, or something else than a file.
    fn of(path: &Path) -> io::Result<Option<Self>> {
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
                if let Some(slot) = known {
                    self.fault(slot, &error);
                }
                return;
            }
        };
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

    /// The path still leads to the file.
    fn confirm(&mut self, slot: Slot, sight: &Sight) {
        if sight.is_link {
            self.follow_links(&sight.path);
        }
        let Some(file) = self.table.get_mut(slot) else { return };
        file.seen = unix_ms();
        (file.size, file.modified) = (sight.size, sight.modified);
        if sight.size != file.mark.end || file.fault.is_some() {
            self.wake(slot);
        }
    }

    /// A path leads to a file that was not there.
    fn found(&mut self, sight: Sight) {
        if let Some(owner) = self.table.owner(sight.id) {
            self.found_again(owner, &sight);
        } else if !self.is_wanted(&sight) {
        } else if let Some(entry) = self.unclaimed.claim(sight.id) {
            let file = File::resumed(&entry, sight.id, sight.path.as_path().into());
            let slot = self.table.insert(file);
            self.found_again(slot, &sight);
            if entry.mark.end == 0 && !entry.moved {
                // Nothing was read that could tell of a truncation.
                self.adopt(entry.seen, &siblings(&entry.path));
            }
        } else {
            self.strangers.push(sight);
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
                file.origin = path;
            }
        }
    }

    fn arrive(&mut self, slot: Slot, sight: &Sight) {
        if let Some(other) = self.table.at(&sight.path).filter(|other| *other != slot) {
            self.left(other);
        }
        let place = if sight.is_link { self.follow_links(&sight.path) } else { None };
        let before = self.table.take_former(&sight.path).filter(|before| *before != slot);
        self.table.arrive(slot, sight.path.as_path().into(), place);
        if let Some(file) = self.table.get_mut(slot) {
            file.seen = unix_ms();
            (file.size, file.modified) = (sight.size, sight.modified);
            file.after = file.after.or(before);
        }
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
            self.adopt(seen, &siblings);
        }
        let is_lost = |file: &File| !file.reached && file.content.is_none();
        if self.table.get(slot).is_some_and(is_lost) {
            self.recover(slot, &siblings);
        }
    }

    /// Takes in what was rotated before it was ever seen: it was written after `since`, when the
    /// path led to another file.
    fn adopt(&mut self, since: u64, siblings: &[Sight]) {
        for sibling in siblings.iter().rev() {
            let is_newer = sibling.modified >= since;
            let is_known = self.table.owner(sibling.id).is_some();
            if is_newer && !is_known && !self.globs.excluded(&sibling.path) {
                if Packing::of(&sibling.path).is_some() && !(self.compressed && self.reconciling) {
                    continue;
                }
                self.rotated.insert(sibling.path.clone());
                self.look(&sibling.path);
            }
        }
    }

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
                Err(error) => say!(Warn, "cannot read", path = sibling.path.display(), error = error),
            }
        }
        false
    }

    /// What follows `next` in a file that begins with what was read.
    fn rest(&self, path: &Path, mark: Mark, next: u64) -> io::Result<Option<(Content, Mark)>> {
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
        if let Some(file) = self.table.get_mut(slot) {
            file.mark = mark;
            file.content = Some(content);
            file.finishing = false;
        }
        self.open.push(slot);
        self.arrive(slot, sibling);
        if let Some(file) = self.table.get_mut(slot) {
            file.moved = true;
        }
    }

    /// Meets the files that nothing is known of, those that were rotated first, as they were
    /// written.
    pub(super) fn meet_strangers(&mut self) {
        while !self.strangers.is_empty() {
            let mut strangers = std::mem::take(&mut self.strangers);
            strangers.sort_by_key(|sight| (!self.rotated.contains(&sight.path), sight.modified));
            for sight in strangers {
                self.meet(&sight.path);
            }
        }
    }

    fn meet(&mut self, path: &Path) {
        let Ok(Some(sight)) = Sight::of(path) else { return };
        if self.table.at(path).is_some() || self.table.owner(sight.id).is_some() {
            self.look(path);
            return;
        }
        let originals = before_rotation(path);
        if Packing::of(path).is_some() && self.is_known_packed(&sight, &originals) {
            return;
        }
        for original in &originals {
            let Some(known) = self.table.at(original) else { continue };
            self.verify(known);
            if self.table.owner(sight.id).is_some() {
                return;
            }
            let known = self.table.at(original).unwrap_or(known);
            if let Some(mark) = self.copied(known, &sight) {
                self.begin(&sight, |file| {
                    (file.copy_of, file.mark, file.next) = (Some(known), mark, mark.end);
                });
                return;
            }
        }
        if let Some(since) = self.away_since
            && !self.rotated.contains(path)
        {
            // Others may have had this path since we left.
            self.adopt(since, &siblings(path));
        }
        let slot = self.begin(&sight, |_| {});
        if let Some(slot) = slot.filter(|_| self.rotated.contains(path)) {
            originals.iter().for_each(|original| self.put_between(original, slot));
        }
    }

    /// Whether what is compressed there is known as it was.
    fn is_known_packed(&self, sight: &Sight, originals: &[PathBuf]) -> bool {
        let related = self.table.iter().map(|(_, file)| file);
        let related = related.filter(|file| originals.iter().any(|path| **path == *file.origin));
        related.filter(|file| file.mark.end > 0).any(|file| {
            !matches!(self.rest(&sight.path, file.mark, file.mark.end), Ok(None))
        })
    }

    /// A rotated file is read after the one that had the path before, and before the one that has
    /// it, or will have it.
    fn put_between(&mut self, path: &Path, slot: Slot) {
        let before = self.table.take_former(path).filter(|before| *before != slot);
        if let Some(file) = self.table.get_mut(slot) {
            file.after = file.after.or(before);
        }
        match self.table.at(path).and_then(|now| self.table.get_mut(now)) {
            Some(now) => now.after = Some(slot),
            None => self.table.set_former(path, slot),
        }
    }

    /// Begins to read a file.
    fn begin(&mut self, sight: &Sight, change: impl FnOnce(&mut File)) -> Option<Slot> {
        if self.table.len() >= FILES {
            say!(Error, "too many files, the others are not read", limit = FILES);
            return None;
        }
        // Without a birth time an inode that is used again looks as it did before.
        let salt = if sight.id.born == 0 { super::unix_ns() } else { 0 };
        let seed = Seed::new(&self.source, sight.id, 0, salt);
        let mut file = File::new(sight.id, sight.path.as_path().into(), seed);
        let is_rotated = self.rotated.contains(&sight.path);
        if is_rotated {
            let known = |path: &&PathBuf| self.globs.mean(path);
            file.moved = true;
            let before = before_rotation(&sight.path);
            // The first path is the last but not the least rotated: `app.log.1` of `app.log.1.gz`.
            if let Some(origin) = before.iter().rev().find(known).or(before.first()) {
                file.origin = origin.as_path().into();
            }
        }
        if self.skip_present && !is_rotated {
            file.mark = last_line(&sight.path, sight.size).unwrap_or_default();
            file.next = file.mark.end;
        }
        change(&mut file);
        let slot = self.table.insert(file);
        self.arrive(slot, sight);
        if let Some(file) = self.table.get_mut(slot).filter(|_| !is_rotated) {
            file.origin = file.real_path().clone();
        }
        self.touch(slot);
        Some(slot)
    }

    /// Whether a file is a copy, perhaps not finished, of a known one; if so, its mark.
    fn copied(&mut self, original: Slot, sight: &Sight) -> Option<Mark> {
        let is_younger = self.table.get(original).is_some_and(|file| file.id.born <= sight.id.born);
        if !is_younger || Packing::of(&sight.path).is_some() || !self.open(original) {
            return None;
        }
        let (mut content, metadata) = Content::open(&sight.path).ok()?;
        let file = self.table.get_mut(original)?;
        let known = file.content.as_mut()?;
        let size = known.plain()?.metadata().ok()?.len();
        if metadata.len() > size || size == 0 {
            return None;
        }
        let mark = content.mark(metadata.len()).ok()??;
        (known.mark(metadata.len()).ok()? == Some(mark)).then_some(mark)
    }

    /// Looks again at a file that seemed to be a copy.
    pub(super) fn compare(&mut self, slot: Slot) {
        let Some((path, original)) = self.table.get(slot).map(|file| (file.path.clone(), file.copy_of))
        else {
            return;
        };
        let Some(original) = original else { return };
        self.verify(original);
        let Ok(Some(sight)) = Sight::of(&path) else { return };
        let is_copy = |file: &File| file.copy_of == Some(original) && file.id == sight.id;
        if !self.table.get(slot).is_some_and(is_copy) {
            return;
        }
        let readable = self.open(original);
        let copied = self.copied(original, &sight);
        let Some(file) = self.table.get_mut(slot) else { return };
        match copied {
            Some(mark) => (file.mark, file.next) = (mark, mark.end),
            None => {
                file.copy_of = None;
                if readable {
                    // It never was one: both only began alike.
                    (file.mark, file.next) = (Mark::default(), 0);
                }
                self.wake(slot);
            }
        }
    }

    /// Finds out whether the bytes that were read are still there; if not, a new generation begins.
    fn verify(&mut self, slot: Slot) {
        if !self.open(slot) {
            return;
        }
        let Some(file) = self.table.get(slot) else { return };
        let intact = file.content.as_ref().and_then(Content::plain).map(|plain| file.mark.fits(plain));
        if let Some(Ok(false)) = intact {
            self.truncated(slot);
        }
    }

    /// The file was truncated, and perhaps written again: what follows is another generation.
    pub(super) fn truncated(&mut self, slot: Slot) {
        let Some(old) = self.table.get_mut(slot) else { return };
        let generation = old.generation + 1;
        let seed = Seed::new(&self.source, old.id, generation, super::unix_ns());
        let mut file = File::new(old.id, old.path.clone(), seed);
        file.generation = generation;
        (file.seen, file.size, file.moved) = (old.seen, old.size, old.moved);
        file.content = old.content.take();
        old.moved = true;
        let (path, place, reached) = (old.path.clone(), old.place.clone(), old.reached);
        let (origin, seen, was_moved) = (old.origin.clone(), old.seen, file.moved);
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
        if self.recover(slot, &siblings) {
            if let Some(file) = self.table.get_mut(fresh) {
                file.after = Some(slot);
            }
        } else {
            self.end(slot);
        }
        if !was_moved {
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
                let file = File::resumed(&entry, FileId::default(), entry.path.clone());
                let slot = self.table.insert(file);
                if self.recover(slot, &siblings) {
                    self.unclaimed.take(seed);
                } else {
                    self.table.remove(slot);
                }
            }
            let owner = self.table.iter().find(|(_, file)| file.seed == seed).map(|(slot, _)| slot);
            if let Some(slot) = owner {
                self.put_between(&entry.path, slot);
            }
            if !entry.moved {
                self.adopt(entry.seen, &siblings);
            }
        }
    }
}

fn is_deleted(file: &fs::File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
}

/// The mark at the beginning of the last line of a file.
fn last_line(path: &Path, size: u64) -> Option<Mark> {
    let (mut content, _) = Content::open(path).ok()?;
    let from = size.saturating_sub(LAST_LINE);
    let mut bytes = vec![0; usize::try_from(size - from).ok()?];
    let read = content.read_at(from, &mut bytes).ok()?;
    let end = bytes.get(..read)?.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
    content.mark(from + end.unwrap_or(read) as u64).ok()?
}

/// What a path may have become by rotation, the newest first.
fn siblings(path: &Path) -> Vec<Sight> {
    let Some((folder, stem)) = path.parent().zip(path.file_stem()) else { return Vec::new() };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            say!(Warn, "cannot list", folder = folder.display(), error = error);
            return Vec::new();
        }
    };
    let names = entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name()));
    let alike = names.filter(|name| name.as_encoded_bytes().starts_with(stem.as_encoded_bytes()));
    let paths = alike.map(|name| folder.join(name)).filter(|other| is_rotated(other, path));
    let mut siblings: Vec<Sight> = paths.filter_map(|path| Sight::of(&path).ok()?).collect();
    siblings.sort_by_key(|sight| std::cmp::Reverse(sight.modified));
    siblings
}
