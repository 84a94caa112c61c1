//! The kernel's notices about folders (inotify).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use inotify::{Event, Inotify, WatchDescriptor, WatchMask};

use super::folders::{Places, places};
use crate::readable::Readable;

/// Folders may change while they are being armed; so often we begin again.
const ATTEMPTS: usize = 8;

/// Watches on the folders along one path.
#[derive(Debug)]
pub(super) struct Notices {
    inotify: Inotify,
    readable: Readable,
    watched: BTreeMap<PathBuf, WatchDescriptor>,
    places: Places,
}

impl Notices {
    /// Without any watch yet.
    ///
    /// # Errors
    /// When the user has no inotify instance or the process no descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let readable = Readable::of(&inotify)?;
        Ok(Self { inotify, readable, watched: BTreeMap::new(), places: Places::default() })
    }

    /// Puts the watches where `path` leads through now.
    ///
    /// # Errors
    /// When the user has no watch left.
    pub(super) fn arm(&mut self, path: &Path) -> io::Result<()> {
        for _ in 0..ATTEMPTS {
            let places = places(path)?;
            self.watch(&places)?;
            self.places = places;
            // A folder that appeared before its watch did has told nobody.
            if super::folders::places(path)? == self.places {
                break;
            }
        }
        Ok(())
    }

    fn watch(&mut self, places: &Places) -> io::Result<()> {
        let mut watched = BTreeMap::new();
        for folder in &places.folders {
            match self.inotify.watches().add(folder, mask()) {
                Ok(descriptor) => {
                    watched.insert(folder.clone(), descriptor);
                }
                // Gone again: the way is walked once more. Not ours to read: the link or file in it
                // is followed all the same, and looked at from time to time.
                Err(error) if is_about_the_folder(&error) => {}
                Err(error) => return Err(error),
            }
        }
        for (_, old) in std::mem::replace(&mut self.watched, watched) {
            if self.watched.values().all(|descriptor| *descriptor != old) {
                // Fails when the folder is gone, and the watch with it.
                drop(self.inotify.watches().remove(old));
            }
        }
        Ok(())
    }

    /// Waits until something happens to a name on the way, or to one of the folders. Cancel-safe.
    ///
    /// # Errors
    /// When the kernel's queue cannot be read.
    pub(super) async fn next(&mut self) -> io::Result<()> {
        let Self { inotify, readable, places, .. } = self;
        let mut buffer = [0; 4096];
        // An event without a name is about a folder itself, or says that others were lost.
        let matters = |event: Event<&OsStr>| event.name.is_none_or(|name| places.concern(name));
        readable
            .read(|| {
                loop {
                    match inotify.read_events(&mut buffer) {
                        Ok(mut events) => {
                            if events.any(matters) {
                                return Ok(Some(()));
                            }
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                        Err(error) => return Err(error),
                    }
                }
            })
            .await
    }
}

fn is_about_the_folder(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}

/// `MODIFY` is left out: a writer that is not finished says nothing yet.
fn mask() -> WatchMask {
    WatchMask::CLOSE_WRITE
        | WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::ATTRIB
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR
}
