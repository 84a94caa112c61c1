//! Programs of others that tests speak to.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{Capture, eventually_some};

const HOW_TO_GET_IT: &str = "run `cargo xtask setup`";

/// The Python that `cargo xtask setup` prepares, with its packages.
///
/// # Panics
/// When it is not there.
pub fn python() -> PathBuf {
    let cache = std::env::var_os("PILLION_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        Path::new(&std::env::var_os("HOME").expect("HOME is set")).join(".cache/pillion")
    });
    let python = cache.join("python/test/bin/python");
    assert!(python.exists(), "{} is missing: {HOW_TO_GET_IT}", python.display());
    python
}

/// The path of an installed program.
///
/// # Panics
/// When it is not there.
pub fn tool(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("PATH is set");
    // Debian keeps servers where only root looks for them.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: {HOW_TO_GET_IT}"))
}

/// A server, ended with the test.
pub struct Peer {
    child: Child,
    /// What it writes on standard output.
    pub stdout: Capture,
    /// What it writes on standard error.
    pub stderr: Capture,
}

impl Peer {
    /// Starts a program.
    pub fn start(program: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("starting {}: {error}", program.display()));
        let stdout = Capture::of(child.stdout.take().unwrap());
        let stderr = Capture::of(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// Starts a Python script that prints `port N` once it listens, and returns its address too.
    pub fn python(script: &Path, arguments: &[&str]) -> (Self, SocketAddr) {
        let script = [script.as_os_str()];
        let arguments = arguments.iter().map(OsStr::new);
        let peer = Self::start(&python(), script.into_iter().chain(arguments));
        let port = eventually_some(("a port of", script), || {
            let text = peer.stdout.text();
            text.lines().find_map(|line| line.strip_prefix("port ")?.parse::<u16>().ok())
        });
        (peer, (Ipv4Addr::LOCALHOST, port).into())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- peer\n{}{}", self.stdout.text(), self.stderr.text());
        }
    }
}
