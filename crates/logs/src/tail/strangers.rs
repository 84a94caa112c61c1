//! Files that nothing is known of: new ones, copies of known ones, and those that were rotated before
//! anyone looked.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use pillion_runtime::say;

use super::content::Content;
use super::identity::{Mark, Seed};
use super::look::Sight;
use super::names::{Packing, before_rotation, extends};
use super::table::{File, Slot};
use super::{FILES, Tail};

/// A file that is not read from its beginning is read from the last line that begins in so many
/// bytes before its end.
const LAST_LINE: u64 = 64 << 10;

impl Tail {
    /// Takes in what was rotated before it was ever seen: it was written after `since`, when the
    /// path led to another file. What is compressed too, but only after a start: else it was known
    /// before, or is looked for as the rest of what was.
    pub(super) fn adopt(&mut self, since: u64, siblings: &[Sight]) {
        let packed_too = self.reconciling;
        self.adopt_those(since, siblings, |path| packed_too || Packing::of(path).is_none());
    }

    /// Takes in what was rotated before it was ever seen, compressed or not.
    pub(super) fn adopt_all(&mut self, since: u64, siblings: &[Sight]) {
        self.adopt_those(since, siblings, |_| true);
    }

    fn adopt_those(&mut self, since: u64, siblings: &[Sight], those: impl Fn(&Path) -> bool) {
        for sibling in siblings.iter().rev().filter(|sibling| those(&sibling.path)) {
            let is_newer = sibling.modified >= since;
            let is_known = self.table.owner(sibling.id).is_some();
            let is_readable = self.compressed || Packing::of(&sibling.path).is_none();
            if is_newer && is_readable && !is_known && !self.globs.excluded(&sibling.path) {
                self.rotated.insert(sibling.path.clone());
                self.look(&sibling.path);
            }
        }
    }

    /// Takes in what came and was rotated while this program did not run.
    pub(super) fn adopt_since(&mut self, since: u64, folders: &BTreeSet<PathBuf>) {
        let rotated = folders.iter().flat_map(|folder| self.globs.rotated(folder));
        let mut sights: Vec<Sight> = rotated.filter_map(|path| Sight::of(&path).ok()?).collect();
        sights.sort_by_key(|sight| Reverse(sight.modified));
        self.adopt(since, &sights);
    }

    /// Meets the files that nothing is known of, as they were written.
    pub(super) fn meet_strangers(&mut self) {
        while !self.strangers.is_empty() {
            let mut strangers = std::mem::take(&mut self.strangers);
            strangers.sort_by_cached_key(|sight| (sight.modified, Reverse(sight.path.clone())));
            let paths = strangers.into_iter().map(|sight| sight.path).collect::<Vec<_>>();
            self.tell_rotated(&paths);
            paths.iter().for_each(|path| self.meet(path));
        }
    }

    /// Globs may mean what was rotated too: it is that where what it was made from is there, or was
    /// known.
    fn tell_rotated(&mut self, strangers: &[PathBuf]) {
        let there: HashSet<&PathBuf> = strangers.iter().collect();
        for path in strangers {
            let is_its = |before: &PathBuf| {
                extends(path, before) && (there.contains(before) || self.table.knows(before))
            };
            if before_rotation(path).iter().any(is_its) {
                self.rotated.insert(path.clone());
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
                let copy = self.begin(&sight, |file| {
                    (file.copy_of, file.mark, file.next) = (Some(known), mark, mark.end);
                });
                self.copies.extend(copy);
                return;
            }
        }
        if let Some(slot) = self.begin(&sight, |_| {}) {
            self.table.succeed(slot);
        }
    }

    /// Whether what is compressed there is known as it was.
    fn is_known_packed(&self, sight: &Sight, originals: &[PathBuf]) -> bool {
        let related = self.table.iter().map(|(_, file)| file);
        let related = related.filter(|file| originals.iter().any(|path| **path == *file.origin));
        related
            .filter(|file| file.mark.end > 0)
            .any(|file| !matches!(self.rest(&sight.path, file.mark, file.mark.end), Ok(None)))
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
        file.since = sight.modified;
        if self.skip_present {
            file.mark = last_line(&sight.path, sight.size).unwrap_or_default();
            file.next = file.mark.end;
        }
        change(&mut file);
        let slot = self.table.insert(file);
        self.arrive(slot, sight);
        if !is_rotated && let Some(file) = self.table.get(slot) {
            self.table.set_origin(slot, file.real_path().clone());
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

    /// Before anything is read of a file: looks again at its copies, for it may have been truncated
    /// since, and then they are read first. Returns whether the file may be read now.
    pub(super) fn doubt_copies(&mut self, original: Slot) -> bool {
        self.copies.retain(|copy| self.table.get(*copy).is_some_and(|file| file.copy_of.is_some()));
        for copy in self.copies.clone() {
            if self.table.get(copy).is_some_and(|file| file.copy_of == Some(original)) {
                self.compare(copy);
            }
        }
        !self.waits(original)
    }

    /// Whether the original of a copy has other contents by now.
    pub(super) fn has_parted(&mut self, copy: Slot) -> bool {
        let Some(original) = self.table.get(copy).and_then(|file| file.copy_of) else {
            return false;
        };
        self.verify(original);
        let Some(mark) = self.table.get(copy).map(|file| file.mark) else { return false };
        let original = self.table.get(original).and_then(|file| file.content.as_ref());
        original.and_then(Content::plain).is_some_and(|plain| matches!(mark.fits(plain), Ok(false)))
    }

    /// Looks again at a file that seemed to be a copy.
    pub(super) fn compare(&mut self, slot: Slot) {
        let Some((path, original)) =
            self.table.get(slot).map(|file| (file.path.clone(), file.copy_of))
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
                self.table.succeed(slot);
                self.touch(slot);
                self.wake(slot);
            }
        }
    }

    /// Finds out whether the bytes that were read are still there; if not, a new generation begins.
    pub(super) fn verify(&mut self, slot: Slot) {
        if !self.open(slot) {
            return;
        }
        let Some(file) = self.table.get(slot) else { return };
        let intact =
            file.content.as_ref().and_then(Content::plain).map(|plain| file.mark.fits(plain));
        if let Some(Ok(false)) = intact {
            self.truncated(slot);
        }
    }
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
