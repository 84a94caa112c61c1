//! How each proxy is started, and how one knows that it answers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::super::stand::Stand;
use super::super::subject::Subject;
use super::origin::OriginPorts;
use crate::child::Running;
use crate::failure::{Doing, Failure};
use crate::{http, program, setup};

const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// A proxy that answers requests.
pub(super) struct Started {
    /// For HTTP/1.1.
    pub(super) http1: SocketAddr,
    /// For HTTP/2.
    pub(super) http2: SocketAddr,
    /// From its start to its first answer.
    pub(super) ready: Duration,
    /// `None` for the direct way.
    running: Option<Running>,
}

/// Ports of one started proxy.
struct Ports {
    /// HTTP/1.1, and HTTP/2 for those that do not tell them apart.
    plain: u16,
    /// HTTP/2 for those that need a port of its own for it.
    http2: u16,
    /// Admin, for those that have one.
    admin: u16,
}

impl Started {
    /// The process to look at, if there is one.
    pub(super) fn process(&self) -> Option<u32> {
        self.running.as_ref().map(Running::id)
    }
}

/// Starts a proxy with `spares` upstreams and routes more than it needs, and waits until it
/// answers.
pub(super) fn start(stand: &Stand, subject: Subject, spares: usize) -> Result<Started, Failure> {
    let origin = &stand.origin()?.ports;
    let [plain, http2, admin] = http::free_ports()?;
    let ports = Ports { plain, http2, admin };
    let Some(mut command) = command(stand, subject, origin, &ports, spares)? else {
        let (http1, http2) = (http::local(origin.first), http::local(origin.http2));
        return Ok(Started { http1, http2, ready: Duration::ZERO, running: None });
    };
    let began = Instant::now();
    let mut running = stand.start(subject, &mut command)?;
    let http1 = http::local(plain);
    http::wait_ready(&mut running, http1, "/small", READY_TIMEOUT)
        .map_err(|failure| stand.with_complaint(subject, &failure))?;
    let ready = began.elapsed();
    let http2 = if subject == Subject::Nginx { http::local(http2) } else { http1 };
    Ok(Started { http1, http2, ready, running: Some(running) })
}

/// The configuration file of a proxy, with the name that the program wants.
fn template(subject: Subject) -> Result<(&'static str, &'static str), Failure> {
    match subject {
        Subject::Pillion => Ok(("pillion.yaml", include_str!("../../../../bench/pillion.yaml"))),
        Subject::Haproxy => Ok(("haproxy.cfg", include_str!("../../../../bench/haproxy.cfg"))),
        Subject::HaproxyFeatured => {
            Ok(("haproxy.cfg", include_str!("../../../../bench/haproxy-featured.cfg")))
        }
        Subject::Nginx => Ok(("nginx.conf", include_str!("../../../../bench/nginx.conf"))),
        Subject::Envoy => Ok(("envoy.yaml", include_str!("../../../../bench/envoy.yaml"))),
        other => Err(other.cannot("carry traffic")),
    }
}

/// The command that starts it. `None` for [`Subject::Direct`].
fn command(
    stand: &Stand,
    subject: Subject,
    origin: &OriginPorts,
    ports: &Ports,
    spares: usize,
) -> Result<Option<Command>, Failure> {
    if subject == Subject::Direct {
        return Ok(None);
    }
    if subject == Subject::Relay {
        let mut command = Command::new(std::env::current_exe().doing("finding this program")?);
        command.arg("relay").arg(http::local(ports.plain).to_string());
        command.arg(http::local(origin.first).to_string());
        return Ok(Some(command));
    }
    let config = write_config(stand, subject, origin, ports, spares)?;
    let mut command = match subject {
        Subject::Pillion => Command::new(stand.pillion()),
        Subject::Nginx => Command::new(program::installed("nginx")?),
        Subject::Envoy => Command::new(setup::envoy()?),
        _ => Command::new(program::installed("haproxy")?),
    };
    match subject {
        Subject::Pillion => command.args(["run", "--config"]).arg(config),
        Subject::Nginx => command.arg("-p").arg(stand.folder()).arg("-c").arg(config),
        Subject::Envoy => command
            .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"])
            .arg("--config-path")
            .arg(config),
        _ => command.arg("-db").arg("-f").arg(config),
    };
    Ok(Some(command))
}

fn write_config(
    stand: &Stand,
    subject: Subject,
    origin: &OriginPorts,
    ports: &Ports,
    spares: usize,
) -> Result<PathBuf, Failure> {
    let (name, text) = template(subject)?;
    let values = [
        ("PORT", ports.plain.to_string()),
        ("PORT_H2", ports.http2.to_string()),
        ("ADMIN", ports.admin.to_string()),
        ("ORIGIN_1", origin.first.to_string()),
        ("ORIGIN_2", origin.second.to_string()),
        ("ORIGIN_H2", origin.http2.to_string()),
        ("DIR", stand.folder().display().to_string()),
    ];
    stand.write_config(name, text, &values, spares)
}
