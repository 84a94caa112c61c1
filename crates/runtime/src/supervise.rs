//! Starting, watching and ending the app, so that nothing outlives it and nothing of it outlives us.
//!
//! A tiny child, the *keeper*, is forked before the program has a second thread. The keeper is the
//! parent of the app and reaps whatever the app leaves behind; it is told what to do over a socket,
//! and the end of that socket tells it that Pillion is gone, however Pillion died. The other way
//! round, Pillion sees the end of the socket when the keeper dies and ends the app's processes
//! itself. All of them share the process group and the session of Pillion: terminal, Ctrl-C and job
//! control are the app's own.

mod app;
mod keeper;
mod outputs;
mod system;
pub(crate) mod tree;
mod wire;

pub use app::{App, StartError};
pub use outputs::{AppOutputs, Captured};
pub use system::unblock_signals;

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::prctl;
use nix::unistd::Pid;

/// How the app ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It ended by itself, with this code (0–255).
    Code(i32),
    /// A signal with this number ended it.
    Signal(i32),
    /// The keeper died. What was left of the app has been ended.
    KeeperLost,
}

impl Exit {
    /// The code that Pillion ends with, as a shell would report it: the app's own, 128 + n for
    /// signal n, and 125 when the keeper was lost.
    #[must_use]
    pub fn code(&self) -> u8 {
        let code = match self {
            Self::Code(code) => *code,
            Self::Signal(number) => 128 + number,
            Self::KeeperLost => 125,
        };
        u8::try_from(code & 0xff).unwrap_or(u8::MAX)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with code {code}"),
            Self::Signal(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => write!(f, "was ended by {signal}"),
                Err(_) => write!(f, "was ended by signal {number}"),
            },
            Self::KeeperLost => f.write_str("was ended because its keeper process died"),
        }
    }
}

/// The keeper process, forked and waiting for its first request.
///
/// Dropping it lets the keeper end.
#[derive(Debug)]
pub struct Keeper {
    socket: UnixStream,
    pid: Pid,
    stop_timeout: Duration,
    outputs: AppOutputs,
}

impl Keeper {
    /// Forks the keeper. To be called first thing in `main`, before signals are blocked and limits
    /// raised: what is open, blocked, ignored and limited now is what the app will find.
    ///
    /// `stop_timeout` is the time from SIGTERM to SIGKILL when Pillion dies without having stopped
    /// the app. What of its outputs is `captured` goes into pipes that [`Keeper::take_outputs`]
    /// reads; the rest is our own.
    ///
    /// # Errors
    /// When the process already has a second thread, or the system refuses a socket, a pipe or a
    /// process.
    pub fn fork(stop_timeout: Duration, captured: Captured) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let (outputs, pipes) = outputs::pipes(captured)?;
        // If the keeper is killed, its children become ours.
        prctl::set_child_subreaper(true)?;
        let (pid, socket) = system::fork_child(ours, |ours| {
            drop(ours);
            // A keeper that cannot work ends, and Pillion reports that it is lost.
            drop(keeper::run(theirs, stop_timeout, pipes));
        })?;
        Ok(Self { socket, pid, stop_timeout, outputs })
    }

    /// The ends from which the captured outputs of the app are read. They see no end before the
    /// keeper ends: the app may be started again.
    pub fn take_outputs(&mut self) -> AppOutputs {
        std::mem::take(&mut self.outputs)
    }

    /// Makes the handle that starts `command` (program, then arguments). To be called inside a
    /// Tokio runtime with its I/O driver on.
    ///
    /// # Errors
    /// When the command is empty, or the socket cannot be registered.
    pub fn into_app(self, command: Vec<OsString>) -> io::Result<App> {
        App::new(self, command)
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        let table = [
            (Exit::Code(0), 0),
            (Exit::Code(7), 7),
            (Exit::Code(255), 255),
            (Exit::Signal(9), 137),
            (Exit::Signal(15), 143),
            (Exit::Signal(34), 162),
            (Exit::KeeperLost, 125),
        ];
        for (exit, code) in table {
            assert_eq!(exit.code(), code, "{exit}");
        }
    }

    #[test]
    fn a_command_starts_with_no_signal_blocked() {
        // A thread of its own, so that the mask does not stay with the test harness.
        let blocked = std::thread::spawn(|| {
            nix::sys::signal::SigSet::all().thread_block().unwrap();
            let mut command = std::process::Command::new("grep");
            command.args(["SigBlk", "/proc/self/status"]);
            super::unblock_signals(&mut command);
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        });
        assert_eq!(blocked.join().unwrap(), "SigBlk:\t0000000000000000\n");
    }

    #[test]
    fn a_program_with_threads_cannot_fork_a_keeper() {
        // The test harness always has a second thread.
        let error =
            super::Keeper::fork(std::time::Duration::ZERO, super::Captured::default()).unwrap_err();
        assert!(error.to_string().contains("before any thread"), "{error}");
    }
}
