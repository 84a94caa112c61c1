//! Noticing that a file, or a folder of files, has other contents: the configuration, a certificate.
//!
//! What is watched are the folders, not the file: editors, `mv` and the kubelet replace a file
//! instead of writing into it, and a folder still tells when the file is gone. Every folder in which
//! a symbolic link on the way to the file lies is watched too.

mod folders;
mod notices;

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

pub use folders::files_within;
use notices::Notices;

/// A change is reported once the folders have been quiet for this long …
const QUIET: Duration = Duration::from_millis(50);
/// … or after this long, however busy they are.
const LONGEST_SETTLING: Duration = Duration::from_secs(1);
/// How often to look where the kernel tells us nothing, because it has no watch left for us.
const POLL: Duration = Duration::from_secs(2);
/// How often to look although the kernel tells: changes on a network file system, and moves of
/// folders further up, come without a notice.
const LOOK: Duration = Duration::from_secs(30);
/// More of a file is not compared; no configuration is that large.
const COMPARED: u64 = 16 << 20;

/// Watches the contents of one file, or of all files in a folder. Neither need exist.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    /// `None`: the kernel has no watch left, so we poll.
    notices: Option<Notices>,
    last: Contents,
}

impl FileWatch {
    /// Watches `path` from now on. To be called before the file is first read, in a Tokio runtime
    /// with its I/O driver on: a change in between is then reported, and not missed.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { last: Contents::of(&path), notices: Notices::new().ok(), path }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the contents are others than at the last return, and have settled. A file that
    /// has vanished or cannot be read has changed too: whoever reads it will see why. Cancel-safe.
    pub async fn changed(&mut self) {
        loop {
            self.arm();
            if Contents::of(&self.path) == self.last {
                self.notice(LOOK, POLL).await;
                continue;
            }
            self.settle().await;
            let contents = Contents::of(&self.path);
            if contents != self.last {
                self.last = contents;
                return;
            }
        }
    }

    /// Watches the folders that the path leads through now; they may have been replaced.
    fn arm(&mut self) {
        if let Some(notices) = &mut self.notices
            && notices.arm(&self.path).is_err()
        {
            self.notices = None;
        }
    }

    /// Waits for a notice, at most `longest`; where there are none, for `blind`. Returns whether
    /// there was one.
    async fn notice(&mut self, longest: Duration, blind: Duration) -> bool {
        let Some(notices) = &mut self.notices else {
            sleep(blind).await;
            return false;
        };
        match timeout(longest, notices.next()).await {
            Ok(Ok(())) => true,
            Ok(Err(_)) => {
                self.notices = None;
                false
            }
            Err(_) => false,
        }
    }

    /// Waits until nothing happens any more, so that a file is not read while it is being written.
    async fn settle(&mut self) {
        let mut settling = Settling::begin(Instant::now());
        while let Some(wait) = settling.left(Instant::now()) {
            if self.notice(wait, wait).await {
                settling.disturb(Instant::now());
                // Something new may have appeared on the way.
                self.arm();
            }
        }
    }
}

/// When a change counts as finished.
#[derive(Clone, Copy, Debug)]
struct Settling {
    began: Instant,
    disturbed: Instant,
}

impl Settling {
    fn begin(now: Instant) -> Self {
        Self { began: now, disturbed: now }
    }

    fn disturb(&mut self, now: Instant) {
        self.disturbed = now;
    }

    /// How long to wait on; `None` when it is finished.
    fn left(&self, now: Instant) -> Option<Duration> {
        let end = (self.disturbed + QUIET).min(self.began + LONGEST_SETTLING);
        end.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

/// What is in the file, as far as a comparison needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contents {
    /// A hash of the bytes, and how many there are; of a folder, of all names and files.
    Bytes {
        hash: u64,
        length: u64,
    },
    Unreadable(io::ErrorKind),
}

impl Contents {
    fn of(path: &Path) -> Self {
        match Self::read(path) {
            Ok(contents) => contents,
            Err(error) => Self::Unreadable(error.kind()),
        }
    }

    fn read(path: &Path) -> io::Result<Self> {
        let mut seen = Seen { hasher: DefaultHasher::new(), length: 0 };
        if std::fs::metadata(path)?.is_dir() {
            for (name, file) in files_within(path)? {
                seen.hasher.write(name.as_encoded_bytes());
                // Between a name and its bytes, which could otherwise trade places.
                seen.hasher.write_u64(u64::MAX);
                seen.add(&file)?;
            }
        } else {
            seen.add(path)?;
        }
        Ok(Self::Bytes { hash: seen.hasher.finish(), length: seen.length })
    }
}

/// What was read so far.
struct Seen {
    hasher: DefaultHasher,
    length: u64,
}

impl Seen {
    fn add(&mut self, path: &Path) -> io::Result<()> {
        // Opening a pipe would wait for a writer.
        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(COMPARED).read_to_end(&mut bytes)?;
        self.hasher.write(&bytes);
        self.hasher.write_u64(metadata.len());
        self.length += metadata.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
