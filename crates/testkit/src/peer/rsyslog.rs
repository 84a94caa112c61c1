//! rsyslog: what most Linux machines log through.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Peer, tool};

/// A daemon with a socket such as `/dev/log`, and a configuration that a test adds to.
pub struct Rsyslog {
    /// The process.
    pub peer: Peer,
    folder: TempDir,
}

impl Rsyslog {
    /// Starts it with inputs and rules, in its own language. `rules` is given a folder that lives
    /// as long as the daemon does, for what it writes.
    pub fn start(rules: impl FnOnce(&Path) -> String) -> Self {
        let folder = TempDir::with_prefix("pillion-rsyslog-").unwrap();
        let file = |name: &str| folder.path().join(name);
        let config = format!(
            "global(processInternalMessages=\"on\" workDirectory=\"{}\")\n\
             module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{}\")\n\
             if $inputname == \"rsyslogd\" then {{ action(type=\"omfile\" file=\"{}\") stop }}\n{}\n",
            folder.path().display(),
            file("log.sock").display(),
            file("own.log").display(),
            rules(folder.path()),
        );
        std::fs::write(file("rsyslog.conf"), config).unwrap();
        let mut peer = Peer::start(
            &tool("rsyslogd"),
            [
                Path::new("-n"),
                Path::new("-f"),
                &file("rsyslog.conf"),
                Path::new("-i"),
                &file("pid"),
            ],
        );
        // The last thing that it does before it takes messages is to say so in its own log.
        let own = file("own.log");
        peer.wait_until_ready(|_| {
            std::fs::read_to_string(&own).is_ok_and(|log| log.contains("] start\n"))
        });
        Self { peer, folder }
    }

    /// A folder that lives as long as this does.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The socket that programs log to, in place of `/dev/log`.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("log.sock")
    }

    /// What a rule wrote into a file of the folder so far.
    pub fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(file)).unwrap_or_default()
    }
}
