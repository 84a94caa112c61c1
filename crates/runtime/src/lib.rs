//! The process around the data path: the app, signals, limits, reload, lifecycle; what is told to
//! people and machines.

pub mod access_log;
pub mod admin;
pub mod cost;
pub mod envelope;
mod escape;
pub mod lifecycle;
pub mod metrics;
pub mod notify;
pub mod ports;
mod readable;
pub mod say;
pub mod signals;
pub mod supervise;
mod timestamp;
pub mod watch;
