//! The limits of the control groups that the process is in, version 1 and 2.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The tightest limits from the process's own group up to the root.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Limits {
    /// Processors' worth of time.
    pub(super) cpus: Option<f64>,
    /// Bytes.
    pub(super) memory: Option<u64>,
}

/// Version 1 says "no limit" with the largest number of whole pages.
const NO_MEMORY_LIMIT: u64 = 0x7fff_ffff_ffff_0000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Controller {
    /// Version 2: one tree for all.
    Unified,
    Cpu,
    Memory,
}

/// Where one controller's tree is mounted: `root` is the group that appears at `point`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    controller: Controller,
    root: PathBuf,
    point: PathBuf,
}

/// Reads the limits of this process; `root` is `/`, or the folder of a test.
pub(super) fn limits(root: &Path) -> Limits {
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap_or_default();
    let groups = read("proc/self/cgroup");
    let mut limits = Limits::default();
    for mount in parse_mounts(&read("proc/self/mountinfo")) {
        let Some(group) = group_of(&groups, mount.controller) else { continue };
        for folder in folders(&mount, group) {
            // A mount point is absolute; below another root it has to be relative.
            let folder = root.join(folder.strip_prefix("/").unwrap_or(&folder));
            limits.tighten(read_group(mount.controller, &folder));
        }
    }
    limits
}

impl Limits {
    fn tighten(&mut self, other: Self) {
        self.cpus = self.cpus.into_iter().chain(other.cpus).reduce(f64::min);
        self.memory = self.memory.into_iter().chain(other.memory).min();
    }
}

/// The folders of the process's group and of all above it that this mount shows, innermost first.
/// In a container the group may lie outside of what is mounted: then the mount's top is its own.
fn folders(mount: &Mount, group: &Path) -> Vec<PathBuf> {
    let below = group.strip_prefix(&mount.root).unwrap_or(Path::new(""));
    let hidden = below.components().any(|part| part == Component::ParentDir);
    let own = if hidden { mount.point.clone() } else { mount.point.join(below) };
    own.ancestors().take_while(|folder| folder.starts_with(&mount.point)).map(Into::into).collect()
}

fn read_group(controller: Controller, folder: &Path) -> Limits {
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    match controller {
        Controller::Unified => Limits {
            cpus: parse_cpu_max(&read("cpu.max")),
            memory: parse_memory(&read("memory.max")),
        },
        Controller::Cpu => Limits {
            cpus: parse_quota(&read("cpu.cfs_quota_us"), &read("cpu.cfs_period_us")),
            memory: None,
        },
        Controller::Memory => {
            Limits { cpus: None, memory: parse_memory(&read("memory.limit_in_bytes")) }
        }
    }
}

/// `QUOTA PERIOD`, where the quota may be `max`.
fn parse_cpu_max(text: &str) -> Option<f64> {
    let (quota, period) = text.split_once(' ')?;
    parse_quota(quota, period)
}

/// Two numbers of microseconds; a quota of -1 or `max` limits nothing.
fn parse_quota(quota: &str, period: &str) -> Option<f64> {
    let quota: u32 = quota.trim().parse().ok()?;
    let period: u32 = period.trim().parse().ok()?;
    (quota > 0 && period > 0).then(|| f64::from(quota) / f64::from(period))
}

fn parse_memory(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < NO_MEMORY_LIMIT)
}

/// The process's group in the tree of `controller`, from lines `ID:CONTROLLERS:PATH`.
fn group_of(groups: &str, controller: Controller) -> Option<&Path> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, names, path) = (parts.next()?, parts.next()?, parts.next()?);
        has_controller(names, controller).then_some(Path::new(path))
    })
}

fn has_controller(names: &str, controller: Controller) -> bool {
    match controller {
        Controller::Unified => names.is_empty(),
        Controller::Cpu => names.split(',').any(|name| name == "cpu"),
        Controller::Memory => names.split(',').any(|name| name == "memory"),
    }
}

/// The cgroup mounts in `/proc/self/mountinfo` (see proc_pid_mountinfo(5)).
fn parse_mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(parse_mount).flatten().collect()
}

fn parse_mount(line: &str) -> Option<Vec<Mount>> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, point) = (unescape(left.next()?), unescape(left.next()?));
    let mut right = right.split(' ');
    let (kind, _source, options) = (right.next()?, right.next()?, right.next()?);
    let controllers = match kind {
        "cgroup2" => vec![Controller::Unified],
        "cgroup" => [Controller::Cpu, Controller::Memory]
            .into_iter()
            .filter(|controller| has_controller(options, *controller))
            .collect(),
        _ => return None,
    };
    let mount = |controller| Mount { controller, root: root.clone(), point: point.clone() };
    Some(controllers.into_iter().map(mount).collect())
}

/// Blanks and backslashes in a path are written as three octal digits.
fn unescape(path: &str) -> PathBuf {
    let table = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    table.iter().fold(path.to_owned(), |path, (code, plain)| path.replace(code, plain)).into()
}

#[cfg(test)]
mod tests;
