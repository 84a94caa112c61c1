//! MariaDB: a server of its own for each test.

use std::net::SocketAddr;
use std::process::Command;

use nix::unistd::geteuid;
use tempfile::TempDir;

use super::{Peer, output, run, tool};
use crate::free_address;

/// A server that takes connections over TCP, with passwords, and forgets everything at the end.
pub struct MariaDb {
    /// The process.
    pub peer: Peer,
    _folder: TempDir,
    address: SocketAddr,
}

impl MariaDb {
    /// The name of a user who may do everything, and hand that on.
    pub const SUPERUSER: &str = "admin";
    /// The superuser's password.
    pub const PASSWORD: &str = "superuser-password";

    /// Starts it.
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("pillion-mariadb-").unwrap();
        let address = free_address();
        let data = format!("--datadir={}", folder.path().join("data").display());
        // It refuses to run as root by mistake, but does where that is asked for.
        let account = geteuid().is_root().then_some("--user=root");
        let mut install = Command::new(tool("mariadb-install-db"));
        install.args(["--no-defaults", "--auth-root-authentication-method=normal"]);
        // One that starts deletes what it takes for leftovers in the place for temporary files.
        install.env("TMPDIR", folder.path());
        run(install.arg("--skip-test-db").args(account).arg(&data));
        let first = folder.path().join("first.sql");
        let (name, password) = (Self::SUPERUSER, Self::PASSWORD);
        let user = format!("'{name}'@'%' IDENTIFIED BY '{password}' WITH GRANT OPTION");
        std::fs::write(&first, format!("GRANT ALL PRIVILEGES ON *.* TO {user};\n")).unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let mut mariadbd = Command::new(tool("mariadbd"));
        mariadbd.args(["--no-defaults", "--skip-name-resolve"]).args(account);
        // Nothing has to outlive a power cut.
        mariadbd.args(["--innodb-flush-log-at-trx-commit=0", &data]);
        mariadbd.arg(format!("--init-file={}", first.display()));
        mariadbd.arg(format!("--bind-address={}", address.ip()));
        mariadbd.arg(format!("--port={}", address.port()));
        mariadbd.arg(format!("--socket={}", file("mariadb.sock")));
        mariadbd.arg(format!("--pid-file={}", file("mariadb.pid")));
        mariadbd.env("TMPDIR", folder.path());
        let mut peer = Peer::spawn(mariadbd);
        peer.wait_until_ready(|peer| peer.stderr.text().contains("ready for connections"));
        Self { peer, _folder: folder, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How the superuser connects, as OpenBao's plugin for it wants it: `admin:…@tcp(…)/`.
    pub fn dsn(&self) -> String {
        format!("{}:{}@tcp({})/", Self::SUPERUSER, Self::PASSWORD, self.address)
    }

    /// Runs SQL as the superuser and returns the rows: lines, their columns separated by tabs.
    ///
    /// # Panics
    /// When it fails.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_as(Self::SUPERUSER, Self::PASSWORD, sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs SQL as somebody.
    ///
    /// # Errors
    /// What its client says.
    pub fn sql_as(&self, name: &str, password: &str, sql: &str) -> Result<String, String> {
        let mut client = Command::new(tool("mariadb"));
        client.args(["--no-defaults", "--protocol=tcp", "--batch", "--skip-column-names"]);
        client.arg(format!("--host={}", self.address.ip()));
        client.arg(format!("--port={}", self.address.port()));
        client.arg(format!("--user={name}")).env("MYSQL_PWD", password);
        output(client.args(["--execute", sql]))
    }
}
