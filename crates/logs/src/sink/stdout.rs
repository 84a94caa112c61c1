//! Lines on standard output, written by a thread that may wait.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::SinkError;
use super::writer::{Fault, Place, Writer, Written, whole};

/// A thread that writes to standard output.
pub(super) fn writer() -> Result<Writer, SinkError> {
    let name = "standard output".to_owned();
    match std::io::stdout().as_fd().try_clone_to_owned() {
        Ok(fd) => Writer::start(Pipe::new(fd), name),
        Err(reason) => Err(SinkError::Writer { place: name, reason }),
    }
}

/// A pipe or a terminal. What it took cannot be taken back, so that what is left of a record is
/// written first.
struct Pipe {
    file: File,
    rest: Vec<u8>,
}

impl Pipe {
    fn new(fd: OwnedFd) -> Self {
        Self { file: File::from(fd), rest: Vec::new() }
    }

    /// Writes everything, or says how much was written.
    fn push(&mut self, bytes: &[u8]) -> Result<(), (usize, Fault)> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(count) => written += count,
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    // Someone who shares it has made it so.
                    ErrorKind::WouldBlock => self.wait(),
                    ErrorKind::BrokenPipe => {
                        return Err((
                            written,
                            Fault::Closed("nobody reads it any more".to_owned()),
                        ));
                    }
                    _ => return Err((written, Fault::Failed(error.to_string()))),
                },
            }
        }
        Ok(())
    }

    fn wait(&self) {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        // Whatever it says, the next write will tell.
        let _ready_or_broken = poll(&mut fds, PollTimeout::NONE);
    }
}

impl Place for Pipe {
    fn write(&mut self, bytes: &[u8], ends: &[u32]) -> Written {
        let rest = std::mem::take(&mut self.rest);
        if let Err((written, fault)) = self.push(&rest) {
            self.rest = rest.get(written..).unwrap_or_default().to_vec();
            return Written { records: 0, fault: Some(fault) };
        }
        let Err((written, fault)) = self.push(bytes) else {
            return Written { records: ends.len(), fault: None };
        };
        let (mut records, end) = whole(ends, written);
        if written > end {
            // The record that was begun is ours to complete; it counts as written.
            let until = ends.get(records).and_then(|end| usize::try_from(*end).ok());
            let until = until.unwrap_or(bytes.len());
            self.rest = bytes.get(written..until).unwrap_or_default().to_vec();
            records += 1;
        }
        Written { records, fault: Some(fault) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::*;

    #[test]
    fn a_pipe_that_is_full_is_waited_for() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut place = Pipe::new(writer.into());
        let line = "x".repeat(1 << 20) + "\n";
        let length = u32::try_from(line.len()).unwrap();
        let writing = {
            let line = line.clone();
            std::thread::spawn(move || place.write(line.as_bytes(), &[length]))
        };
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(writing.join().unwrap(), Written { records: 1, fault: None });
        assert!(read == line);
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_closed_for_good() {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut place = Pipe::new(writer.into());
        drop(reader);
        let written = place.write(b"a\n", &[2]);
        assert!(matches!(written, Written { records: 0, fault: Some(Fault::Closed(_)) }));
    }
}
