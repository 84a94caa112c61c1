//! The folders in which something can happen that changes what a path leads to.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows.
const LINKS: usize = 40;

/// Where to watch, and for which names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Folders that exist.
    pub(super) folders: BTreeSet<PathBuf>,
    /// The names in them that lie on the way.
    names: BTreeSet<OsString>,
}

impl Places {
    /// Whether a change of `name` in one of the folders matters.
    pub(super) fn concern(&self, name: &OsStr) -> bool {
        self.names.contains(name)
    }

    fn add(&mut self, folder: &Path, name: OsString) {
        self.folders.insert(folder.to_owned());
        self.names.insert(name);
    }
}

/// Walks along `path` and collects the folder of the file, the folders of all links on the way, and,
/// where the way ends early, the last folder that exists.
///
/// # Errors
/// When `path` is relative and there is no working directory.
pub(super) fn places(path: &Path) -> io::Result<Places> {
    let mut places = Places::default();
    let mut way: VecDeque<OsString> = steps(&std::path::absolute(path)?);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = way.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        match fs::symlink_metadata(&next) {
            Ok(metadata) if metadata.is_symlink() && links < LINKS => {
                links += 1;
                places.add(&here, name);
                let target = fs::read_link(&next).unwrap_or_default();
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                for step in steps(&target).into_iter().rev() {
                    way.push_front(step);
                }
            }
            Ok(metadata) if metadata.is_dir() && !way.is_empty() => here = next,
            // The file, or where the way ends.
            Ok(_) | Err(_) => {
                places.add(&here, name);
                break;
            }
        }
    }
    Ok(places)
}

fn steps(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect()
}
