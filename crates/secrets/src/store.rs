//! The directory of a set of files, which changes from one whole version to the next by one rename.
//!
//! ```text
//! DIR/.versions/7/…       the files of a version, complete before anything leads to it
//! DIR/.versions/journal   what was confirmed, what is being tried, and notes about leases
//! DIR/current             -> .versions/7      the one link that is swapped
//! DIR/tls.crt             -> current/tls.crt  made once for each name; what an app opens
//! ```
//!
//! Versions are numbered, and not named after their contents: names are for everybody to read, and
//! a hash would let anybody check a guess. Everything here blocks; on a disk, waiting for `fsync`
//! may take long, so it belongs on a thread that serves nobody else.

mod draft;
mod files;
mod folder;
mod journal;
mod recovery;
mod step;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;
use nix::sys::stat::Mode;

pub(crate) use draft::check_amount;
pub use draft::{Draft, DraftError, DraftFile, FileName, Owner};
use folder::{Folder, Kind};
use journal::Journal;
pub use journal::{NOTES, Trying, Version};
pub use recovery::{Found, Recovery};
pub use step::{Observer, Step};

const CURRENT: &str = "current";
/// The link that is about to become `current`.
const NEXT: &str = ".current.new";
const VERSIONS: &str = ".versions";
const LOCK: &str = "lock";
/// Names in the directory that are ours.
const RESERVED: [&str; 3] = [CURRENT, NEXT, VERSIONS];
/// The folder of versions can be walked through, but not listed.
const WALKED: Mode = Mode::from_bits_truncate(0o711);

/// The directory of one set, locked for this process.
///
/// `current` leads to a complete version at any time, whatever fails or wherever the process ends.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    root: Folder,
    versions: Folder,
    journal: Journal,
    current: Option<Version>,
    _lock: Flock<File>,
}

/// What the files of a draft would change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// They are there, and confirmed.
    None,
    /// They are there, but nobody has confirmed them.
    Unconfirmed,
    /// Others are there, or none.
    Files,
}

/// Why a step failed. What was there before the step is still there.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refuses.
    #[error("{doing} {}: {reason}", .path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// Something is in the way that we did not put there.
    #[error("{} is in the way: {rule}; remove it, or name another directory", .path.display())]
    Foreign {
        /// What is in the way.
        path: PathBuf,
        /// What should be there.
        rule: &'static str,
    },
    /// Another process has the set.
    #[error(
        "{} is used by another Pillion process; a directory belongs to one set of one process",
        .0.display()
    )]
    Busy(PathBuf),
    /// More notes than are kept.
    #[error("{0} bytes of notes are more than are kept for a version, which is {NOTES}")]
    Notes(usize),
    /// No version is under way, so there is nothing to swap, settle or take back.
    #[error("no version is under way in {}", .0.display())]
    Idle(PathBuf),
}

impl Store {
    /// Opens the directory of a set, makes what is missing, and brings it into order after whatever
    /// ended the last process.
    ///
    /// # Errors
    /// It cannot be made or read, belongs to another process, or something foreign is in the way.
    pub fn open(directory: impl Into<PathBuf>) -> Result<(Self, Recovery), StoreError> {
        let directory = directory.into();
        let failed = |doing| {
            let path = directory.clone();
            move |reason| StoreError::Io { doing, path, reason }
        };
        fs::create_dir_all(&directory).map_err(failed("making the folder"))?;
        let root = Folder::at(&directory).map_err(failed("opening"))?;
        let versions = versions(&root).map_err(|reason| StoreError::Io {
            doing: "opening",
            path: directory.join(VERSIONS),
            reason,
        })?;
        let lock = lock(&versions).map_err(failed("locking"))?;
        let lock = lock.ok_or_else(|| StoreError::Busy(directory.clone()))?;
        let journal = Journal::default();
        let mut store = Self { directory, root, versions, journal, current: None, _lock: lock };
        let recovery = store.recover()?;
        Ok((store, recovery))
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The folder of a version.
    #[must_use]
    pub fn folder_of(&self, version: Version) -> PathBuf {
        self.directory.join(VERSIONS).join(version.to_string())
    }

    /// The version that the links lead to.
    #[must_use]
    pub fn current(&self) -> Option<Version> {
        self.current
    }

    /// The version that the app confirmed last.
    #[must_use]
    pub fn confirmed(&self) -> Option<Version> {
        self.journal.confirmed
    }

    /// The version that is under way.
    #[must_use]
    pub fn trying(&self) -> Option<Trying> {
        self.journal.trying
    }

    /// Versions that something is noted for, with it, the oldest first: each has leases until it is
    /// forgotten, also when its files are gone.
    pub fn notes(&self) -> impl Iterator<Item = (Version, &[u8])> {
        self.journal.notes.iter().map(|(version, notes)| (*version, notes.0.as_slice()))
    }

    /// Replaces what is noted for a version.
    ///
    /// # Errors
    /// The journal cannot be written, or that is too much.
    pub fn note(&mut self, version: Version, notes: Vec<u8>) -> Result<(), StoreError> {
        bounded(&notes)?;
        self.record(|journal| journal.note(version, notes))
    }

    /// Forgets what is noted for a version.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn forget(&mut self, version: Version) -> Result<(), StoreError> {
        self.record(|journal| drop(journal.notes.remove(&version)))
    }

    /// Whether what is written here stays in memory, and never reaches a disk.
    ///
    /// # Errors
    /// The system does not say.
    pub fn is_memory_backed(&self) -> Result<bool, StoreError> {
        self.root.is_memory_backed().map_err(self.failed("looking at the file system of", ""))
    }

    /// What the files of this draft would change. Touches nothing.
    ///
    /// # Errors
    /// What is there cannot be read.
    pub fn difference(&self, draft: &Draft) -> Result<Difference, StoreError> {
        let Some(current) = self.current else { return Ok(Difference::Files) };
        let reading = |folder: Folder| files::is_same(&folder, draft);
        let is_same = match self.versions.folder(current.to_string()).and_then(reading) {
            Ok(is_same) => is_same,
            // Somebody has changed something in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(self.failed("comparing", &path_of(current))(error)),
        };
        Ok(match (is_same, self.journal.confirmed == Some(current)) {
            (false, _) => Difference::Files,
            (true, false) => Difference::Unconfirmed,
            (true, true) => Difference::None,
        })
    }

    /// Writes the next version beside the others, where no link leads to it yet.
    ///
    /// # Errors
    /// It cannot be written whole; [`Store::drop_tried`] removes what there is of it.
    pub fn stage(
        &mut self,
        draft: &Draft,
        notes: Vec<u8>,
        observe: &mut Observer<'_>,
    ) -> Result<Version, StoreError> {
        bounded(&notes)?;
        for top in draft.tops() {
            self.link_of(&top)?;
        }
        let version = self.journal.last + 1;
        let before = self.journal.confirmed.or(self.current);
        self.record(|journal| {
            journal.last = version;
            journal.trying = Some(Trying { version, before, returning: false });
            journal.note(version, notes);
        })?;
        observe(Step::Begun);
        let path = path_of(version);
        let folder = self
            .versions
            .make(&version.to_string())
            .map_err(self.failed("making the folder", &path))?;
        observe(Step::FolderMade);
        files::write(&folder, draft, observe).map_err(|(name, reason)| {
            let path = name.map_or(path.clone(), |name| format!("{path}/{name}"));
            self.failed("writing", &path)(reason)
        })?;
        self.versions.sync().map_err(self.failed("writing", VERSIONS))?;
        observe(Step::Staged);
        Ok(version)
    }

    /// Tries the current version once more, because nobody has confirmed it.
    ///
    /// # Errors
    /// There is none, or the journal cannot be written.
    pub fn resume(&mut self) -> Result<Version, StoreError> {
        let version = self.current.ok_or_else(|| StoreError::Idle(self.directory.clone()))?;
        let before = self.journal.confirmed.filter(|confirmed| *confirmed != version);
        let trying = Some(Trying { version, before, returning: false });
        if self.journal.trying != trying {
            self.record(|journal| journal.trying = trying)?;
        }
        Ok(version)
    }

    /// Lets all names lead to the version that is under way, at one stroke.
    ///
    /// # Errors
    /// Where it fails, [`Store::go_back`] is the way out, as `current` may have been swapped.
    pub fn swap(&mut self, observe: &mut Observer<'_>) -> Result<(), StoreError> {
        let version = self.under_way()?.version;
        let path = path_of(version);
        let folder =
            self.versions.folder(version.to_string()).map_err(self.failed("opening", &path))?;
        folder.set_mode(files::OPENED).map_err(self.failed("opening to the app", &path))?;
        self.lead_to(version, observe)?;
        observe(Step::Swapped);
        self.align()?;
        observe(Step::Aligned);
        Ok(())
    }

    /// Records that the app uses the version that is under way, and removes the oldest ones but
    /// `keep`.
    ///
    /// # Errors
    /// The journal cannot be written: the version stays unconfirmed. Or an old version cannot be
    /// removed, after the record.
    pub fn settle(&mut self, keep: usize, observe: &mut Observer<'_>) -> Result<(), StoreError> {
        let version = self.under_way()?.version;
        self.record(|journal| {
            journal.confirmed = Some(version);
            journal.trying = None;
        })?;
        observe(Step::Settled);
        self.prune(keep)?;
        observe(Step::Pruned);
        Ok(())
    }

    /// Lets all names lead to the version before the one that is under way, which stays on record
    /// until [`Store::drop_tried`], so that after a crash the app is told. Returns the version that
    /// the names lead to now; `None` where there is nothing older, and nothing was done.
    ///
    /// # Errors
    /// The names lead to the version that is under way, as before; it can be tried again.
    pub fn go_back(&mut self, observe: &mut Observer<'_>) -> Result<Option<Version>, StoreError> {
        let trying = self.under_way()?;
        let Some(before) = trying.before else { return Ok(None) };
        let returning = Some(Trying { returning: true, ..trying });
        // A full disk must not keep us from the old version. That this was not recorded is said by
        // the record that follows.
        let _unrecorded = self.record(|journal| journal.trying = returning);
        observe(Step::Returning);
        if self.current != Some(before) {
            self.lead_to(before, observe)?;
        }
        self.align()?;
        observe(Step::Returned);
        Ok(Some(before))
    }

    /// Removes the version that is under way, unless names lead to it. Its notes stay.
    ///
    /// # Errors
    /// It cannot be removed, or the journal cannot be written.
    pub fn drop_tried(&mut self, observe: &mut Observer<'_>) -> Result<(), StoreError> {
        let version = self.under_way()?.version;
        if self.current != Some(version) && self.journal.confirmed != Some(version) {
            self.remove(version)?;
        }
        self.record(|journal| journal.trying = None)?;
        observe(Step::Dropped);
        Ok(())
    }

    fn under_way(&self) -> Result<Trying, StoreError> {
        self.journal.trying.ok_or_else(|| StoreError::Idle(self.directory.clone()))
    }

    /// Changes the journal, on disk first.
    fn record(&mut self, change: impl FnOnce(&mut Journal)) -> Result<(), StoreError> {
        let mut journal = self.journal.clone();
        change(&mut journal);
        journal.write(&self.versions).map_err(self.failed("writing the journal in", VERSIONS))?;
        self.journal = journal;
        Ok(())
    }

    /// Swaps `current`. Whoever watches the directory sees a rename onto that name.
    fn lead_to(&mut self, version: Version, observe: &mut Observer<'_>) -> Result<(), StoreError> {
        let target = path_of(version);
        self.root.remove(NEXT).map_err(self.failed("removing", NEXT))?;
        self.root.link(&target, NEXT).map_err(self.failed("making the link", NEXT))?;
        observe(Step::LinkMade);
        self.root.rename(NEXT, CURRENT).map_err(self.failed("swapping", CURRENT))?;
        self.current = Some(version);
        self.root.sync().map_err(self.failed("writing", ""))
    }

    /// Makes a link for each name of the current version, and removes those of other names.
    fn align(&self) -> Result<(), StoreError> {
        let wanted = match self.current {
            Some(current) => {
                let folder = self.versions.folder(current.to_string());
                folder
                    .and_then(|folder| folder.names())
                    .map_err(self.failed("reading", &path_of(current)))?
            }
            None => Vec::new(),
        };
        let mut has_changed = false;
        for name in wanted.iter().filter_map(|name| name.to_str()) {
            if self.link_of(name)?.is_none() {
                let target = format!("{CURRENT}/{name}");
                self.root.link(&target, name).map_err(self.failed("making the link", name))?;
                has_changed = true;
            }
        }
        for name in self.root.names().map_err(self.failed("reading", ""))? {
            let Some(name) = name.to_str().filter(|name| !wanted.iter().any(|it| it == name))
            else {
                continue;
            };
            if !RESERVED.contains(&name) && matches!(self.link_of(name), Ok(Some(_))) {
                self.root.remove(name).map_err(self.failed("removing", name))?;
                has_changed = true;
            }
        }
        match has_changed {
            true => self.root.sync().map_err(self.failed("writing", "")),
            false => Ok(()),
        }
    }

    /// Our link of this name; `None`: the name is free.
    fn link_of(&self, name: &str) -> Result<Option<()>, StoreError> {
        let looking = self.failed("looking at", name);
        let target = self.root.link_target(name).map_err(looking)?;
        let kind = self.root.kind(name).map_err(self.failed("looking at", name))?;
        match (kind, target) {
            (None, _) => Ok(None),
            (Some(_), Some(target)) if target == *format!("{CURRENT}/{name}") => Ok(Some(())),
            (Some(_), _) => Err(StoreError::Foreign {
                path: self.directory.join(name),
                rule: "the link of a file of this set belongs there",
            }),
        }
    }

    /// Removes old versions but the newest `keep` of them.
    fn prune(&self, keep: usize) -> Result<(), StoreError> {
        let mut old = self.numbered()?;
        old.retain(|version| !self.is_needed(*version));
        old.sort_unstable_by(|one, other| other.cmp(one));
        old.into_iter().skip(keep).try_for_each(|version| self.remove(version))
    }

    /// Whether names lead to a version, or may have to lead there again.
    fn is_needed(&self, version: Version) -> bool {
        let trying = self.journal.trying;
        let way_back = trying.and_then(|trying| trying.before);
        let needed = [self.current, self.journal.confirmed, trying.map(|it| it.version), way_back];
        needed.contains(&Some(version))
    }

    /// The versions that have a folder.
    fn numbered(&self) -> Result<Vec<Version>, StoreError> {
        let names = self.versions.names().map_err(self.failed("reading", VERSIONS))?;
        Ok(names.iter().filter_map(|name| number(name.to_str()?)).collect())
    }

    fn remove(&self, version: Version) -> Result<(), StoreError> {
        let removed = self.versions.remove(version.to_string());
        removed.map_err(self.failed("removing", &path_of(version)))
    }

    fn failed(&self, doing: &'static str, path: &str) -> impl Fn(io::Error) -> StoreError + use<> {
        let path = self.directory.join(path);
        move |reason| StoreError::Io { doing, path: path.clone(), reason }
    }
}

/// Where `current` leads to, relative to the directory.
fn path_of(version: Version) -> String {
    format!("{VERSIONS}/{version}")
}

/// The version of a folder; names that no version of ours has, such as `007`, are none.
fn number(name: &str) -> Option<Version> {
    name.parse().ok().filter(|version: &Version| *version > 0 && version.to_string() == name)
}

fn bounded(notes: &[u8]) -> Result<(), StoreError> {
    if notes.len() > NOTES { Err(StoreError::Notes(notes.len())) } else { Ok(()) }
}

fn versions(root: &Folder) -> io::Result<Folder> {
    if root.kind(VERSIONS)?.is_none() {
        root.make(VERSIONS)?.set_mode(WALKED)?;
        root.sync()?;
    }
    root.folder(VERSIONS)
}

/// The lock of the set; `None`: another process has it, or another store of this one.
fn lock(versions: &Folder) -> io::Result<Option<Flock<File>>> {
    use nix::errno::Errno;
    use nix::fcntl::FlockArg;
    let file = match versions.kind(LOCK)? {
        Some(Kind::File) => versions.open(LOCK)?.0,
        Some(Kind::Folder | Kind::Link | Kind::Other) | None => versions.create(LOCK)?,
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}
