//! Finding the processes below one, and ending them.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Once SIGKILL has been sent: how long to wait for processes that hang inside the kernel.
const GIVE_UP: Duration = Duration::from_secs(5);

/// How often the tree is looked at while it is being ended.
pub(crate) const STEP: Duration = Duration::from_millis(10);

/// All processes below `root`, parents before their children, without `root` itself.
///
/// A process that forks while we look may be missed: who wants the tree empty looks again.
pub(crate) fn descendants(root: Pid) -> Vec<Pid> {
    let scanned = (!children_file_exists()).then(scan);
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        let children = match &scanned {
            Some(table) => table.get(&pid).cloned().unwrap_or_default(),
            None => children(pid),
        };
        for child in children {
            // A reused process id must not send us in circles.
            if !found.contains(&child) {
                found.push(child);
            }
        }
        next += 1;
    }
    found.remove(0);
    found
}

/// Kernels built without `CONFIG_PROC_CHILDREN` lack the file.
fn children_file_exists() -> bool {
    fs::exists("/proc/thread-self/children").unwrap_or(false)
}

/// The children of every thread of `pid`; empty when it is gone.
fn children(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| parse_children(&list))
        .collect()
}

fn parse_children(list: &str) -> Vec<Pid> {
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

/// Parent to children, from all of `/proc`.
fn scan() -> HashMap<Pid, Vec<Pid>> {
    let mut table: HashMap<Pid, Vec<Pid>> = HashMap::new();
    let Ok(entries) = fs::read_dir("/proc") else { return table };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(parent) = parse_parent(&stat) {
            table.entry(parent).or_default().push(Pid::from_raw(pid));
        }
    }
    table
}

/// The parent's process id in a line of `/proc/PID/stat`. The name before it may contain anything,
/// also spaces and brackets, so the last closing bracket ends it.
fn parse_parent(stat: &str) -> Option<Pid> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok().map(Pid::from_raw)
}

/// The end of a tree, in steps: first the app alone is asked, so that it can end its workers in its
/// own order; then what it left behind is asked; at the deadline all are killed.
#[derive(Debug)]
pub(super) struct Ending {
    kill_at: Instant,
    app_asked: bool,
    rest_asked: bool,
}

/// What is left after one step of an [`Ending`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing, or only what even SIGKILL cannot end.
    Nothing,
    /// Processes; look again after this time at the latest.
    Processes(Duration),
}

impl Ending {
    /// An end that kills at `kill_at`.
    pub(super) fn new(kill_at: Instant) -> Self {
        Self { kill_at, app_asked: false, rest_asked: false }
    }

    /// Brings the deadline forward; it is never put off.
    pub(super) fn hasten(&mut self, kill_at: Instant) {
        self.kill_at = self.kill_at.min(kill_at);
    }

    /// Signals what has to be signalled now. `tree` is everything that still exists; `app` is the
    /// app's first process while it lives.
    pub(super) fn step(&mut self, tree: &[Pid], app: Option<Pid>, now: Instant) -> Left {
        if tree.is_empty() || now >= self.kill_at + GIVE_UP {
            return Left::Nothing;
        }
        if now >= self.kill_at {
            signal_all(tree, Signal::SIGKILL);
            return Left::Processes(STEP);
        }
        match app {
            Some(app) if !self.app_asked => {
                self.app_asked = true;
                ask_to_end(&[app]);
            }
            None if !self.rest_asked => {
                self.rest_asked = true;
                ask_to_end(tree);
            }
            Some(_) | None => {}
        }
        Left::Processes(self.kill_at.saturating_duration_since(now))
    }
}

/// SIGTERM, and SIGCONT so that a stopped process gets it too.
fn ask_to_end(processes: &[Pid]) {
    signal_all(processes, Signal::SIGTERM);
    signal_all(processes, Signal::SIGCONT);
}

fn signal_all(processes: &[Pid], signal: Signal) {
    for pid in processes {
        // One that is gone already is what we want.
        kill(*pid, signal).ok();
    }
}

#[cfg(test)]
mod tests;
