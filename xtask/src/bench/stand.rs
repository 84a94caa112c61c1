//! The stand on which subjects are measured: one core for the subject, another for the origin and
//! the load, a folder for files.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::origin::Origin;
use super::subject::{Ports, Programs, Subject};
use crate::child::{self, Running};
use crate::failure::{Doing, Failure};
use crate::{http, setup, workspace};

const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// Enough for the idle connections of one case, at both of their ends.
const OPEN_FILES: u64 = 16384;

/// Everything that the measurements share.
pub(super) struct Stand {
    origin: Origin,
    programs: Programs,
    folder: PathBuf,
    subject_core: usize,
}

/// A subject that answers requests.
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

impl Started {
    /// The process to look at, if there is one.
    pub(super) fn process(&self) -> Option<u32> {
        self.running.as_ref().map(Running::id)
    }
}

impl Stand {
    /// Builds what is measured, starts the origin, and pins this process to the load's core.
    pub(super) fn new() -> Result<Self, Failure> {
        let programs = Programs {
            pillion: workspace::pillion("release")?,
            xtask: std::env::current_exe().doing("finding this program")?,
            envoy: setup::envoy()?,
        };
        let (Some(subject_core), Some(load_core)) =
            (child::cores()?.first().copied(), child::cores()?.get(1).copied())
        else {
            return Err(Failure::new(
                "the bench needs two cores: one for a proxy, one for the load",
            ));
        };
        raise_open_files()?;
        let folder = workspace::target().join("bench/files");
        // Left over when the last run was killed.
        if folder.exists() {
            std::fs::remove_dir_all(&folder).doing(format!("emptying {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder).doing(format!("making {}", folder.display()))?;
        child::pin(load_core)?;
        let origin = Origin::start(&folder)?;
        Ok(Self { origin, programs, folder, subject_core })
    }

    /// Starts a subject with `spares` upstreams and routes more than it needs, and waits until it
    /// answers.
    pub(super) fn start(&self, subject: Subject, spares: usize) -> Result<Started, Failure> {
        let [plain, http2, admin] = http::free_ports()?;
        let ports = Ports { plain, http2, admin };
        let command =
            subject.command(&self.programs, &self.origin, &ports, &self.folder, spares)?;
        let Some(mut command) = command else {
            let http1 = http::local(self.origin.ports.first);
            let http2 = http::local(self.origin.ports.http2);
            return Ok(Started { http1, http2, ready: Duration::ZERO, running: None });
        };
        let began = Instant::now();
        let mut running = Running::start(&mut command, Some(self.subject_core))?;
        let http1 = http::local(plain);
        http::wait_ready(&mut running, http1, "/small", READY_TIMEOUT)
            .map_err(|failure| Failure::new(format!("{failure}{}", self.complaint(subject))))?;
        let ready = began.elapsed();
        let http2 = if subject == Subject::Nginx { http::local(http2) } else { http1 };
        Ok(Started { http1, http2, ready, running: Some(running) })
    }

    /// What a subject that did not start said, on lines of its own.
    fn complaint(&self, subject: Subject) -> String {
        let log = self.folder.join(format!("{}.log", subject.name()));
        let said = std::fs::read_to_string(log).unwrap_or_default();
        said.lines().map(|line| format!("\n    {line}")).collect()
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        // Nothing can be done about it here, and the next run empties the folder.
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

fn raise_open_files() -> Result<(), Failure> {
    let (soft, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).doing("reading the limit of open files")?;
    if soft >= OPEN_FILES {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, hard.max(OPEN_FILES))
        .doing(format!("raising the limit of open files to {OPEN_FILES}"))
        .map_err(|failure| failure.fix(format!("ulimit -Hn {OPEN_FILES}, as root")))
}
