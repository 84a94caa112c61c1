//! The folders in which something can happen that changes what a path leads to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows.
const LINKS: usize = 40;
/// Folders within a folder are looked into down to here.
const DEPTH: usize = 16;
/// More files or folders of one folder are not looked at.
const ENTRIES: usize = 10_000;

/// Where to watch, and for which names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Folders that exist.
    pub(super) folders: BTreeSet<PathBuf>,
    /// The names in them that lie on the way.
    names: BTreeSet<OsString>,
    /// Whether the way ends in a folder, so that every name matters.
    is_folder: bool,
}

impl Places {
    /// Whether a change of `name` in one of the folders matters.
    pub(super) fn concern(&self, name: &OsStr) -> bool {
        self.is_folder || self.names.contains(name)
    }

    fn add(&mut self, folder: &Path, name: OsString) {
        self.folders.insert(folder.to_owned());
        self.names.insert(name);
    }

    /// Adds a folder and those in it. One that cannot be read is looked at from time to time only.
    fn add_within(&mut self, folder: PathBuf, depth: usize) {
        if depth > 0 && self.folders.len() < ENTRIES {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    self.add_within(entry.path(), depth - 1);
                }
            }
            self.folders.insert(folder);
        }
    }
}

/// Every file in a folder and the folders in it, as names relative to it with where they lie, in
/// order. Links are followed. Names that begin with two dots are left out: they are how a `ConfigMap`
/// volume holds its versions, and what its other names lead to.
///
/// # Errors
/// Something cannot be read, or there are more than 10,000 files or 16 folders in each other.
pub fn files_within(folder: &Path) -> io::Result<BTreeMap<OsString, PathBuf>> {
    let mut files = BTreeMap::new();
    collect(folder, OsStr::new(""), DEPTH, &mut files)?;
    Ok(files)
}

fn collect(
    folder: &Path,
    before: &OsStr,
    depth: usize,
    files: &mut BTreeMap<OsString, PathBuf>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (entry, mut name) = (entry?, before.to_owned());
        if entry.file_name().as_encoded_bytes().starts_with(b"..") {
            continue;
        }
        name.push(entry.file_name());
        let path = entry.path();
        if fs::metadata(&path)?.is_dir() {
            name.push("/");
            let depth = depth.checked_sub(1).ok_or(io::ErrorKind::QuotaExceeded)?;
            collect(&path, &name, depth, files)?;
        } else {
            files.insert(name, path);
        }
        if files.len() > ENTRIES {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
    }
    Ok(())
}

/// Walks along `path` and collects the folder of the file, the folders of all links on the way, and,
/// where the way ends early, the last folder that exists. Where it ends in a folder, that folder and
/// all in it.
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
            Ok(metadata) if metadata.is_dir() => {
                places.add(&here, name);
                places.is_folder = true;
                places.add_within(next, DEPTH);
                break;
            }
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
