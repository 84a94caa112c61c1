//! What the process may use: CPU, memory, open files, as cgroups and limits allow.

mod cgroup;

use std::fs;
use std::io;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What the process may use, read once at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Envelope {
    /// Processors' worth of time, from the cgroups' quotas; `None` when there is none.
    pub cpu_quota: Option<f64>,
    /// Processors that the process may run on.
    pub processors: usize,
    /// Bytes of memory, from the cgroups' limits; `None` when there is none.
    pub memory_limit: Option<u64>,
}

impl Envelope {
    /// Reads the envelope of this process. What cannot be read limits nothing.
    #[must_use]
    pub fn read() -> Self {
        Self::read_below(Path::new("/"))
    }

    fn read_below(root: &Path) -> Self {
        let limits = cgroup::limits(root);
        let status = fs::read_to_string(root.join("proc/self/status")).unwrap_or_default();
        Self {
            cpu_quota: limits.cpus,
            processors: allowed_processors(&status).unwrap_or(1),
            memory_limit: limits.memory,
        }
    }

    /// The most worker threads that can run at the same time, rounded up: 1 at the least, so that
    /// half a processor still gets a thread.
    #[must_use]
    pub fn parallelism(&self) -> usize {
        let quota = self.cpu_quota.map_or(f64::INFINITY, f64::ceil);
        // The range of `as` from a float is clamped, so an endless quota is the largest number.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive whole number, clamped"
        )]
        let quota = quota as usize;
        quota.min(self.processors).max(1)
    }

    /// Worker threads: as many as asked for, but no more than can run at the same time.
    #[must_use]
    pub fn workers(&self, asked: usize) -> usize {
        asked.clamp(1, self.parallelism())
    }
}

/// The number of processors in the line `Cpus_allowed_list:` of `/proc/self/status`, as `0-3,8`.
fn allowed_processors(status: &str) -> Option<usize> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    list.trim().split(',').map(range_length).sum()
}

fn range_length(range: &str) -> Option<usize> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    last.checked_sub(first)?.checked_add(1)
}

/// How many files and sockets the process may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// The limit that was found.
    pub found: u64,
    /// The limit now.
    pub now: u64,
}

/// Raises the limit of open files as far as it may be raised. To be called after the keeper is
/// forked: the app keeps the limit that it would have had (`select` breaks beyond 1024).
///
/// # Errors
/// When the limit cannot be read, or the system refuses to raise it.
pub fn raise_open_files() -> io::Result<OpenFiles> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(OpenFiles { found: soft, now: hard })
}

#[cfg(test)]
mod tests;
