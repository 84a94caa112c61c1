//! The secrets role, part by part, against real files, processes and servers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of tests that cannot go on is a failing test"
)]

mod api;
mod api_openbao;
mod auth;
mod bed;
mod cache;
mod crash;
mod dynamic;
mod engine;
mod files;
mod kv;
mod outage;
mod session;
mod sources;
mod store;
mod templates;
mod transaction;
