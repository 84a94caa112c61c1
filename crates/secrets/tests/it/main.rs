//! The secrets role, part by part, against real files, processes and servers.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod crash;
mod files;
mod sources;
mod store;
mod transaction;
