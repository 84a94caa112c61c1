//! `positions.json`: how far each file has been delivered, so that the next start goes on there.
//!
//! It is written anew beside the old one and moved over it, so that a torn write leaves the old one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use pillion_runtime::say;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::identity::{FileId, Mark, Seed};

const VERSION: u32 = 1;
/// Not saved more often than this, unless asked for.
const BETWEEN_SAVES: Duration = Duration::from_secs(1);
/// What was not found for so long is forgotten …
const FORGOTTEN_AFTER_MS: u64 = 7 * 24 * 3_600_000;
/// … and the longest absent when there are more of one source.
const ENTRIES: usize = 100_000;

/// Why positions cannot be kept.
#[derive(Debug, Error)]
pub enum PositionsError {
    /// Another process has the folder.
    #[error("{0} is used by another process: give each its own state folder")]
    Locked(PathBuf),
    /// The file was written by a later version.
    #[error(
        "{path} has version {version}, and this program knows {VERSION}: use the newer program"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The folder or a file in it.
    #[error("cannot keep positions of logs in {path}")]
    Io {
        /// What was tried.
        path: PathBuf,
        /// Why it failed.
        #[source]
        error: io::Error,
    },
}

/// The positions of all sources under one state folder. Clones are the same positions.
#[derive(Clone, Debug)]
pub struct Positions(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    _lock: Flock<File>,
    sources: BTreeMap<String, Known>,
    changed: bool,
    saved: Option<Instant>,
    saving: Option<JoinHandle<()>>,
    /// The last save in the background went wrong.
    failed: Arc<AtomicBool>,
}

/// What is known of one source.
#[derive(Debug, Default)]
struct Known {
    /// When it was last looked after, in milliseconds since 1970.
    looked: u64,
    entries: BTreeMap<Seed, Entry>,
}

/// What is known of one source, as it is written.
#[derive(Serialize, Deserialize)]
struct SavedSource<E> {
    looked: u64,
    files: Vec<E>,
}

/// How far one generation of a file was read and delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(with = "hex")]
    pub(super) seed: Seed,
    pub(super) generation: u32,
    #[serde(flatten)]
    pub(super) id: FileId,
    #[serde(flatten)]
    pub(super) mark: Mark,
    /// Everything before this offset has been delivered; not beyond `mark.end`.
    pub(super) position: u64,
    /// How long the file was.
    pub(super) size: u64,
    /// When it was written to, as it was last looked at, in milliseconds since 1970.
    pub(super) modified: u64,
    /// A moment at which it was the file that was written to, in milliseconds since 1970.
    #[serde(default)]
    pub(super) since: u64,
    /// When a path last led to the file, in milliseconds since 1970.
    pub(super) seen: u64,
    /// Where it was before any rotation.
    #[serde(with = "path")]
    pub(super) path: Arc<Path>,
    /// Whether it was rotated.
    pub(super) moved: bool,
    /// Whether it was a copy of what is read elsewhere: then `position` says nothing about it.
    #[serde(default)]
    pub(super) copy: bool,
}

#[derive(Serialize, Deserialize)]
struct Saved<S> {
    version: u32,
    sources: S,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Positions {
    /// Reads the positions under a folder, which is made where it is missing, and locks them. A
    /// file that cannot be understood is moved aside, and said.
    ///
    /// # Errors
    /// When the folder cannot be used, or another process uses it.
    pub fn open(folder: &Path) -> Result<Self, PositionsError> {
        let io = |path: &Path, error| PositionsError::Io { path: path.to_owned(), error };
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| io(folder, error))?;
        let path = folder.join("positions.lock");
        let file =
            OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|error| io(&path, error))?;
        let lock =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(
                |(_, errno)| match errno {
                    Errno::EWOULDBLOCK => PositionsError::Locked(folder.to_owned()),
                    other => io(&path, other.into()),
                },
            )?;
        let sources = load(&folder.join("positions.json"))?;
        Ok(Self(Rc::new(RefCell::new(Inner {
            folder: folder.to_owned(),
            _lock: lock,
            sources,
            changed: false,
            saved: None,
            saving: None,
            failed: Arc::default(),
        }))))
    }

    /// What is known of a source's files, and when it was last looked after, in milliseconds since
    /// 1970. `None`: never.
    pub(super) fn of(&self, source: &str) -> Option<(Vec<Entry>, u64)> {
        let inner = self.0.borrow();
        let known = inner.sources.get(source)?;
        Some((known.entries.values().cloned().collect(), known.looked))
    }

    /// Notes that a source is looked after.
    pub(super) fn looked(&self, source: &str, now_ms: u64) {
        let mut inner = self.0.borrow_mut();
        if let Some(known) = inner.sources.get_mut(source) {
            known.looked = now_ms;
        } else {
            let known = Known { looked: now_ms, entries: BTreeMap::new() };
            inner.sources.insert(source.to_owned(), known);
            inner.changed = true;
        }
    }

    /// Notes how far a file is.
    pub(super) fn put(&self, source: &str, entry: Entry) {
        let mut inner = self.0.borrow_mut();
        let Some(Known { entries, .. }) = inner.sources.get_mut(source) else { return };
        if entries.get(&entry.seed) != Some(&entry) {
            entries.insert(entry.seed, entry);
            inner.changed = true;
        }
    }

    /// Forgets a file.
    pub(super) fn remove(&self, source: &str, seed: Seed) {
        let mut inner = self.0.borrow_mut();
        let Some(Known { entries, .. }) = inner.sources.get_mut(source) else { return };
        inner.changed |= entries.remove(&seed).is_some();
    }

    /// Saves in the background when something changed and the last save is a while ago.
    pub(super) fn save_when_due(&self) {
        let mut inner = self.0.borrow_mut();
        // Relaxed: only this thread acts on it, and a beat later is early enough.
        inner.changed |= inner.failed.swap(false, Ordering::Relaxed);
        let busy = inner.saving.as_ref().is_some_and(|saving| !saving.is_finished());
        let due = inner.saved.is_none_or(|saved| saved.elapsed() >= BETWEEN_SAVES);
        if !inner.changed || busy || !due {
            return;
        }
        inner.saved = Some(Instant::now());
        inner.changed = false;
        match inner.text() {
            Ok(text) => {
                let (folder, failed) = (inner.folder.clone(), inner.failed.clone());
                inner.saving = Some(tokio::task::spawn_blocking(move || {
                    if let Err(error) = write(&folder, &text) {
                        say!(
                            Error,
                            "cannot save positions",
                            folder = folder.display(),
                            error = error
                        );
                        // Relaxed: as above.
                        failed.store(true, Ordering::Relaxed);
                    }
                }));
            }
            Err(error) => say!(Error, "cannot save positions", error = error),
        }
    }

    /// Whether anything waits to be saved.
    pub(super) fn unsaved(&self) -> bool {
        let inner = self.0.borrow();
        // Relaxed: as in `save_when_due`.
        inner.changed || inner.failed.load(Ordering::Relaxed)
    }

    /// Waits until the save in the background has ended; what went wrong is said there.
    pub(super) async fn settle(&self) {
        let saving = self.0.borrow_mut().saving.take();
        if let Some(saving) = saving {
            drop(saving.await);
        }
    }

    /// Saves now.
    ///
    /// # Errors
    /// When the file cannot be written; the old one stays.
    pub(super) async fn save(&self) -> io::Result<()> {
        self.settle().await;
        let mut inner = self.0.borrow_mut();
        let text = inner.text()?;
        write(&inner.folder, &text)?;
        inner.changed = false;
        inner.failed.store(false, Ordering::Relaxed);
        inner.saved = Some(Instant::now());
        Ok(())
    }

    /// Forgets what was given up finding: `is_present` says what is there.
    pub(super) fn forget(&self, source: &str, now_ms: u64, is_present: impl Fn(Seed) -> bool) {
        let mut inner = self.0.borrow_mut();
        let Some(Known { entries, .. }) = inner.sources.get_mut(source) else { return };
        let before = entries.len();
        let is_old = |entry: &Entry| now_ms.saturating_sub(entry.seen) > FORGOTTEN_AFTER_MS;
        entries.retain(|seed, entry| is_present(*seed) || !is_old(entry));
        if entries.len() > ENTRIES {
            let mut absent: Vec<(u64, Seed)> = entries.values().map(|e| (e.seen, e.seed)).collect();
            absent.retain(|(_, seed)| !is_present(*seed));
            absent.sort_unstable();
            for (_, seed) in absent.iter().take(entries.len() - ENTRIES) {
                entries.remove(seed);
            }
        }
        let removed = before != entries.len();
        inner.changed |= removed;
    }
}

impl Inner {
    fn text<'s>(&'s self) -> io::Result<Vec<u8>> {
        let saved = |known: &'s Known| SavedSource {
            looked: known.looked,
            files: known.entries.values().collect::<Vec<&Entry>>(),
        };
        let sources = self.sources.iter().map(|(name, known)| (name.as_str(), saved(known)));
        let sources: BTreeMap<&str, SavedSource<&Entry>> = sources.collect();
        let mut text = serde_json::to_vec(&Saved { version: VERSION, sources })?;
        text.push(b'\n');
        Ok(text)
    }
}

fn load(path: &Path) -> Result<BTreeMap<String, Known>, PositionsError> {
    let io = |error| PositionsError::Io { path: path.to_owned(), error };
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(io(error)),
    };
    if let Ok(Version { version }) = serde_json::from_slice(&text)
        && version > VERSION
    {
        return Err(PositionsError::Newer { path: path.to_owned(), version });
    }
    match serde_json::from_slice::<Saved<BTreeMap<String, SavedSource<Entry>>>>(&text) {
        Ok(saved) => Ok(saved.sources.into_iter().map(|(name, all)| (name, known(all))).collect()),
        Err(error) => {
            let aside = path.with_file_name(format!("positions.json.bad-{}", super::unix_ms()));
            fs::rename(path, &aside).map_err(io)?;
            say!(
                Error,
                "positions cannot be understood, files are read as if they were new",
                moved_to = aside.display(),
                error = error,
            );
            Ok(BTreeMap::new())
        }
    }
}

fn known(saved: SavedSource<Entry>) -> Known {
    let entries = saved.files.into_iter().map(|entry| (entry.seed, entry)).collect();
    Known { looked: saved.looked, entries }
}

fn write(folder: &Path, text: &[u8]) -> io::Result<()> {
    let (new, path) = (folder.join("positions.json.new"), folder.join("positions.json"));
    let file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new);
    let mut file = file?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(new, path)?;
    File::open(folder)?.sync_all()
}

/// A seed as 32 hexadecimal digits.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Seed;

    pub(super) fn serialize<S: Serializer>(seed: &Seed, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{:032x}", seed.0))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Seed, D::Error> {
        let digits = String::deserialize(from)?;
        u128::from_str_radix(&digits, 16).map(Seed).map_err(serde::de::Error::custom)
    }
}

/// A path as text, or as bytes where it is none.
mod path {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Name {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(path: &Arc<Path>, to: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => to.serialize_str(text),
            None => Name::Bytes(path.as_os_str().as_bytes().to_vec()).serialize(to),
        }
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Arc<Path>, D::Error> {
        Ok(match Name::deserialize(from)? {
            Name::Text(text) => PathBuf::from(text).into(),
            Name::Bytes(bytes) => PathBuf::from(OsString::from_vec(bytes)).into(),
        })
    }
}
