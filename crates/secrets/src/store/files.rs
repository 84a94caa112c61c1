//! The files of one version: written, and compared.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

use nix::sys::stat::{Mode, fchmod};
use nix::unistd::fchown;

use super::draft::{Draft, DraftFile, FileName};
use super::folder::{Folder, Kind};
use super::step::{Observer, Step};

/// Folders that the app may walk through. What protects the contents is the mode of each file, as
/// the app may well be another user than we are.
pub(super) const OPENED: Mode = Mode::from_bits_truncate(0o755);

/// Writes every file into an empty folder and waits until all of it is on disk. The folder itself
/// stays closed to others.
///
/// # Errors
/// With the file, where it is about one.
pub(super) fn write(
    version: &Folder,
    draft: &Draft,
    observe: &mut Observer<'_>,
) -> Result<(), (Option<FileName>, io::Error)> {
    for file in draft.files() {
        write_file(version, file).map_err(|error| (Some(file.name.clone()), error))?;
        observe(Step::FileWritten);
    }
    finish(version).map_err(|error| (None, error))
}

fn write_file(version: &Folder, file: &DraftFile) -> io::Result<()> {
    let (folders, name) = file.name.parts();
    let mut inner = None;
    for part in folders {
        let here = inner.as_ref().unwrap_or(version);
        inner = Some(match here.kind(part)? {
            None => here.make(part)?,
            Some(_) => here.folder(part)?,
        });
    }
    let mut made = inner.as_ref().unwrap_or(version).create(name)?;
    // Mode and owner before the first byte; and the mode first, as somebody else's file would be
    // ours to change no longer.
    fchmod(made.as_fd(), Mode::from_bits_truncate(file.mode))?;
    if let Some(owner) = file.owner {
        fchown(made.as_fd(), Some(owner.user), Some(owner.group))?;
    }
    made.write_all(file.content.reveal())?;
    made.sync_all()
}

/// Opens the folders in a folder to others, and waits for all names to be on disk.
fn finish(folder: &Folder) -> io::Result<()> {
    for name in folder.names()? {
        if folder.kind(&name)? == Some(Kind::Folder) {
            let inner = folder.folder(&name)?;
            finish(&inner)?;
            inner.set_mode(OPENED)?;
        }
    }
    folder.sync()
}

/// Whether a folder holds what the draft says and nothing else: names, bytes, modes, owners.
pub(super) fn is_same(version: &Folder, draft: &Draft) -> io::Result<bool> {
    let mut names = Vec::new();
    collect(version, &OsString::new(), &mut names)?;
    names.sort();
    if !names.iter().eq(draft.files().iter().map(|file| file.name.as_str())) {
        return Ok(false);
    }
    for file in draft.files() {
        if !is_same_file(version, file)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_same_file(version: &Folder, file: &DraftFile) -> io::Result<bool> {
    let (folders, name) = file.name.parts();
    let mut inner = None;
    for part in folders {
        inner = Some(inner.as_ref().unwrap_or(version).folder(part)?);
    }
    let folder = inner.as_ref().unwrap_or(version);
    let (_, stat) = folder.open(name)?;
    let owned = file.owner.is_none_or(|owner| {
        owner.user.as_raw() == stat.st_uid && owner.group.as_raw() == stat.st_gid
    });
    let content = file.content.reveal();
    Ok(stat.st_mode & 0o7777 == file.mode
        && owned
        && usize::try_from(stat.st_size) == Ok(content.len())
        && zeroize::Zeroizing::new(folder.read(name, content.len())?).as_slice() == content)
}

/// Every name that is no folder, with the folders before it.
fn collect(folder: &Folder, before: &OsString, names: &mut Vec<OsString>) -> io::Result<()> {
    for name in folder.names()? {
        let mut path = before.clone();
        path.push(&name);
        match folder.kind(&name)? {
            Some(Kind::Folder) => {
                path.push("/");
                collect(&folder.folder(&name)?, &path, names)?;
            }
            Some(Kind::File | Kind::Link | Kind::Other) | None => names.push(path),
        }
    }
    Ok(())
}
