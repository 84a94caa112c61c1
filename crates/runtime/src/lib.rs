//! The process around the data path: the app, signals, limits, reload, lifecycle; what is told to
//! people and machines.

pub mod lifecycle;
pub mod supervise;

pub mod access_log;
pub mod admin;
pub mod cost;
mod escape;
pub mod metrics;
pub mod say;
mod timestamp;
