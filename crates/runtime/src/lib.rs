//! The process around the data path: the app, signals, limits, reload, lifecycle; what is told to
//! people and machines.

pub mod access_log;
pub mod admin;
pub mod board;
pub mod causes;
pub mod code_pages;
pub mod cost;
mod decimal;
pub mod dumps;
pub mod envelope;
mod escape;
pub mod lifecycle;
pub mod metrics;
pub mod notify;
pub mod ports;
pub mod readable;
pub mod role;
pub mod say;
pub mod signals;
pub mod socket_file;
pub mod supervise;
pub mod timestamp;
pub mod watch;

/// Every metric of this crate, for the generated reference.
pub static METRICS: &[&metrics::Desc] = &[
    &access_log::DROPPED,
    &access_log::LINES,
    &access_log::WRITE_ERRORS,
    &cost::BUILD_INFO,
    &cost::PILLION_CPU,
    &cost::PILLION_MEMORY,
    &cost::PILLION_THREADS,
    &cost::PILLION_FILES,
    &cost::PILLION_FILES_LIMIT,
    &cost::PROCESS_CPU,
    &cost::PROCESS_RESIDENT,
    &cost::PROCESS_VIRTUAL,
    &cost::PROCESS_THREADS,
    &cost::PROCESS_OPEN_FDS,
    &cost::PROCESS_MAX_FDS,
    &cost::PROCESS_START,
    &metrics::OVERFLOW,
    &role::RESTARTS,
    &role::UP,
];
