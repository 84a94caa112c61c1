//! Where log lines go, and what is left of a line when the disk is full.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pillion_model::snapshot::LogOutput;

/// A write of up to so many bytes to a pipe is not mixed with those of others (`PIPE_BUF`).
const PIPE_ATOMIC: usize = 4096;

/// An open output.
pub(super) struct Output {
    target: Target,
    /// Whether the last write ended inside a line.
    torn: bool,
}

enum Target {
    Off,
    /// Standard output or error, perhaps shared with the app.
    Stream(File),
    File {
        file: File,
        path: PathBuf,
    },
}

/// What a failed write lost.
pub(super) struct Lost {
    pub(super) lines: u64,
    pub(super) error: io::Error,
}

impl Output {
    pub(super) fn open(output: &LogOutput) -> io::Result<Self> {
        // Descriptors of our own: a standard stream of `std` would hold its lock while a write
        // waits for a slow reader.
        let target = match output {
            LogOutput::Off => Target::Off,
            LogOutput::Stdout => Target::Stream(io::stdout().as_fd().try_clone_to_owned()?.into()),
            LogOutput::Stderr => Target::Stream(io::stderr().as_fd().try_clone_to_owned()?.into()),
            LogOutput::File(path) => Target::File { file: open(path)?, path: path.clone() },
        };
        Ok(Self { target, torn: false })
    }

    /// A stream, as standard output is one.
    #[cfg(test)]
    pub(super) fn stream(file: File) -> Self {
        Self { target: Target::Stream(file), torn: false }
    }

    pub(super) fn is_on(&self) -> bool {
        !matches!(self.target, Target::Off)
    }

    /// Opens a file again by its name. On failure the old one stays in use.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Target::File { file, path } = &mut self.target {
            *file = open(path)?;
            self.torn = false;
        }
        Ok(())
    }

    /// Writes whole lines. A line that a failure tore is ended before the next one begins.
    pub(super) fn write(&mut self, mut text: &[u8]) -> Result<(), Lost> {
        let (file, longest) = match &self.target {
            Target::Off => return Ok(()),
            Target::Stream(file) => (file, PIPE_ATOMIC),
            Target::File { file, .. } => (file, usize::MAX),
        };
        if self.torn {
            write_some(file, b"\n").map_err(|error| Lost { lines: count_lines(text), error })?;
            self.torn = false;
        }
        while !text.is_empty() {
            let (chunk, rest) = split_lines(text, longest);
            let mut unwritten = chunk;
            while !unwritten.is_empty() {
                let count = write_some(file, unwritten).map_err(|error| {
                    self.torn = unwritten.len() < chunk.len() && !ends_line(chunk, unwritten);
                    Lost { lines: count_lines(unwritten) + count_lines(rest), error }
                })?;
                unwritten = unwritten.get(count..).unwrap_or_default();
            }
            text = rest;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    // 0640: others need not read who asked for what. Non-blocking: a named pipe that nobody reads
    // is an error, not a start that hangs; regular files do not care.
    let flags = OFlag::O_NONBLOCK.bits();
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).custom_flags(flags);
    options.open(path).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot open access log {}: {error}", path.display()))
    })
}

/// One write, again when interrupted; where the file is non-blocking (a named pipe, or a stream that
/// the app made so), once it takes something again.
fn write_some(mut file: &File, text: &[u8]) -> io::Result<usize> {
    loop {
        match file.write(text) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut stream = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut stream, PollTimeout::NONE) {
                    Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            result => return result,
        }
    }
}

/// As many whole lines as `longest` bytes hold, but at least one; and the rest.
fn split_lines(text: &[u8], longest: usize) -> (&[u8], &[u8]) {
    let Some(window) = text.get(..longest) else { return (text, &[]) };
    let end = match memchr::memrchr(b'\n', window) {
        Some(last) => last + 1,
        None => memchr::memchr(b'\n', text).map_or(text.len(), |first| first + 1),
    };
    text.split_at_checked(end).unwrap_or((text, &[]))
}

/// Whether what of `chunk` was written before `unwritten` ends with a whole line.
fn ends_line(chunk: &[u8], unwritten: &[u8]) -> bool {
    chunk.len().checked_sub(unwritten.len() + 1).and_then(|at| chunk.get(at)) == Some(&b'\n')
}

fn count_lines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}
