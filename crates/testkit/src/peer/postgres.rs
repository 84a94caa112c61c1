//! PostgreSQL: a cluster of its own for each test.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{User, chown, geteuid};
use tempfile::TempDir;

use super::{Peer, output, run, tool};
use crate::{Signal, free_address};

/// The account that Debian's package makes. PostgreSQL refuses to run as root.
const ACCOUNT: &str = "postgres";

/// A server that takes connections over TCP, with passwords, and forgets everything at the end.
pub struct Postgres {
    /// The process.
    pub peer: Peer,
    _folder: TempDir,
    address: SocketAddr,
}

impl Postgres {
    /// The name of the superuser, and of the database that is there from the start.
    pub const SUPERUSER: &str = "postgres";
    /// The superuser's password.
    pub const PASSWORD: &str = "superuser-password";

    /// Starts it.
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("pillion-postgres-").unwrap();
        let address = free_address();
        let account = account(folder.path());
        let data = folder.path().join("data");
        let password = folder.path().join("password");
        std::fs::write(&password, Self::PASSWORD).unwrap();
        let mut initdb = command("initdb", account.as_ref());
        initdb.args(["--username", Self::SUPERUSER, "--auth=scram-sha-256", "--no-sync"]);
        initdb.args(["--no-locale", "--encoding=UTF8", "--pwfile"]).arg(&password);
        run(initdb.arg("--pgdata").arg(&data));
        let mut postgres = command("postgres", account.as_ref());
        postgres.arg("-D").arg(&data).args(["-h", &address.ip().to_string()]);
        postgres.args(["-p", &address.port().to_string(), "-c", "unix_socket_directories="]);
        // Nothing has to outlive a power cut.
        postgres.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        let mut peer = Peer::spawn(postgres);
        peer.wait_until_ready(|peer| peer.stderr.text().contains("ready to accept connections"));
        Self { peer, _folder: folder, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How the superuser connects, as a URL.
    pub fn dsn(&self) -> String {
        self.dsn_of(Self::SUPERUSER, Self::PASSWORD)
    }

    /// How somebody connects, as a URL; name and password need no escapes.
    pub fn dsn_of(&self, name: &str, password: &str) -> String {
        format!("postgres://{name}:{password}@{}/postgres?sslmode=disable", self.address)
    }

    /// Runs SQL as the superuser and returns the rows: lines, their columns separated by `|`.
    ///
    /// # Panics
    /// When it fails.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_as(&self.dsn(), sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs SQL as whom a URL names.
    ///
    /// # Errors
    /// What psql says.
    pub fn sql_as(&self, dsn: &str, sql: &str) -> Result<String, String> {
        let mut psql = Command::new(tool("psql"));
        psql.args(["-X", "--no-align", "--tuples-only", "--quiet", "-v", "ON_ERROR_STOP=1"]);
        output(psql.args(["--command", sql, dsn]))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Killed at once, it would leave a segment of shared memory behind.
        self.peer.end(Signal::SIGQUIT);
    }
}

/// Whom to run it as, and the owner of its folder, where that is not us.
fn account(folder: &Path) -> Option<User> {
    if !geteuid().is_root() {
        return None;
    }
    let account = User::from_name(ACCOUNT).unwrap();
    let account = account.expect("the account `postgres` is missing: run `cargo xtask setup`");
    chown(folder, Some(account.uid), Some(account.gid)).unwrap();
    Some(account)
}

fn command(name: &str, account: Option<&User>) -> Command {
    let mut command = Command::new(tool(name));
    if let Some(account) = account {
        command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
    }
    command
}
