//! Programs of others that tests speak to.

mod collector;
mod etcd;
mod kube_api_server;
mod loki;
mod mariadb;
mod openbao;
mod opensearch;
mod postgres;
mod rsyslog;

pub use collector::{Collector, Otlp};
pub use etcd::Etcd;
pub use kube_api_server::KubeApiServer;
pub use loki::Loki;
pub use mariadb::MariaDb;
pub use openbao::OpenBao;
pub use opensearch::OpenSearch;
pub use postgres::Postgres;
pub use rsyslog::Rsyslog;

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::patience::some_within;
use crate::process::send_signal;
use crate::{Capture, PATIENCE, Signal, eventually_some};

const HOW_TO_GET_IT: &str = "run `cargo xtask setup`";

/// How long a peer may take to start. The slowest needs 4 s on a machine at rest.
const START: Duration = Duration::from_secs(120);

/// Where `cargo xtask setup` keeps what it obtained.
fn cache() -> PathBuf {
    std::env::var_os("PILLION_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        Path::new(&std::env::var_os("HOME").expect("HOME is set")).join(".cache/pillion")
    })
}

/// The Python that `cargo xtask setup` prepares, with its packages.
///
/// # Panics
/// When it is not there.
pub fn python() -> PathBuf {
    let python = cache().join("python/test/bin/python");
    assert!(python.exists(), "{} is missing: {HOW_TO_GET_IT}", python.display());
    python
}

/// The path of an installed program: what setup obtained comes first, then `PATH`.
///
/// # Panics
/// When it is not there.
pub fn tool(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("PATH is set");
    // Debian keeps servers where only root looks for them, and PostgreSQL in a folder per version.
    let postgres = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders = [cache().join("python/test/bin"), cache().join("go").join(name).join("bin")]
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(["/usr/sbin".into()])
        .chain(postgres.map(|version| version.path().join("bin")));
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: {HOW_TO_GET_IT}"))
}

/// Runs a program to its end, as a step of starting a peer.
fn run(command: &mut Command) {
    output(command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
}

/// Runs a program to its end and returns what it wrote, or what it complained about.
fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr)))
}

/// A server, ended with the test.
pub struct Peer {
    command: Command,
    child: Child,
    /// What it wrote on standard output since its last start.
    pub stdout: Capture,
    /// What it wrote on standard error since its last start.
    pub stderr: Capture,
}

impl Peer {
    /// Starts a program.
    pub fn start(program: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts a program whose environment, user or folder matters.
    pub fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
        let stdout = Capture::of(child.stdout.take().unwrap());
        let stderr = Capture::of(child.stderr.take().unwrap());
        Self { command, child, stdout, stderr }
    }

    /// Kills it if it runs, and starts it again with the same arguments.
    pub fn restart(&mut self) {
        self.kill();
        let command = std::mem::replace(&mut self.command, Command::new(""));
        *self = Self::spawn(command);
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

    /// Waits until it does what it is for.
    ///
    /// # Panics
    /// When that takes longer than two minutes, or it ends.
    pub fn wait_until_ready(&mut self, mut is_ready: impl FnMut(&Self) -> bool) {
        let program = self.command.get_program().to_owned();
        some_within(START, ("ready", &program), || {
            if let Some(status) = self.ended() {
                panic!("{} ended before it was ready: {status}", program.display());
            }
            is_ready(self).then_some(())
        });
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends a signal and waits for the end, which is forced after [`PATIENCE`].
    pub fn end(&mut self, signal: Signal) {
        if self.ended().is_none() {
            // It may end by itself meanwhile, but keeps its id until it is waited for.
            send_signal(self.pid(), signal);
        }
        let deadline = Instant::now() + PATIENCE;
        while self.ended().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let program = self.command.get_program().display();
            eprintln!("--- {program}\n{}{}", self.stdout.text(), self.stderr.text());
        }
    }
}
