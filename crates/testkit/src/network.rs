//! A network and a view of `/etc` that belong to one test alone.

use std::fs;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::Command;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::tool;

/// One name server, asked once and for a second: a test of silence is over soon.
const RESOLV_CONF: &str = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
const HOSTS: &str = "127.0.0.1 localhost\n";

/// A network with nothing but loopback, in which every port is free; its name server is 127.0.0.1.
pub struct Network {
    folder: TempDir,
}

/// Runs `test` in a network of its own. The threads and programs that it starts, such as a
/// [`Pillion`](crate::Pillion), share it.
///
/// # Panics
/// When the system does not allow that: it takes root.
pub fn in_private_network(test: impl FnOnce(&Network) + Send) {
    // A thread of its own is what leaves the network of the other tests, and takes this one along.
    let name = thread::current().name().unwrap_or("test").to_owned();
    let thread = thread::Builder::new().name(name);
    let ended = thread::scope(|scope| {
        thread.spawn_scoped(scope, || test(&Network::enter())).unwrap().join()
    });
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}

impl Network {
    /// Moves this thread into a new network.
    fn enter() -> Self {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap_or_else(|error| {
            panic!("a network of its own: {error} (run these tests as root: CAP_SYS_ADMIN)")
        });
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let network = Self { folder: TempDir::with_prefix("pillion-network-").unwrap() };
        network.write_resolv_conf(RESOLV_CONF);
        network.write_hosts(HOSTS);
        for name in ["resolv.conf", "hosts"] {
            let (here, there) = (network.folder.path().join(name), Path::new("/etc").join(name));
            mount(Some(&here), &there, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .unwrap_or_else(|error| panic!("another {}: {error}", there.display()));
        }
        network.ip("link set lo up");
        network
    }

    /// Replaces what `/etc/resolv.conf` says.
    pub fn write_resolv_conf(&self, text: &str) {
        fs::write(self.folder.path().join("resolv.conf"), text).unwrap();
    }

    /// Replaces what `/etc/hosts` says.
    pub fn write_hosts(&self, text: &str) {
        fs::write(self.folder.path().join("hosts"), text).unwrap();
    }

    /// Runs `ip` with these arguments.
    ///
    /// # Panics
    /// When it fails.
    pub fn ip(&self, arguments: &str) {
        let done = Command::new(tool("ip")).args(arguments.split(' ')).output().unwrap();
        assert!(done.status.success(), "ip {arguments}: {}", done.stderr.escape_ascii());
    }
}
