//! What is read once, at start: addresses, threads, the app, the drain. A reload that changes one
//! of these is applied without it, and says that a restart is needed.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::logs::Logs;
use crate::secrets::Secrets;

/// Everything that a running process cannot change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the admin interface listens; `None` when it is switched off.
    pub admin: Option<Listen>,
    /// Where traffic to the app comes in; `None` when the inbound side is off.
    pub inbound: Option<Listen>,
    /// Where traffic from the app comes in; `None` when the outbound side is off.
    pub outbound: Option<Listen>,
    /// Worker threads of the data path; `None` means from the CPU quota.
    pub workers: Option<usize>,
    /// How the supervised app is treated.
    pub app: AppSettings,
    /// How long in-flight work may take once a drain has begun.
    pub drain_timeout: Duration,
}

/// What the roles beside the proxy do; `None` for a role that does not exist. A reload hands each
/// role its new part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roles {
    /// Logs.
    pub logs: Option<Arc<Logs>>,
    /// Secrets and configuration.
    pub secrets: Option<Arc<Secrets>>,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address.
    pub address: Address,
    /// Whether the user asked for it. A default that is taken gives way to a free port, so that two
    /// apps on one laptop both start; what was asked for and is taken is an error.
    pub asked: bool,
}

/// How the supervised app is treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSettings {
    /// The port that the app listens on; `None` means that it is found.
    pub port: Option<u16>,
    /// How long to look for the app's port before saying that there is none (looking goes on).
    pub port_timeout: Duration,
    /// From SIGTERM to SIGKILL.
    pub stop_timeout: Duration,
    /// Whether an app that ended is started again.
    pub restart: RestartPolicy,
    /// Path that answers 2xx when the app is ready; `None`: an open port is enough.
    pub ready_path: Option<String>,
}

/// Whether an app that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// The sidecar ends with the app, with its exit code.
    Never,
    /// Started again after a failure, up to `max` times in a row, with a doubling, jittered wait
    /// that begins at `backoff`. An app that ran for a minute starts the count anew.
    OnFailure {
        /// Restarts in a row before giving up.
        max: u32,
        /// The first wait.
        backoff: Duration,
    },
}

/// A TCP address or the path of a Unix socket (written `unix:/path`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP, IPv4 or IPv6; port 0 asks the kernel for a free one.
    Tcp(SocketAddr),
    /// A Unix stream socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
