//! Saved positions whose file has not been found yet.

use std::collections::{BTreeMap, HashMap};

use super::identity::{FileId, Seed};
use super::positions::Entry;

/// They are looked up by inode.
#[derive(Debug, Default)]
pub(super) struct Unclaimed {
    entries: BTreeMap<Seed, Entry>,
    inodes: HashMap<u64, Vec<Seed>>,
}

impl Unclaimed {
    pub(super) fn add(&mut self, entry: Entry) {
        self.inodes.entry(entry.id.inode).or_default().push(entry.seed);
        self.entries.insert(entry.seed, entry);
    }

    /// The latest generation of a file. Where the file system tells birth times, the device may
    /// have another number than before: they change when a machine starts again.
    pub(super) fn claim(&mut self, id: FileId) -> Option<Entry> {
        let seeds = self.inodes.get(&id.inode)?;
        let is_same = |known: FileId| {
            known == id
                || (known.born == id.born && id.born != 0)
                || (known.device == id.device && (known.born == 0 || id.born == 0))
        };
        let entries = seeds.iter().filter_map(|seed| self.entries.get(seed));
        let latest = entries.filter(|entry| is_same(entry.id)).max_by_key(|entry| entry.generation)?;
        let seed = latest.seed;
        self.take(seed)
    }

    pub(super) fn take(&mut self, seed: Seed) -> Option<Entry> {
        let entry = self.entries.remove(&seed)?;
        if let Some(seeds) = self.inodes.get_mut(&entry.id.inode) {
            seeds.retain(|other| *other != seed);
            if seeds.is_empty() {
                self.inodes.remove(&entry.id.inode);
            }
        }
        Some(entry)
    }

    /// All of them, the older files of each path first.
    pub(super) fn seeds(&self) -> Vec<Seed> {
        let mut entries: Vec<&Entry> = self.entries.values().collect();
        entries.sort_by_key(|entry| (&entry.path, !entry.moved, entry.id.born, entry.generation));
        entries.into_iter().map(|entry| entry.seed).collect()
    }

    pub(super) fn get(&self, seed: Seed) -> Option<&Entry> {
        self.entries.get(&seed)
    }
}
