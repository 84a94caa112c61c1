//! What is measured, and how each is started.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::origin::Origin;
use super::template;
use crate::failure::{Doing, Failure};
use crate::program;

/// One program under measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// Pillion with routes, balancing, breaker, metrics, access log and trace headers on.
    Pillion,
    /// HAProxy with nothing on.
    Haproxy,
    /// HAProxy doing what Pillion does.
    HaproxyFeatured,
    /// nginx with the like of it, as far as it goes.
    Nginx,
    /// Envoy as a sidecar has it.
    Envoy,
    /// A relay that does not look at the bytes: the floor.
    Relay,
    /// No proxy at all: what the load generator and the origin take.
    Direct,
}

/// Ports of one started subject.
pub(super) struct Ports {
    /// HTTP/1.1, and HTTP/2 for those that tell them apart.
    pub(super) plain: u16,
    /// HTTP/2 for those that need a port of its own for it.
    pub(super) http2: u16,
    /// Admin, for those that have one.
    pub(super) admin: u16,
}

/// The programs that the subjects are made of.
pub(super) struct Programs {
    /// Pillion, release build.
    pub(super) pillion: PathBuf,
    /// Ourselves, optimised, for the relay.
    pub(super) xtask: PathBuf,
    /// Envoy.
    pub(super) envoy: PathBuf,
}

impl Subject {
    /// All of them, in the order of the table's columns.
    pub(super) const ALL: [Self; 7] = [
        Self::Pillion,
        Self::Haproxy,
        Self::HaproxyFeatured,
        Self::Nginx,
        Self::Envoy,
        Self::Relay,
        Self::Direct,
    ];

    /// Its name in tables and reports.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pillion => "pillion",
            Self::Haproxy => "haproxy",
            Self::HaproxyFeatured => "haproxy-featured",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::Relay => "relay",
            Self::Direct => "direct",
        }
    }

    /// Its configuration file, with the name that the program wants.
    const fn template(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Pillion => Some(("pillion.yaml", include_str!("../../../bench/pillion.yaml"))),
            Self::Haproxy => Some(("haproxy.cfg", include_str!("../../../bench/haproxy.cfg"))),
            Self::HaproxyFeatured => {
                Some(("haproxy.cfg", include_str!("../../../bench/haproxy-featured.cfg")))
            }
            Self::Nginx => Some(("nginx.conf", include_str!("../../../bench/nginx.conf"))),
            Self::Envoy => Some(("envoy.yaml", include_str!("../../../bench/envoy.yaml"))),
            Self::Relay | Self::Direct => None,
        }
    }

    /// The command that starts it with its files in `folder`, and `spares` upstreams and routes
    /// more than it needs. `None` for [`Subject::Direct`].
    pub(super) fn command(
        self,
        programs: &Programs,
        origin: &Origin,
        ports: &Ports,
        folder: &Path,
        spares: usize,
    ) -> Result<Option<Command>, Failure> {
        let config = self.write_config(origin, ports, folder, spares)?;
        let mut command = match self {
            Self::Pillion => Command::new(&programs.pillion),
            Self::Haproxy | Self::HaproxyFeatured => Command::new(installed("haproxy")?),
            Self::Nginx => Command::new(installed("nginx")?),
            Self::Envoy => Command::new(&programs.envoy),
            Self::Relay => Command::new(&programs.xtask),
            Self::Direct => return Ok(None),
        };
        match self {
            Self::Pillion => command.args(["run", "--config"]).arg(config),
            Self::Haproxy | Self::HaproxyFeatured => command.arg("-db").arg("-f").arg(config),
            Self::Nginx => command.arg("-p").arg(folder).arg("-c").arg(config),
            Self::Envoy => command
                .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"])
                .arg("--config-path")
                .arg(config),
            Self::Relay => command
                .arg("relay")
                .arg(format!("127.0.0.1:{}", ports.plain))
                .arg(format!("127.0.0.1:{}", origin.ports.first)),
            Self::Direct => &mut command,
        };
        let log = folder.join(format!("{}.log", self.name()));
        let log = std::fs::File::create(&log).doing(format!("making {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Ok(Some(command))
    }

    fn write_config(
        self,
        origin: &Origin,
        ports: &Ports,
        folder: &Path,
        spares: usize,
    ) -> Result<PathBuf, Failure> {
        let Some((name, text)) = self.template() else { return Ok(PathBuf::new()) };
        let values = [
            ("PORT", ports.plain.to_string()),
            ("PORT_H2", ports.http2.to_string()),
            ("ADMIN", ports.admin.to_string()),
            ("ORIGIN_1", origin.ports.first.to_string()),
            ("ORIGIN_2", origin.ports.second.to_string()),
            ("ORIGIN_H2", origin.ports.http2.to_string()),
            ("DIR", folder.display().to_string()),
        ];
        let text = template::fill(text, &values, spares).doing(format!("bench/{name}"))?;
        let file = folder.join(name);
        std::fs::write(&file, text).doing(format!("writing {}", file.display()))?;
        Ok(file)
    }
}

pub(super) fn installed(name: &str) -> Result<PathBuf, Failure> {
    program::find(name).ok_or_else(|| {
        Failure::new(format!("{name} is not installed")).fix("cargo xtask setup --bench")
    })
}
