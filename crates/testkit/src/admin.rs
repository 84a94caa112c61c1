//! The admin interface of a Pillion, over its Unix socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use crate::PATIENCE;
use crate::metrics::sum;

/// Where an admin interface listens.
#[derive(Clone, Debug)]
pub struct Admin(PathBuf);

impl Admin {
    /// The one at this socket.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self(socket.into())
    }

    /// The socket.
    pub fn socket(&self) -> &PathBuf {
        &self.0
    }

    /// GET: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// POST: status and body.
    pub fn post(&self, path: &str) -> (u16, String) {
        self.ask("POST", path).unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// Any request: status and body.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn ask(&self, method: &str, path: &str) -> std::io::Result<(u16, String)> {
        let mut socket = UnixStream::connect(&self.0)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        write!(socket, "{method} {path} HTTP/1.0\r\nhost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let (head, body) =
            answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok((status.expect("a status line"), body.to_owned()))
    }

    /// The sum of all samples of a metric, chosen by none, some or all of its labels, such as
    /// `pillion_requests_total{direction="inbound"}`; 0 when there is none.
    pub fn metric(&self, query: &str) -> f64 {
        sum(&self.get("/metrics").1, query)
    }
}
