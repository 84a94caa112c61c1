//! Tests only: a small file system of a test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

/// A small file system that only this thread, and what it starts, can see.
pub(crate) struct SmallDisk(pub(crate) PathBuf);

impl SmallDisk {
    pub(crate) fn mount(folder: &Path, size: &str) -> Self {
        unshare(CloneFlags::CLONE_NEWNS).expect("this test mounts a tmpfs: run it as root");
        mount(["--make-rprivate".as_ref(), Path::new("/")]);
        let size = format!("size={size}");
        mount([
            "-t".as_ref(),
            "tmpfs".as_ref(),
            "-o".as_ref(),
            size.as_ref(),
            "none".as_ref(),
            folder,
        ]);
        Self(folder.to_owned())
    }

    pub(crate) fn remount(&self, how: &str) {
        mount(["-o".as_ref(), format!("remount,{how}").as_ref(), &*self.0]);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

pub(crate) fn mount<const N: usize>(arguments: [&Path; N]) {
    let mounted = Command::new("mount").args(arguments).status().unwrap();
    assert!(mounted.success(), "mount {arguments:?}");
}
