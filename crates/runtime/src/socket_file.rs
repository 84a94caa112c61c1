//! The file of a Unix socket: there while somebody listens, and not longer.

use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The name of a Unix socket, removed when this is dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl SocketFile {
    /// The name of a socket that has just been bound.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Removes a socket that a process left behind. One that answers, and any other file, stays.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn make_room(path: &Path) -> io::Result<()> {
        let meta = std::fs::symlink_metadata(path);
        let is_socket = meta.is_ok_and(|meta| meta.file_type().is_socket());
        // A datagram socket that is in use says that it is of another type.
        let refused = || {
            UnixStream::connect(path)
                .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        };
        if is_socket && refused() { std::fs::remove_file(path) } else { Ok(()) }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it already; there is nothing more to do then.
        let _already_gone = std::fs::remove_file(&self.0);
    }
}
