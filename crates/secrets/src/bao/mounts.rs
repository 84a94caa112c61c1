//! Where engines are mounted, as far as it matters: which paths belong to KV 2.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Mounts that are remembered. A configuration names a handful.
const LIMIT: usize = 256;

/// What is known about mounts; asked once for each, forgotten when an answer contradicts it.
#[derive(Debug, Default)]
pub(super) struct Mounts(Mutex<BTreeMap<String, Engine>>);

/// What is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    /// Version 2 of the key-value engine.
    Kv2,
    /// Anything else: paths are taken as they are.
    Other,
}

impl Mounts {
    /// The mount that a path belongs to, and what is there.
    pub(super) fn of(&self, path: &str) -> Option<(String, Engine)> {
        let mounts = self.lock();
        let fits = mounts.iter().filter(|(mount, _)| path.starts_with(mount.as_str()));
        let longest = fits.max_by_key(|(mount, _)| mount.len());
        longest.map(|(mount, engine)| (mount.clone(), *engine))
    }

    /// Notes what is mounted at a path that ends with a slash.
    pub(super) fn note(&self, mount: String, engine: Engine) {
        let mut mounts = self.lock();
        if mounts.len() >= LIMIT {
            mounts.clear();
        }
        mounts.insert(mount, engine);
    }

    /// Forgets what is known about the mount of a path.
    pub(super) fn forget(&self, path: &str) {
        self.lock().retain(|mount, _| !path.starts_with(mount.as_str()));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Engine>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A secret of a KV 2 mount: `secret/data/db` and `secret/db` are the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Versioned {
    mount: String,
    name: String,
}

impl Versioned {
    pub(super) fn new(mount: &str, path: &str) -> Self {
        let name = path.strip_prefix(mount).unwrap_or(path);
        let name = name.strip_prefix("data/").unwrap_or(name);
        Self { mount: mount.to_owned(), name: name.to_owned() }
    }

    /// Where its values are.
    pub(super) fn data(&self) -> String {
        format!("{}data/{}", self.mount, self.name)
    }

    /// Where its versions are.
    pub(super) fn metadata(&self) -> String {
        format!("{}metadata/{}", self.mount, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_counts_until_it_is_forgotten() {
        let mounts = Mounts::default();
        mounts.note("kv/".to_owned(), Engine::Other);
        mounts.note("kv/team/".to_owned(), Engine::Kv2);
        assert_eq!(mounts.of("kv/team/db"), Some(("kv/team/".to_owned(), Engine::Kv2)));
        assert_eq!(mounts.of("kv/db"), Some(("kv/".to_owned(), Engine::Other)));
        assert_eq!(mounts.of("kvx/db"), None);
        mounts.forget("kv/team/db");
        assert_eq!(mounts.of("kv/team/db"), None);
    }

    #[test]
    fn no_more_than_the_limit_is_remembered() {
        let mounts = Mounts::default();
        for number in 0..LIMIT {
            mounts.note(format!("m{number}/"), Engine::Other);
        }
        assert_eq!(mounts.lock().len(), LIMIT);
        mounts.note("one-more/".to_owned(), Engine::Kv2);
        assert!(mounts.lock().len() <= LIMIT);
        assert!(mounts.of("one-more/x").is_some());
    }

    #[test]
    fn both_ways_to_write_a_path_are_the_same_secret() {
        for path in ["secret/db/main", "secret/data/db/main"] {
            let secret = Versioned::new("secret/", path);
            assert_eq!(secret.data(), "secret/data/db/main");
            assert_eq!(secret.metadata(), "secret/metadata/db/main");
        }
    }
}
