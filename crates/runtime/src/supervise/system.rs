//! The few calls into the system that Rust cannot check: fork, exec hooks, reaping.
#![expect(unsafe_code, reason = "fork, pre_exec, waitpid and sigaction have no safe form")]

use std::io;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, sigaction,
};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};

use super::Exit;

/// What a terminal or a `kill` of the whole process group sends, and the keeper has to survive.
const IGNORED: [Signal; 10] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
];

/// Forks; the child runs `body` and ends. `kept` is given to both sides.
///
/// # Errors
/// When the process has more than one thread, or the system has no room for another process.
pub(super) fn fork_child<T>(kept: T, body: impl FnOnce(T)) -> io::Result<(Pid, T)> {
    require_one_thread()?;
    // SAFETY: this is the only thread, so the child inherits no lock that another thread holds.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok((child, kept)),
        ForkResult::Child => {
            // A panic must not unwind into the caller, which believes that it is the parent.
            let code = i32::from(catch_unwind(AssertUnwindSafe(|| body(kept))).is_err());
            // SAFETY: ends the process without the exit handlers, which belong to the parent.
            unsafe { nix::libc::_exit(code) }
        }
    }
}

fn require_one_thread() -> io::Result<()> {
    match std::fs::read_dir("/proc/self/task")?.count() {
        1 => Ok(()),
        threads => Err(io::Error::other(format!(
            "the keeper must be forked before any thread is started, but there are {threads} threads"
        ))),
    }
}

/// How the keeper found signals treated, which is how the app gets them: what `nohup` ignores stays
/// ignored.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Not ignored until the keeper did.
    not_ignored: Vec<Signal>,
    mask: SigSet,
}

/// Ignores the signals of the terminal, and blocks those of `deaths` alone. Returns how it was.
///
/// # Errors
/// When the system refuses, which it does not for these signals.
pub(super) fn take_signals(deaths: &SigSet) -> io::Result<Found> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    let mut not_ignored = Vec::with_capacity(IGNORED.len());
    for signal in IGNORED {
        // SAFETY: "ignore" runs no code.
        let before = unsafe { sigaction(signal, &ignore) }?;
        if !matches!(before.handler(), SigHandler::SigIgn) {
            not_ignored.push(signal);
        }
    }
    let mut mask = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(deaths), Some(&mut mask))?;
    Ok(Found { not_ignored, mask })
}

/// Makes `command` start with its signals as they were `found`, and die with the keeper.
pub(super) fn prepare(command: &mut Command, found: Found) {
    let keeper = getpid();
    let start = move || {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        for signal in &found.not_ignored {
            // SAFETY: "default" runs no code of ours.
            unsafe { sigaction(*signal, &default) }?;
        }
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&found.mask), None)?;
        // The last net: it holds even when keeper and Pillion are killed at the same moment.
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        if getppid() == keeper { Ok(()) } else { Err(Errno::ESRCH.into()) }
    };
    // SAFETY: the closure makes system calls only; it neither allocates nor locks.
    unsafe { command.pre_exec(start) };
}

/// Makes `command` start with no signal blocked, whatever is blocked here: Pillion blocks those that
/// it reads as events, and a program that inherits that could not be told to end.
pub fn unblock_signals(command: &mut Command) {
    let start = || Ok(SigSet::empty().thread_set_mask()?);
    // SAFETY: the closure makes one system call; it neither allocates nor locks.
    unsafe { command.pre_exec(start) };
}

/// Collects one ended child: `None` for any, or that one. `Ok(None)` when none has ended yet.
///
/// # Errors
/// `ECHILD` when there is no such child.
pub(super) fn reap(child: Option<Pid>) -> Result<Option<(Pid, Exit)>, Errno> {
    let mut status = 0;
    // The wrapper of nix refuses real-time signals, and would lose an exit that way.
    // SAFETY: `status` outlives the call.
    let pid = unsafe {
        nix::libc::waitpid(child.map_or(-1, Pid::as_raw), &raw mut status, nix::libc::WNOHANG)
    };
    match Errno::result(pid)? {
        0 => Ok(None),
        pid if nix::libc::WIFEXITED(status) => {
            Ok(Some((Pid::from_raw(pid), Exit::Code(nix::libc::WEXITSTATUS(status)))))
        }
        pid => Ok(Some((Pid::from_raw(pid), Exit::Signal(nix::libc::WTERMSIG(status))))),
    }
}
