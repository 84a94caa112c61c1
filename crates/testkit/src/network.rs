//! A network and a view of `/etc` that belong to one test alone.

use std::fs;
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::Command;
use std::thread;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::{eventually, tool};

/// One name server, which is given as long as the machine may need under load.
const RESOLV_CONF: &str = "nameserver 127.0.0.1\noptions timeout:20 attempts:1\n";
/// One name server, asked once and for a second: a test of silence is over soon.
const IMPATIENT: &str = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
const HOSTS: &str = "127.0.0.1 localhost\n";

/// A network with nothing but loopback, in which every port is free; its name server is 127.0.0.1.
pub struct Network {
    folder: TempDir,
}

/// Runs `test` in a network of its own. The threads and programs that it starts, such as a
/// [`Pillion`](crate::Pillion), share it.
///
/// # Panics
/// When the system does not allow that, with the step that it refused and what it takes.
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
        leave_the_others();
        let network = Self { folder: TempDir::with_prefix("pillion-network-").unwrap() };
        network.write_resolv_conf(RESOLV_CONF);
        network.write_hosts(HOSTS);
        for name in ["resolv.conf", "hosts"] {
            let (here, there) = (network.folder.path().join(name), Path::new("/etc").join(name));
            let mounted = mount(Some(&here), &there, None::<&str>, MsFlags::MS_BIND, None::<&str>);
            or_refused(mounted, &format!("mount another {}", there.display()));
        }
        network.ip("link set lo up");
        network
    }

    /// Makes lookups that nobody answers fail after a second.
    pub fn expect_silence(&self) {
        self.write_resolv_conf(IMPATIENT);
    }

    /// Replaces what `/etc/resolv.conf` says.
    pub fn write_resolv_conf(&self, text: &str) {
        fs::write(self.folder.path().join("resolv.conf"), text).unwrap();
    }

    /// Replaces what `/etc/hosts` says.
    pub fn write_hosts(&self, text: &str) {
        fs::write(self.folder.path().join("hosts"), text).unwrap();
    }

    /// From now on whatever is sent to this address vanishes without a word, on open connections
    /// too: as if its machine had lost its power.
    pub fn lose(&self, address: IpAddr) {
        // The rule of local addresses is the first of all, unless it is moved.
        self.ip("rule add pref 2 lookup local");
        self.ip("rule del pref 0");
        self.ip(&format!("rule add pref 1 to {address} blackhole"));
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

/// Gives this thread a network and mounts that nobody else sees.
fn leave_the_others() {
    let both = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    eventually("room for one more network", || match unshare(both) {
        // Networks of tests that have ended are cleared away later, and count until then.
        Err(Errno::ENOSPC | Errno::ENOMEM | Errno::EAGAIN) => false,
        answer => {
            or_refused(answer, "unshare network and mounts");
            true
        }
    });
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    let mounted = mount(None::<&str>, "/", None::<&str>, private, None::<&str>);
    or_refused(mounted, "make all mounts private");
}

fn or_refused(answer: nix::Result<()>, step: &str) {
    let Err(error) = answer else { return };
    panic!(
        "no network of its own for this test: the kernel refused to {step}: {error}. It takes root \
         with CAP_SYS_ADMIN, network and mount namespaces in the kernel, and, in a container, a \
         profile that lets unshare and mount through; /etc/resolv.conf and /etc/hosts must exist"
    );
}
