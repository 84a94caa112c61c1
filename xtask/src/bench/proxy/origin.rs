//! The server behind every subject: nginx, on the core of the load generator.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::template;
use crate::child::Running;
use crate::failure::{Doing, Failure};
use crate::{http, program};

const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// Files that it serves beside the small answer from memory.
const FILES: [(&str, usize); 2] = [("64k", 64 << 10), ("1m", 1 << 20)];

/// A running origin.
pub(in crate::bench) struct Origin {
    /// Where it listens.
    pub(in crate::bench) ports: OriginPorts,
    /// Ends it when dropped.
    _running: Running,
}

/// Where an origin listens.
pub(in crate::bench) struct OriginPorts {
    /// HTTP/1.1.
    pub(in crate::bench) first: u16,
    /// HTTP/1.1 too, so that there are two endpoints to balance over.
    pub(in crate::bench) second: u16,
    /// HTTP/2 with prior knowledge.
    pub(in crate::bench) http2: u16,
}

impl Origin {
    /// Starts it with its files in `folder`, on the core of the caller.
    pub(in crate::bench) fn start(folder: &Path) -> Result<Self, Failure> {
        let files = folder.join("origin-files");
        std::fs::create_dir_all(&files).doing(format!("making {}", files.display()))?;
        for (name, bytes) in FILES {
            std::fs::write(files.join(name), "x".repeat(bytes)).doing("writing the bodies")?;
        }
        let [first, second, http2] = http::free_ports()?;
        let values = [
            ("ORIGIN_1", first.to_string()),
            ("ORIGIN_2", second.to_string()),
            ("ORIGIN_H2", http2.to_string()),
            ("DIR", folder.display().to_string()),
        ];
        let text = template::fill(include_str!("../../../../bench/origin.conf"), &values, 0)?;
        let config = folder.join("origin.conf");
        std::fs::write(&config, text).doing("writing origin.conf")?;
        let mut command = Command::new(program::installed("nginx")?);
        command.arg("-p").arg(folder).arg("-c").arg(config).stdin(Stdio::null());
        let mut running = Running::start(&mut command, None)?;
        http::wait_ready(&mut running, http::local(first), "/small", READY_TIMEOUT)
            .doing("starting the origin")?;
        Ok(Self { ports: OriginPorts { first, second, http2 }, _running: running })
    }
}
