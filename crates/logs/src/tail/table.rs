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
    /// That one is read first.
    pub(super) after: Option<Slot>,
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
        file
    }

    /// A file of which nothing was read.
    pub(super) fn new(id: FileId, path: Arc<Path>, seed: Seed) -> Self {
        Self {
            id,
            origin: path.clone(),
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
            after: None,
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
            seen: self.seen,
            path: self.origin.clone(),
            moved: self.moved,
            copy: self.copy_of.is_some(),
        }
    }

    /// What tells which of two files that had the same path was written earlier. A copy has the time
    /// of the copying, and what was compressed that of what it was made from.
    pub(super) fn age(&self) -> (u64, u64) {
        (self.modified, self.id.born)
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Table {
    files: BTreeMap<Slot, File>,
    next: Slot,
    owners: HashMap<FileId, Slot>,
    paths: HashMap<Arc<Path>, Slot>,
    /// Whom a path led to before.
    former: HashMap<Arc<Path>, Slot>,
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
        slot
    }

    /// Forgets a file.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<File> {
        self.leave(slot);
        let file = self.files.remove(&slot)?;
        if self.owners.get(&file.id) == Some(&slot) {
            self.owners.remove(&file.id);
        }
        self.former.retain(|_, former| *former != slot);
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
    }

    /// The path of the file no longer leads to it.
    pub(super) fn leave(&mut self, slot: Slot) {
        if let Some(file) = self.files.get_mut(&slot)
            && std::mem::take(&mut file.reached)
        {
            self.paths.remove(&file.path);
            self.former.insert(file.path.clone(), slot);
        }
    }

    /// Whom the path led to before; asked once.
    pub(super) fn take_former(&mut self, path: &Path) -> Option<Slot> {
        self.former.remove(path)
    }

    /// Whether the path led to another file before, and nobody came after it.
    pub(super) fn has_former(&self, path: &Path) -> bool {
        self.former.contains_key(path)
    }

    /// Whether the first was written before the second.
    pub(super) fn is_older(&self, first: Slot, second: Slot) -> bool {
        let age = |slot| self.files.get(&slot).map(File::age);
        age(first) < age(second)
    }

    /// Says who is read before what comes to this path.
    pub(super) fn set_former(&mut self, path: &Path, slot: Slot) {
        self.former.insert(path.into(), slot);
    }

    /// Says that one is read before another; the first that is said for a file counts. Two never
    /// wait for each other.
    pub(super) fn precede(&mut self, before: Slot, slot: Slot) {
        if self.queue_of(before).any(|earlier| earlier == slot) {
            return;
        }
        if let Some(file) = self.files.get_mut(&slot) {
            file.after.get_or_insert(before);
        }
    }

    /// Says that one is read before another, and where among all that are read before that: as they
    /// came to be.
    pub(super) fn line_up(&mut self, before: Slot, slot: Slot) {
        let is_said = self.queue_of(slot).any(|earlier| earlier == before);
        if is_said || self.queue_of(before).any(|earlier| earlier == slot) {
            return;
        }
        let Some(age) = self.files.get(&before).map(File::age) else { return };
        let is_younger = |slot: &Slot| self.files.get(slot).is_some_and(|file| file.age() > age);
        // What it waits for itself, as its names told, stays before it.
        let is_later =
            |slot: &Slot| is_younger(slot) && !self.queue_of(before).any(|it| it == *slot);
        let younger = self.queue_of(slot).skip(1).take_while(is_later).last().unwrap_or(slot);
        let Some(earlier) =
            self.files.get_mut(&younger).and_then(|file| file.after.replace(before))
        else {
            return;
        };
        let own = self.files.get(&before).and_then(|file| file.after);
        match own.filter(|own| !self.queue_of(earlier).any(|it| it == *own)) {
            Some(_) => {
                if let Some(first) = self.queue_of(before).last() {
                    self.precede(earlier, first);
                }
            }
            // What it waits for is read before the one that it comes after.
            None => self.wait_for(before, Some(earlier)),
        }
    }

    /// Forgets what a file waits for.
    pub(super) fn wait_for_nobody(&mut self, slot: Slot) {
        self.wait_for(slot, None);
    }

    fn wait_for(&mut self, slot: Slot, before: Option<Slot>) {
        if let Some(file) = self.files.get_mut(&slot) {
            file.after = before;
        }
    }

    /// A file and those that are read before it, the nearest first.
    fn queue_of(&self, slot: Slot) -> impl Iterator<Item = Slot> {
        std::iter::successors(Some(slot), |slot| self.files.get(slot)?.after)
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

    proptest! {
        /// In whatever order they are met: one waits for the oldest already, as its name told.
        #[test]
        fn files_of_one_path_are_read_as_they_came_to_be(
            order in Just((1..8_u64).collect::<Vec<_>>()).prop_shuffle(),
            knows_the_oldest in 0..8_usize,
        ) {
            let mut table = Table::default();
            let file = |age: u64| {
                let id = FileId { inode: age, ..FileId::default() };
                let mut file = File::new(id, Path::new("a").into(), Seed::of_stream(0, age));
                file.modified = age;
                file
            };
            let slots: BTreeMap<u64, Slot> = (0..9).map(|age| (age, table.insert(file(age)))).collect();
            let now = slots[&8];
            table.precede(slots[&0], now);
            for (index, age) in order.iter().enumerate() {
                if index == knows_the_oldest {
                    table.precede(slots[&0], slots[age]);
                }
                table.line_up(slots[age], now);
            }
            let ages: Vec<u64> = table.queue_of(now).map(|slot| table.files[&slot].modified).collect();
            prop_assert_eq!(ages, [8, 7, 6, 5, 4, 3, 2, 1, 0]);
        }
    }
}
