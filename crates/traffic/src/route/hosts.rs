//! Routes by host: one pass over the host finds the routes of its whole name and of every wildcard
//! above it.

use std::collections::BTreeMap;
use std::sync::Arc;

use pillion_model::snapshot::Route;

/// The routes that name hosts.
#[derive(Debug)]
pub(super) struct Hosts {
    /// By whole name.
    exact: Index,
    /// By the part after the star, its leading dot included.
    wildcard: Index,
}

impl Hosts {
    /// Sorts the routes by the hosts that they name; those that name none are left out.
    pub(super) fn new(routes: &[Arc<Route>]) -> Self {
        let mut exact = Names::new();
        let mut wildcard = Names::new();
        for (index, route) in (0..).zip(routes) {
            for host in &route.matches.hosts {
                let (names, name) = match host.strip_prefix('*') {
                    Some(suffix) if suffix.starts_with('.') => (&mut wildcard, suffix),
                    _ => (&mut exact, host.trim_matches(['[', ']'])),
                };
                let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
                let routes = names.entry(name).or_default();
                if routes.last() != Some(&index) {
                    routes.push(index);
                }
            }
        }
        Self { exact: Index::new(exact), wildcard: Index::new(wildcard) }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.exact.entries.is_empty() && self.wildcard.entries.is_empty()
    }

    /// Calls `each` with the ascending routes of each name that takes `host`.
    ///
    /// The hash grows from the last byte to the first, so that at every dot it is the hash of the
    /// part from there on, which is what a wildcard is filed under.
    pub(super) fn for_each_match(&self, host: &[u8], each: &mut impl FnMut(&[u32])) {
        let mut hash = EMPTY;
        for (at, &byte) in host.iter().enumerate().rev() {
            hash = extend(hash, byte);
            // A wildcard stands for something: the dot is not the beginning.
            if byte == b'.' && at > 0 && !self.wildcard.entries.is_empty() {
                each(self.wildcard.get(hash, host.get(at..).unwrap_or_default()));
            }
        }
        each(self.exact.get(hash, host));
    }
}

type Names = BTreeMap<String, Vec<u32>>;

/// A hash table that is built once: the entries of a bucket lie side by side. Its keys come from
/// the configuration, so nobody can make them collide from outside.
#[derive(Debug)]
struct Index {
    /// By bucket.
    entries: Box<[Entry]>,
    /// Where each bucket begins in `entries`, and the end of the last. A power of two buckets, at
    /// least as many as entries.
    starts: Box<[u32]>,
}

#[derive(Debug)]
struct Entry {
    name: Box<str>,
    routes: Box<[u32]>,
}

impl Index {
    fn new(names: Names) -> Self {
        let buckets = names.len().next_power_of_two();
        let bucket_of = |name: &str| bucket(hash(name.as_bytes()), buckets);
        let mut entries: Vec<Entry> = names
            .into_iter()
            .map(|(name, routes)| Entry { name: name.into(), routes: routes.into() })
            .collect();
        entries.sort_by_cached_key(|entry| bucket_of(&entry.name));
        let begins = |bucket| entries.partition_point(|entry| bucket_of(&entry.name) < bucket);
        let starts = (0..=buckets).map(|bucket| begins(bucket) as u32).collect();
        Self { entries: entries.into(), starts }
    }

    /// The routes of `name`, whose hash is `hash`; none where it is not there.
    fn get(&self, hash: u64, name: &[u8]) -> &[u32] {
        let at = bucket(hash, self.starts.len() - 1);
        let Some(&[start, end]) = self.starts.get(at..at + 2) else { return &[] };
        let bucket = self.entries.get(start as usize..end as usize).unwrap_or_default();
        bucket
            .iter()
            .find(|entry| entry.name.as_bytes().eq_ignore_ascii_case(name))
            .map_or(&[], |entry| &entry.routes)
    }
}

const fn bucket(hash: u64, buckets: usize) -> usize {
    ((hash ^ (hash >> 32)) as usize) & (buckets - 1)
}

/// FNV-1a over the bytes from the last to the first, in lower case.
const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

const fn extend(hash: u64, byte: u8) -> u64 {
    (hash ^ byte.to_ascii_lowercase() as u64).wrapping_mul(0x0100_0000_01b3)
}

fn hash(name: &[u8]) -> u64 {
    name.iter().rev().fold(EMPTY, |hash, &byte| extend(hash, byte))
}
