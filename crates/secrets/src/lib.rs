//! The secrets role: what the app may know comes from OpenBao or Vault (and its configuration from
//! files, HTTP and etcd), and every change is a transaction: fetched, checked, written beside the
//! old, swapped in by one link, confirmed by the app, and taken back if anything of that fails.

pub mod api;
mod auth;
pub mod bao;
pub mod broker;
pub mod cache;
mod certificate;
mod chance;
pub mod check;
mod clock;
pub mod commands;
mod engine;
pub mod fetched;
mod flights;
pub mod lease;
pub mod location;
mod metrics;
pub mod redaction;
mod retry;
mod role;
pub mod session;
pub mod sources;
mod status;
pub mod store;
pub mod tell;
pub mod template;
pub mod transaction;

pub use metrics::METRICS;
pub use role::{CONDITION, Context, run};
pub use status::Status;
