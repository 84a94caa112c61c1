//! The files that are known, by inode and by path.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::Instant;

use super::content::Content;
use super::identity::{FileId, Mark, Seed};
use super::positions::Entry;
use crate::receipt::Ledger;

/// Names one generation of one file while this process runs; never used twice.
pub(super) type Slot = u64;

/// One generation of one file: what was written between two truncations.
pub(super) struct File {
    pub(super) id: FileId,
    /// Where it is, or was last.
    pub(super) path: Arc<Path>,
    /// The path that it had before any rotation; links followed.
    pub(super) origin: Arc<Path>,
    /// The files of one succession were written one after another, and are read so. It is called by
    /// the origin, or the link that leads, or led, there.
    succession: Arc<Path>,
    /// A moment at which this was the file of its succession that was written to, in milliseconds since
    /// 1970. Each had a time of its own, so that any moment of it tells which was earlier. A copy has
    /// the time of the copying, and what was compressed that of what it was made from.
    pub(super) since: u64,
    /// Where the link at `path` leads to.
    pub(super) place: Option<Arc<Path>>,
    /// Whether `path` leads to it. If not, it was deleted, moved out of sight, or truncated.
    pub(super) reached: bool,
    /// Whether it had another path before: what writes to it will soon stop.
    pub(super) moved: bool,
    /// Whether it may come back: it was moved out of sight.
    pub(super) away: bool,
    pub(super) seed: Seed,
    pub(super) generation: u32,
    /// What was read.
    pub(super) mark: Mark,
    /// Where the next block begins: `mark.end`, or before it when bytes were given back.
    pub(super) next: u64,
    pub(super) ledger: Option<Ledger>,
    /// How long it was when it was last looked at.
    pub(super) size: u64,
    /// When it was written to, as it was last looked at, in milliseconds since 1970.
    pub(super) modified: u64,
    /// When `path` last led to it, in milliseconds since 1970.
    pub(super) seen: u64,
    /// When something was last read of it.
    pub(super) grown: Instant,
    pub(super) content: Option<Content>,
    /// Whether it is among those that are to be read.
    pub(super) queued: bool,
    /// How many streams it was.
    pub(super) part: u32,
    /// Whether the current stream has had a block.
    pub(super) speaking: bool,
    /// Whether the stream ends where nothing more is read.
    pub(super) finishing: bool,
    /// It is a copy of what is read there.
    pub(super) copy_of: Option<Slot>,
    /// Why it cannot be read.
    pub(super) fault: Option<Box<str>>,
}

impl File {
    /// A file that goes on where the entry says.
    pub(super) fn resumed(entry: &Entry, id: FileId, path: Arc<Path>) -> Self {
        let mut file = Self::new(id, path, entry.seed);
        file.generation = entry.generation;
        file.mark = entry.mark;
        file.next = entry.position.min(entry.mark.end);
        (file.size, file.modified, file.moved) = (entry.size, entry.modified, entry.moved);
        (file.seen, file.origin) = (entry.seen, entry.path.clone());
        file.since = entry.since;
        file
    }

    /// A file of which nothing was read.
    pub(super) fn new(id: FileId, path: Arc<Path>, seed: Seed) -> Self {
        Self {
            id,
            origin: path.clone(),
            succession: path.clone(),
            since: 0,
            path,
            place: None,
            reached: false,
            moved: false,
            away: false,
            seed,
            generation: 0,
            mark: Mark::default(),
            next: 0,
            ledger: None,
            size: 0,
            modified: 0,
            seen: 0,
            grown: Instant::now(),
            content: None,
            queued: false,
            part: 0,
            speaking: false,
            finishing: false,
            copy_of: None,
            fault: None,
        }
    }

    /// Everything before this offset has been delivered.
    pub(super) fn delivered(&self) -> u64 {
        self.ledger.as_ref().map_or(self.next, Ledger::position)
    }

    /// Whether something that was handed on has not been delivered.
    pub(super) fn is_outstanding(&self) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| ledger.outstanding() > 0)
    }

    /// The path that is no link.
    pub(super) fn real_path(&self) -> &Arc<Path> {
        self.place.as_ref().unwrap_or(&self.path)
    }

    /// What is kept of it over a restart.
    pub(super) fn entry(&self) -> Entry {
        Entry {
            seed: self.seed,
            generation: self.generation,
            id: self.id,
            mark: self.mark,
            position: self.delivered(),
            size: self.size,
            modified: self.modified,
            since: self.since,
            seen: self.seen,
            path: self.origin.clone(),
            moved: self.moved,
            copy: self.copy_of.is_some(),
        }
    }

    /// Orders the files of a succession: the one that is written to comes last.
    fn rank(&self) -> (bool, u64, u64) {
        (!self.moved, self.since, self.id.born)
    }

    /// Whether there is something to read that is nowhere else.
    fn has_more(&self) -> bool {
        self.queued && self.copy_of.is_none()
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Table {
    files: BTreeMap<Slot, File>,
    next: Slot,
    owners: HashMap<FileId, Slot>,
    paths: HashMap<Arc<Path>, Slot>,
    successions: HashMap<Arc<Path>, BTreeSet<Slot>>,
    /// What lies on the way of links: real path or link, to the paths that begin there.
    links: HashMap<PathBuf, BTreeSet<Arc<Path>>>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&File> {
        self.files.get(&slot)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut File> {
        self.files.get_mut(&slot)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &File)> {
        self.files.iter().map(|(slot, file)| (*slot, file))
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Arc<Path>> {
        self.paths.keys()
    }

    /// Adds a file, which owns its inode from now on.
    pub(super) fn insert(&mut self, file: File) -> Slot {
        let slot = self.next;
        self.next += 1;
        self.owners.insert(file.id, slot);
        self.files.insert(slot, file);
        self.join(slot);
        slot
    }

    /// Forgets a file.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<File> {
        self.leave(slot);
        self.leave_succession(slot);
        let file = self.files.remove(&slot)?;
        if self.owners.get(&file.id) == Some(&slot) {
            self.owners.remove(&file.id);
        }
        Some(file)
    }

    /// Who is at a path.
    pub(super) fn at(&self, path: &Path) -> Option<Slot> {
        self.paths.get(path).copied()
    }

    /// Whose inode it is.
    pub(super) fn owner(&self, id: FileId) -> Option<Slot> {
        self.owners.get(&id).copied()
    }

    /// Makes the file the owner of another inode.
    pub(super) fn own(&mut self, slot: Slot, id: FileId) {
        if let Some(file) = self.files.get_mut(&slot) {
            if self.owners.get(&file.id) == Some(&slot) {
                self.owners.remove(&file.id);
            }
            file.id = id;
            self.owners.insert(id, slot);
        }
    }

    /// The path leads to the file now, where it led to nobody.
    pub(super) fn arrive(&mut self, slot: Slot, path: Arc<Path>, place: Option<Arc<Path>>) {
        self.leave(slot);
        if let Some(file) = self.files.get_mut(&slot) {
            file.path = path.clone();
            file.place = place;
            (file.reached, file.away) = (true, false);
            self.paths.insert(path, slot);
        }
        self.join(slot);
    }

    /// The path of the file no longer leads to it.
    pub(super) fn leave(&mut self, slot: Slot) {
        if let Some(file) = self.files.get_mut(&slot)
            && std::mem::take(&mut file.reached)
        {
            self.paths.remove(&file.path);
        }
    }

    /// Says where the file was before any rotation.
    pub(super) fn set_origin(&mut self, slot: Slot, origin: Arc<Path>) {
        if let Some(file) = self.files.get_mut(&slot) {
            file.origin = origin;
        }
        self.join(slot);
    }

    /// Puts the file among those that are read one after another.
    fn join(&mut self, slot: Slot) {
        self.leave_succession(slot);
        let Some(file) = self.files.get_mut(&slot) else { return };
        let link = self.links.get(&*file.origin).and_then(BTreeSet::first);
        file.succession = link.unwrap_or(&file.origin).clone();
        self.successions.entry(file.succession.clone()).or_default().insert(slot);
    }

    fn leave_succession(&mut self, slot: Slot) {
        let Some(succession) = self.files.get(&slot).map(|file| &file.succession) else { return };
        if let Some(others) = self.successions.get_mut(succession) {
            others.remove(&slot);
            if others.is_empty() {
                self.successions.remove(succession);
            }
        }
    }

    /// Whether a file is, or was before its rotation, at this path.
    pub(super) fn knows(&self, path: &Path) -> bool {
        self.paths.contains_key(path) || self.successions.contains_key(path)
    }

    /// Whatever is at the path now was written after what was rotated away from there, also where
    /// it was known before: a copy may have been seen late, and the truncation that followed it.
    pub(super) fn succeed(&mut self, rotated: Slot) {
        let Some(file) = self.files.get(&rotated).filter(|file| file.moved) else { return };
        let (after, succession) = (file.since + 1, file.succession.clone());
        for slot in self.successions.get(&succession).into_iter().flatten() {
            let file = self.files.get_mut(slot).filter(|file| file.reached && !file.moved);
            if let Some(file) = file {
                file.since = file.since.max(after);
            }
        }
    }

    /// Whether something that was written earlier under the same path has not been read.
    pub(super) fn has_earlier(&self, slot: Slot) -> bool {
        let Some(file) = self.files.get(&slot) else { return false };
        let others = self.successions.get(&file.succession).into_iter().flatten();
        let mut others = others.filter_map(|other| Some((other, self.files.get(other)?)));
        others.any(|(other, earlier)| {
            earlier.has_more() && (earlier.rank(), *other) < (file.rank(), slot)
        })
    }

    /// Notes what lies on the way of a link.
    pub(super) fn link(&mut self, hop: PathBuf, path: Arc<Path>) {
        self.links.entry(hop).or_default().insert(path);
    }

    /// The paths for which a change at `hop` matters.
    pub(super) fn through(&self, hop: &Path) -> Vec<Arc<Path>> {
        self.links.get(hop).map(|paths| paths.iter().cloned().collect()).unwrap_or_default()
    }

    /// The folders in which links lead on, or end.
    pub(super) fn link_folders(&self) -> impl Iterator<Item = &Path> {
        self.links.keys().filter_map(|hop| hop.parent())
    }

    /// Forgets the links of paths that are not meant any more.
    pub(super) fn prune_links(&mut self, meant: &BTreeSet<PathBuf>) {
        let paths = &self.paths;
        self.links.retain(|_, from| {
            from.retain(|path| paths.contains_key(path) || meant.contains(&**path));
            !from.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(inode: u64, path: &str, since: u64) -> File {
        let id = FileId { inode, ..FileId::default() };
        let mut file = File::new(id, Path::new(path).into(), Seed::of_stream(0, inode));
        file.origin = Path::new("a.log").into();
        (file.since, file.moved, file.queued) = (since, path != "a.log", true);
        file
    }

    /// The truncation was seen while the copy before it was still being made.
    #[test]
    fn what_is_there_now_follows_every_copy_also_when_it_is_rotated_itself() {
        let mut table = Table::default();
        let present = table.insert(file(1, "a.log", 10));
        table.arrive(present, Path::new("a.log").into(), None);
        let copy = table.insert(file(2, "a.log.1", 12));
        table.succeed(copy);
        table.get_mut(present).unwrap().moved = true;
        assert!(table.has_earlier(present) && !table.has_earlier(copy));
    }

    proptest! {
        /// In whatever order they are met: each has its turn when all that came before were read.
        #[test]
        fn files_of_one_path_are_read_as_they_came_to_be(
            order in Just((0..8_u64).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut table = Table::default();
            for since in &order {
                // The file that is there now was seen before something was written to the others.
                let path = if *since == 3 { "a.log".into() } else { format!("a.log.{since}") };
                table.insert(file(*since, &path, *since));
            }
            let mut read = Vec::new();
            while let Some(slot) = (0..8).find(|slot| table.files[slot].queued && !table.has_earlier(*slot)) {
                table.files.get_mut(&slot).unwrap().queued = false;
                read.push(table.files[&slot].since);
            }
            prop_assert_eq!(read, [0, 1, 2, 4, 5, 6, 7, 3]);
        }
    }
}
