//! What the kernel tells about folders (inotify). It is only ever a hint where to look.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use inotify::{Event, EventMask, Inotify, WatchDescriptor, WatchMask};
use pillion_runtime::readable::Readable;
use smallvec::SmallVec;

/// What is read of the kernel's queue at a time; a notice has up to 272 bytes.
const BUFFER: usize = 32 << 10;

/// One hint.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// Something was written to this file.
    Written(PathBuf),
    /// This name leads elsewhere, or nowhere, or may be opened now.
    Look(PathBuf),
    /// What had the first name has the second.
    Moved(PathBuf, PathBuf),
    /// What had this name is out of sight.
    MovedAway(PathBuf),
    /// Anything may have happened: notices were lost, or a folder came or went.
    Anything,
}

/// The watched folders.
#[derive(Debug)]
pub(super) struct Notices {
    inotify: Inotify,
    readable: Readable,
    /// The same folder may be reached by several paths.
    folders: HashMap<WatchDescriptor, SmallVec<[Arc<Path>; 1]>>,
    watched: HashMap<Arc<Path>, WatchDescriptor>,
    buffer: Box<[u8]>,
    pending: Vec<Notice>,
    /// A move whose second half has not come yet.
    moving: Option<(u32, PathBuf)>,
}

impl Notices {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// When the user has no inotify instance left, or the process no descriptor.
    pub(super) fn new() -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let readable = Readable::of(&inotify)?;
        Ok(Self {
            inotify,
            readable,
            folders: HashMap::new(),
            watched: HashMap::new(),
            buffer: vec![0; BUFFER].into(),
            pending: Vec::new(),
            moving: None,
        })
    }

    /// Watches a folder; says whether it was not watched before. One that is gone or not ours to read is
    /// left out.
    ///
    /// # Errors
    /// When the user has no watch left.
    pub(super) fn watch(&mut self, folder: &Path) -> io::Result<bool> {
        if self.watched.contains_key(folder) {
            return Ok(false);
        }
        match self.inotify.watches().add(folder, mask()) {
            Ok(descriptor) => {
                let folder: Arc<Path> = folder.into();
                self.watched.insert(folder.clone(), descriptor.clone());
                self.folders.entry(descriptor).or_default().push(folder);
                Ok(true)
            }
            Err(error) if is_about_the_folder(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Stops watching all folders but these.
    pub(super) fn keep(&mut self, wanted: &BTreeSet<PathBuf>) {
        let unwanted: Vec<Arc<Path>> =
            self.watched.keys().filter(|folder| !wanted.contains(&***folder)).cloned().collect();
        for folder in unwanted {
            let Some(descriptor) = self.watched.remove(&folder) else { continue };
            let Some(paths) = self.folders.get_mut(&descriptor) else { continue };
            paths.retain(|path| *path != folder);
            if paths.is_empty() {
                self.folders.remove(&descriptor);
                // Fails when the folder is gone, and the watch with it.
                drop(self.inotify.watches().remove(descriptor));
            }
        }
    }

    /// What has been told by now.
    ///
    /// # Errors
    /// When the kernel's queue cannot be read.
    pub(super) fn drain(&mut self) -> io::Result<Vec<Notice>> {
        loop {
            match self.inotify.read_events(&mut self.buffer) {
                Ok(events) => {
                    let mut told = Told {
                        folders: &mut self.folders,
                        watched: &mut self.watched,
                        moving: &mut self.moving,
                        notices: &mut self.pending,
                    };
                    events.for_each(|event| told.take(&event));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        // The kernel queues both halves of a move at once: what is alone now went elsewhere.
        if let Some((_, from)) = self.moving.take() {
            self.pending.push(Notice::MovedAway(from));
        }
        Ok(std::mem::take(&mut self.pending))
    }

    /// Waits until there is something to drain. Cancel-safe.
    ///
    /// # Errors
    /// When the kernel's queue cannot be read.
    pub(super) async fn wait(&mut self) -> io::Result<()> {
        let Self { inotify, readable, folders, watched, buffer, pending, moving } = self;
        readable
            .read(|| match inotify.read_events(buffer) {
                Ok(events) => {
                    let mut told = Told { folders, watched, moving, notices: pending };
                    events.for_each(|event| told.take(&event));
                    Ok(Some(()))
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(error) => Err(error),
            })
            .await
    }
}

/// Makes notices of events.
struct Told<'a> {
    folders: &'a mut HashMap<WatchDescriptor, SmallVec<[Arc<Path>; 1]>>,
    watched: &'a mut HashMap<Arc<Path>, WatchDescriptor>,
    moving: &'a mut Option<(u32, PathBuf)>,
    notices: &'a mut Vec<Notice>,
}

impl Told<'_> {
    fn take(&mut self, event: &Event<&OsStr>) {
        if event.mask.intersects(EventMask::IGNORED) {
            // The folder is gone, and the watch with it.
            for path in self.folders.remove(&event.wd).unwrap_or_default() {
                self.watched.remove(&path);
            }
        }
        let (Some(name), false) = (event.name, event.mask.contains(EventMask::ISDIR)) else {
            if self.notices.last() != Some(&Notice::Anything) {
                self.notices.push(Notice::Anything);
            }
            return;
        };
        let Some(folders) = self.folders.get(&event.wd) else { return };
        for folder in folders {
            let path = folder.join(name);
            if event.mask.contains(EventMask::MODIFY) {
                self.notices.push(Notice::Written(path));
            } else if event.mask.contains(EventMask::MOVED_FROM) {
                if let Some((_, lone)) = self.moving.replace((event.cookie, path)) {
                    self.notices.push(Notice::MovedAway(lone));
                }
            } else if event.mask.contains(EventMask::MOVED_TO)
                && let Some((_, from)) = self.moving.take_if(|(cookie, _)| *cookie == event.cookie)
            {
                self.notices.push(Notice::Moved(from, path));
            } else {
                self.notices.push(Notice::Look(path));
            }
        }
    }
}

fn is_about_the_folder(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}

fn mask() -> WatchMask {
    WatchMask::MODIFY
        | WatchMask::ATTRIB
        | WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR
}
