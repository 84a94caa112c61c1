//! What Pillion itself costs: CPU, memory, threads, open files; read when somebody scrapes.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeVal;

use crate::metrics::{Desc, Kind, Registry, Samples};

/// What is built in, for `pillion_build_info`.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// Version of the program.
    pub version: &'static str,
    /// Commit that it was built from, if that is known.
    pub commit: Option<&'static str>,
}

const fn gauge(name: &'static str, unit: &'static str, help: &'static str) -> Desc {
    Desc { name, kind: Kind::Gauge, unit, help, labels: &[] }
}

pub(crate) static BUILD_INFO: Desc = Desc {
    name: "pillion_build_info",
    kind: Kind::Gauge,
    unit: "",
    help: "Always 1; the labels say what runs.",
    labels: &["version", "commit"],
};
pub(crate) static PILLION_CPU: Desc = Desc {
    name: "pillion_cpu_seconds",
    kind: Kind::Counter,
    unit: "seconds",
    help: "CPU time that Pillion used, in its own code (user) and for it in the kernel (system).",
    labels: &["mode"],
};
pub(crate) static PILLION_MEMORY: Desc =
    gauge("pillion_memory_resident_bytes", "bytes", "Memory of Pillion that is in RAM.");
pub(crate) static PILLION_THREADS: Desc = gauge("pillion_threads", "", "Threads of Pillion.");
pub(crate) static PILLION_FILES: Desc =
    gauge("pillion_open_files", "", "Files and sockets that are open.");
pub(crate) static PILLION_FILES_LIMIT: Desc =
    gauge("pillion_open_files_limit", "", "Files and sockets that may be open.");

// The names that every Prometheus client library uses, for the dashboards that expect them.
pub(crate) static PROCESS_CPU: Desc = Desc {
    name: "process_cpu_seconds",
    kind: Kind::Counter,
    unit: "seconds",
    help: "User and system CPU time spent in seconds.",
    labels: &[],
};
pub(crate) static PROCESS_RESIDENT: Desc =
    gauge("process_resident_memory_bytes", "bytes", "Resident memory size in bytes.");
pub(crate) static PROCESS_VIRTUAL: Desc =
    gauge("process_virtual_memory_bytes", "bytes", "Virtual memory size in bytes.");
pub(crate) static PROCESS_THREADS: Desc = gauge("process_threads", "", "Number of threads.");
pub(crate) static PROCESS_OPEN_FDS: Desc =
    gauge("process_open_fds", "", "Number of open file descriptors.");
pub(crate) static PROCESS_MAX_FDS: Desc =
    gauge("process_max_fds", "", "Most file descriptors allowed.");
pub(crate) static PROCESS_START: Desc = gauge(
    "process_start_time_seconds",
    "seconds",
    "Start time of the process in seconds since 1970.",
);

/// Adds the cost of this process to the metrics. `started` is when it began.
pub fn register(registry: &Registry, build: Build, started: SystemTime) {
    let started = started.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    registry.collector(Box::new(move |samples| {
        samples.put(&BUILD_INFO, &[build.version, build.commit.unwrap_or_default()], 1.0);
        samples.put(&PROCESS_START, &[], started);
        cpu(samples);
        memory_and_threads(samples);
        files(samples);
    }));
}

fn cpu(samples: &mut Samples) {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return };
    let (user, system) = (seconds(usage.user_time()), seconds(usage.system_time()));
    samples.put(&PILLION_CPU, &["user"], user);
    samples.put(&PILLION_CPU, &["system"], system);
    samples.put(&PROCESS_CPU, &[], user + system);
}

fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}

fn memory_and_threads(samples: &mut Samples) {
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return };
    for (key, unit, descs) in [
        ("VmRSS:", 1024.0, [&PILLION_MEMORY, &PROCESS_RESIDENT].as_slice()),
        ("VmSize:", 1024.0, &[&PROCESS_VIRTUAL]),
        ("Threads:", 1.0, &[&PILLION_THREADS, &PROCESS_THREADS]),
    ] {
        if let Some(number) = status_number(&status, key) {
            for desc in descs {
                samples.put(desc, &[], number * unit);
            }
        }
    }
}

/// The number behind `key` in the text of `/proc/self/status`.
fn status_number(status: &str, key: &str) -> Option<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    value.split_whitespace().next()?.parse().ok()
}

fn files(samples: &mut Samples) {
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // Without the one that this very listing needs.
        let open = entries.count().saturating_sub(1) as f64;
        samples.put(&PILLION_FILES, &[], open);
        samples.put(&PROCESS_OPEN_FDS, &[], open);
    }
    if let Ok((soft, _hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        samples.put(&PILLION_FILES_LIMIT, &[], soft as f64);
        samples.put(&PROCESS_MAX_FDS, &[], soft as f64);
    }
}
