//! A small file system of a test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

/// A small file system that only this thread, and what it starts, can see.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one over a folder; `size` as `mount` understands it.
    ///
    /// # Panics
    /// When that is not allowed: it takes root.
    pub fn mount(folder: &Path, size: &str) -> Self {
        unshare(CloneFlags::CLONE_NEWNS).expect("this test mounts a tmpfs: run it as root");
        let disk = Self(folder.to_owned());
        disk.run(&["--make-rprivate", "/"]);
        disk.run(&["-t", "tmpfs", "-o", &format!("size={size}"), "none", disk.text()]);
        disk
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Changes it: `ro`, `rw`, `size=4m`.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn remount(&self, how: &str) {
        self.run(&["-o", &format!("remount,{how}"), self.text()]);
    }

    /// Makes a folder on it read-only, and leaves the rest as it is.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn freeze(&self, folder: &Path) {
        let folder = folder.to_str().unwrap();
        self.run(&["--bind", folder, folder]);
        self.run(&["-o", "remount,bind,ro", folder]);
    }

    fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn run(&self, arguments: &[&str]) {
        let mounted = Command::new("mount").args(arguments).status().unwrap();
        assert!(mounted.success(), "mount {arguments:?}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}
