//! The secrets role: what the app may know comes from OpenBao or Vault (and its configuration from
//! files, HTTP and etcd), and every change is a transaction: fetched, checked, written beside the
//! old, swapped in by one link, confirmed by the app, and taken back if anything of that fails.

mod auth;
pub mod bao;
pub mod broker;
mod certificate;
mod chance;
pub mod check;
pub mod commands;
pub mod fetched;
pub mod lease;
pub mod location;
pub mod redaction;
mod role;
pub mod session;
pub mod sources;
pub mod store;
pub mod tell;
pub mod transaction;

pub use role::{CONDITION, Context, Error, run};
