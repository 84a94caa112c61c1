//! A program that runs beside us and never outlives us.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::failure::{Doing, Failure};
use crate::program;

/// How long a program may take to end after SIGTERM before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A running program in a process group of its own. Dropping it ends the group; when we are killed
/// ourselves, the kernel sends it SIGTERM.
pub(crate) struct Running {
    child: Child,
    group: Pid,
}

impl Running {
    /// Starts `command`, pinned to `core` if there is one.
    pub(crate) fn start(command: &mut Command, core: Option<usize>) -> Result<Self, Failure> {
        let line = program::line(command);
        command.process_group(0);
        tie(command, core)?;
        let child = command.spawn().doing(format!("starting `{line}`"))?;
        let group = Pid::from_raw(child.id().cast_signed());
        Ok(Self { child, group })
    }

    /// Its process id, which is also the id of its group.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status as text, once it has ended.
    pub(crate) fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Waits until it ends by itself; the kernel goes on saying what it has used.
    pub(crate) fn wait_until_it_ends(&self) -> Result<(), Failure> {
        let wanted = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let ended = waitid(Id::Pid(self.group), wanted).doing("waiting for a program")?;
        match ended {
            WaitStatus::Exited(_, 0) => Ok(()),
            other => Err(Failure::new(format!("it failed: {other:?}"))),
        }
    }

    /// Asks it to end, waits, and kills what is left of the group.
    pub(crate) fn stop(&mut self) {
        // Errors mean that the group is gone already.
        killpg(self.group, Signal::SIGTERM).ok();
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.ended().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        killpg(self.group, Signal::SIGKILL).ok();
        self.child.wait().ok();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The cores that this process may use, in order.
pub(crate) fn cores() -> Result<Vec<usize>, Failure> {
    let set = sched_getaffinity(Pid::from_raw(0)).doing("reading the cores of this process")?;
    Ok((0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect())
}

/// Pins the calling thread, and what it starts from now on, to one core.
pub(crate) fn pin(core: usize) -> Result<(), Failure> {
    sched_setaffinity(Pid::from_raw(0), &only(core)?).doing(format!("pinning to core {core}"))
}

fn only(core: usize) -> Result<CpuSet, Failure> {
    let mut set = CpuSet::new();
    set.set(core).doing(format!("core {core}"))?;
    Ok(set)
}

/// Makes the kernel end the program with us, and keeps it on its core from its first instruction.
fn tie(command: &mut Command, core: Option<usize>) -> Result<(), Failure> {
    let cores = core.map(only).transpose()?;
    let before_exec = move || {
        set_pdeathsig(Signal::SIGTERM)?;
        if let Some(cores) = &cores {
            sched_setaffinity(Pid::from_raw(0), cores)?;
        }
        Ok(())
    };
    #[expect(unsafe_code, reason = "the only way to set these between fork and exec")]
    // SAFETY: the closure makes two system calls and allocates nothing, which is all that may be
    // done between fork and exec.
    unsafe {
        command.pre_exec(before_exec);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn ends(running: &mut Running) -> bool {
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            if running.ended().is_some() {
                return true;
            }
            thread::yield_now();
        }
        false
    }

    #[test]
    fn a_program_ends_with_the_thread_that_started_it() {
        let start = || Running::start(Command::new("sleep").arg("1000"), None).unwrap();
        let mut running = thread::spawn(start).join().unwrap();
        assert!(ends(&mut running));
    }

    #[test]
    fn stopping_ends_the_children_of_the_program_too() {
        let mut shell = Command::new("sh");
        let mut running = Running::start(shell.args(["-c", "sleep 1000 & wait"]), None).unwrap();
        let group = running.group;
        running.stop();
        let deadline = Instant::now() + STOP_TIMEOUT;
        // An orphan stays in the group until its new parent has collected it.
        while killpg(group, None).is_ok() {
            assert!(Instant::now() < deadline, "the group {group} is still there");
            thread::yield_now();
        }
    }

    #[test]
    fn a_program_stays_on_its_core() {
        let core = *cores().unwrap().first().unwrap();
        let running = Running::start(Command::new("sleep").arg("1000"), Some(core)).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap();
        assert!(status.contains(&format!("Cpus_allowed_list:\t{core}\n")), "{status}");
    }
}
