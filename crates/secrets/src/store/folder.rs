//! A folder that is held open: every name is looked up in it and nowhere else, and no link is
//! followed. Whoever may write into the directory of a set cannot lead us out of it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};
use nix::unistd::{UnlinkatFlags, fsync, geteuid, symlinkat, unlinkat};

/// Folders while they are being written.
const CLOSED: Mode = Mode::S_IRWXU;
/// More names of one folder are not read.
const NAMES: usize = 100_000;
/// `RAMFS_MAGIC` of the kernel, which has no name in the library.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

/// What a name stands for; links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Link,
    Other,
}

impl Folder {
    /// Opens a folder that a user named: the way to it may have links.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self(open(path, flags, Mode::empty())?))
    }

    /// Makes a folder in this one, for us alone.
    pub(super) fn make(&self, name: &str) -> io::Result<Self> {
        mkdirat(&self.0, name, CLOSED)?;
        self.folder(name)
    }

    /// Opens a folder in this one.
    ///
    /// # Errors
    /// Also when it is a link, belongs to somebody else, or others may write into it.
    pub(super) fn folder(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let folder = Self(openat(&self.0, name.as_ref(), flags, Mode::empty())?);
        let stat = fstat(&folder.0)?;
        let open_to_others = stat.st_mode & (Mode::S_IWGRP | Mode::S_IWOTH).bits() != 0;
        if stat.st_uid != geteuid().as_raw() || open_to_others {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "others can write into it, or it is not ours",
            ));
        }
        Ok(folder)
    }

    /// Makes a file that nobody but us can read or write yet.
    ///
    /// # Errors
    /// Also when the name is taken.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(&self.0, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?.into())
    }

    /// Opens a regular file to read, or to lock.
    pub(super) fn open(&self, name: &str) -> io::Result<(File, FileStat)> {
        // Without waiting: somebody may have put a pipe there.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(&self.0, name, flags, Mode::empty())?;
        let stat = fstat(&file)?;
        match kind(&stat) {
            Kind::File => Ok((file.into(), stat)),
            Kind::Folder | Kind::Link | Kind::Other => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Reads a regular file.
    ///
    /// # Errors
    /// Also when it has more than `limit` bytes.
    pub(super) fn read(&self, name: &str, limit: usize) -> io::Result<Vec<u8>> {
        let (file, _) = self.open(name)?;
        let mut bytes = Vec::new();
        file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        match bytes.len() > limit {
            true => Err(io::ErrorKind::FileTooLarge.into()),
            false => Ok(bytes),
        }
    }

    /// What a name stands for; `None`: nothing.
    pub(super) fn kind(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Kind>> {
        match fstatat(&self.0, name.as_ref(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(kind(&stat))),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Where a link leads to; `None`: there is no link of that name.
    pub(super) fn link_target(&self, name: impl AsRef<OsStr>) -> io::Result<Option<OsString>> {
        match readlinkat(&self.0, name.as_ref()) {
            Ok(target) => Ok(Some(target)),
            Err(Errno::ENOENT | Errno::EINVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a link.
    pub(super) fn link(&self, target: &str, name: &str) -> io::Result<()> {
        Ok(symlinkat(target, &self.0, name)?)
    }

    /// Renames within this folder; what had the new name is gone, all at once.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.0, from, &self.0, to)?)
    }

    /// Every name in it, without `.` and `..`, ordered.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = Dir::openat(self.0.as_fd(), ".", flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
            if names.len() > NAMES {
                return Err(io::ErrorKind::QuotaExceeded.into());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Removes a file, a link, or a folder with all that is in it; nothing there is fine.
    pub(super) fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        self.remove_within(name.as_ref(), super::draft::DEPTH + 1)
    }

    fn remove_within(&self, name: &OsStr, depth: usize) -> io::Result<()> {
        let flag = match self.kind(name)? {
            None => return Ok(()),
            Some(Kind::Folder) => {
                if depth == 0 {
                    return Err(io::ErrorKind::QuotaExceeded.into());
                }
                let folder = self.folder(name)?;
                for inner in folder.names()? {
                    folder.remove_within(&inner, depth - 1)?;
                }
                UnlinkatFlags::RemoveDir
            }
            Some(Kind::File | Kind::Link | Kind::Other) => UnlinkatFlags::NoRemoveDir,
        };
        match unlinkat(&self.0, name, flag) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sets its permission bits.
    pub(super) fn set_mode(&self, mode: Mode) -> io::Result<()> {
        Ok(fchmod(&self.0, mode)?)
    }

    /// Waits until its names are on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(fsync(&self.0)?)
    }

    /// Whether what is written here stays in memory.
    pub(super) fn is_memory_backed(&self) -> io::Result<bool> {
        let kind = fstatfs(&self.0)?.filesystem_type();
        Ok(kind == TMPFS_MAGIC || kind == RAMFS_MAGIC)
    }
}

fn kind(stat: &FileStat) -> Kind {
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => Kind::File,
        SFlag::S_IFDIR => Kind::Folder,
        SFlag::S_IFLNK => Kind::Link,
        _ => Kind::Other,
    }
}
