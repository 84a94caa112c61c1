//! The folder of one sink's segments: its names, what is in it, and the lock that keeps a second
//! process out.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const SEGMENT: &str = "seg";
const ASIDE: &str = "bad";

/// A folder that belongs to this process for as long as this lives.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Makes the folder if it is missing, and locks it.
    pub(crate) fn lock(path: &Path) -> io::Result<Self> {
        make(path)?;
        Ok(Self { path: path.to_owned(), lock: lock(path)? })
    }

    /// Makes the folder again after somebody removed it.
    pub(crate) fn restore(&mut self) -> io::Result<()> {
        make(&self.path)?;
        self.lock = lock(&self.path)?;
        Ok(())
    }

    /// The file of a segment.
    pub(crate) fn segment(&self, number: u64) -> PathBuf {
        segment(&self.path, number)
    }

    /// The file of the ledger.
    pub(crate) fn ledger(&self) -> PathBuf {
        ledger(&self.path)
    }

    /// Keeps a segment that cannot be read out of the way, for people to look at.
    pub(crate) fn set_aside(&self, number: u64) -> io::Result<()> {
        fs::rename(self.segment(number), aside(&self.path, number))
    }

    /// The folder itself, to have its names on the disk for certain.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing is not enough: a child that is being forked holds the same lock until it execs.
        // That it was not locked any more does no harm.
        let _was_locked = self.lock.unlock();
    }
}

/// What records say is nobody else's business.
fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Locks a folder; the lock ends with [`File::unlock`].
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => {
            let text = format!("{} is in use by another process", path.display());
            Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
        }
    }
}

/// Whether a process has the folder locked.
pub(crate) fn is_locked(path: &Path) -> bool {
    // Asking takes the lock for a moment: a shared one, so that two who ask do not see each other.
    let Ok(file) = File::open(path.join("lock")) else { return false };
    match file.try_lock_shared() {
        Ok(()) => file.unlock().is_err(),
        Err(error) => matches!(error, TryLockError::WouldBlock),
    }
}

/// The file of a segment in a folder.
pub(crate) fn segment(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.{SEGMENT}"))
}

/// Where the bytes of a segment go that cannot be read.
pub(crate) fn aside(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.{ASIDE}"))
}

/// The file of the ledger in a folder.
pub(crate) fn ledger(folder: &Path) -> PathBuf {
    folder.join("ledger")
}

/// The numbers of the segments in a folder, ascending. Other names are left alone.
pub(crate) fn segments(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = PathBuf::from(entry?.file_name());
        let stem = name.file_stem().and_then(|stem| stem.to_str());
        let number = stem.and_then(|stem| stem.parse().ok());
        if let Some(number) = number
            && segment(Path::new(""), number) == name
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}
