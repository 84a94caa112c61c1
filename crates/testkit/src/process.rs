//! Looking at processes from outside.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Whether a process runs; one that has ended and only waits to be reaped does not.
pub fn is_alive(pid: u32) -> bool {
    // After the name in parentheses, which may hold anything, comes the state.
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Sends a signal to a process.
///
/// # Panics
/// When there is no such process.
pub fn send_signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.try_into().unwrap()), signal)
        .unwrap_or_else(|error| panic!("sending {signal} to {pid}: {error}"));
}

/// Resident memory now, in KiB.
pub fn resident_memory_kib(pid: u32) -> u64 {
    status_field(pid, "VmRSS:")
}

/// Resident memory that is in no file now, in KiB: without code.
pub fn anonymous_memory_kib(pid: u32) -> u64 {
    status_field(pid, "RssAnon:")
}

/// The most resident memory that the process ever had, in KiB, as the kernel remembers it: a later
/// look may show some pages less.
pub fn peak_memory_kib(pid: u32) -> u64 {
    status_field(pid, "VmHWM:")
}

fn status_field(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
