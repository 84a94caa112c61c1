//! Saved positions whose file has not been found yet.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::identity::{FileId, Seed};
use super::positions::Entry;

/// They are looked up by inode and by path.
#[derive(Debug, Default)]
pub(super) struct Unclaimed {
    entries: BTreeMap<Seed, Entry>,
    inodes: HashMap<u64, Vec<Seed>>,
    paths: HashMap<Arc<Path>, Vec<Seed>>,
}

impl Unclaimed {
    pub(super) fn add(&mut self, entry: Entry) {
        self.inodes.entry(entry.id.inode).or_default().push(entry.seed);
        self.paths.entry(entry.path.clone()).or_default().push(entry.seed);
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

    /// What was last known at this path.
    pub(super) fn at(&self, path: &Path) -> Vec<Entry> {
        let seeds = self.paths.get(path).map(Vec::as_slice).unwrap_or_default();
        seeds.iter().filter_map(|seed| self.entries.get(seed)).cloned().collect()
    }

    pub(super) fn take(&mut self, seed: Seed) -> Option<Entry> {
        let entry = self.entries.remove(&seed)?;
        forget(&mut self.inodes, &entry.id.inode, seed);
        forget(&mut self.paths, &entry.path, seed);
        Some(entry)
    }

    pub(super) fn seeds(&self) -> Vec<Seed> {
        self.entries.keys().copied().collect()
    }

    pub(super) fn get(&self, seed: Seed) -> Option<&Entry> {
        self.entries.get(&seed)
    }
}

fn forget<K: Eq + std::hash::Hash>(index: &mut HashMap<K, Vec<Seed>>, key: &K, seed: Seed) {
    if let Some(seeds) = index.get_mut(key) {
        seeds.retain(|other| *other != seed);
        if seeds.is_empty() {
            index.remove(key);
        }
    }
}
