//! What a process and its children have used, from `/proc`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::failure::{Doing, Failure};

/// CPU time of a process tree since its start, all threads together, in the kernel's nanoseconds
/// (the ticks of `/proc/PID/stat` are too coarse for a short round).
pub(super) fn cpu(root: u32) -> Result<Duration, Failure> {
    let mut nanoseconds = 0;
    for process in tree(root)? {
        let tasks = format!("/proc/{process}/task");
        for task in std::fs::read_dir(&tasks).doing(format!("reading {tasks}"))? {
            let file = task.doing(format!("reading {tasks}"))?.path().join("schedstat");
            let text =
                std::fs::read_to_string(&file).doing(format!("reading {}", file.display()))?;
            nanoseconds += text
                .split(' ')
                .next()
                .and_then(|run_time| run_time.parse::<u64>().ok())
                .ok_or_else(|| {
                    Failure::new(format!("{}: not a run time: {text}", file.display()))
                })?;
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Resident memory of a process tree, in KiB. Pages that processes share are counted in each.
pub(super) fn resident_kib(root: u32) -> Result<f64, Failure> {
    memory_kib(root, "VmRSS")
}

/// The part of [`resident_kib`] that is no page of a file.
pub(super) fn anonymous_kib(root: u32) -> Result<f64, Failure> {
    memory_kib(root, "RssAnon")
}

/// The most that the processes of a tree had resident since they were started, in KiB.
pub(super) fn peak_kib(root: u32) -> Result<f64, Failure> {
    memory_kib(root, "VmHWM")
}

fn memory_kib(root: u32, field: &str) -> Result<f64, Failure> {
    let mut sum = 0;
    for process in tree(root)? {
        let file = format!("/proc/{process}/status");
        let text = std::fs::read_to_string(&file).doing(format!("reading {file}"))?;
        sum +=
            kib_of(&text, field).ok_or_else(|| Failure::new(format!("{file}: has no {field}")))?;
    }
    Ok(f64::from(sum))
}

/// The number in a line such as `VmRSS:      5324 kB`.
fn kib_of(status: &str, field: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A process and all its descendants that live now.
fn tree(root: u32) -> Result<Vec<u32>, Failure> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").doing("reading /proc")? {
        let name = entry.doing("reading /proc")?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that ended since then is none of ours.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { continue };
        if let Some(parent) = parent_of(&stat) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(process) = tree.get(next) {
        tree.extend(children.remove(process).unwrap_or_default());
        next += 1;
    }
    Ok(tree)
}

/// The parent in a line such as `12 (a name) S 1 …`; the name may hold anything.
fn parent_of(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_hold_spaces_and_brackets() {
        assert_eq!(parent_of("12 (a ) b) S 7 12 12 0"), Some(7));
        assert_eq!(parent_of("no stat"), None);
    }

    #[test]
    fn memory_is_read_from_the_status() {
        assert_eq!(kib_of("Name:\ta\nVmRSS:\t    5324 kB\nThreads:\t1\n", "VmRSS"), Some(5324));
        assert_eq!(kib_of("Name:\ta\n", "VmRSS"), None);
    }

    #[test]
    fn this_process_uses_something() {
        let me = std::process::id();
        assert!(cpu(me).unwrap() > Duration::ZERO);
        assert!(resident_kib(me).unwrap() > 100.0);
    }
}
