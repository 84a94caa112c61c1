//! The pipes through which the outputs of the app are read, where they are.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

/// Which outputs of the app are read by us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// The ends that we read; `None` for an output that is not captured.
#[derive(Debug, Default)]
pub struct AppOutputs {
    /// Standard output.
    pub stdout: Option<OwnedFd>,
    /// Standard error.
    pub stderr: Option<OwnedFd>,
}

/// The ends that the app writes. The keeper keeps them for its next start.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

/// One pipe for each captured output. No other child inherits them.
pub(super) fn pipes(captured: Captured) -> io::Result<(AppOutputs, Pipes)> {
    let pipe = |captured: bool| -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
        if !captured {
            return Ok((None, None));
        }
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        Ok((Some(read), Some(write)))
    };
    let (stdout, stdout_pipe) = pipe(captured.stdout)?;
    let (stderr, stderr_pipe) = pipe(captured.stderr)?;
    Ok((AppOutputs { stdout, stderr }, Pipes { stdout: stdout_pipe, stderr: stderr_pipe }))
}

impl Pipes {
    /// Makes them the outputs of `command`.
    pub(super) fn attach(&self, command: &mut Command) -> io::Result<()> {
        if let Some(pipe) = &self.stdout {
            command.stdout(Stdio::from(pipe.try_clone()?));
        }
        if let Some(pipe) = &self.stderr {
            command.stderr(Stdio::from(pipe.try_clone()?));
        }
        Ok(())
    }
}
