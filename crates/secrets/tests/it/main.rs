//! The secrets role, part by part, against real files, processes and servers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod crash;
mod files;
mod store;
mod transaction;
