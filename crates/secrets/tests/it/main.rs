//! The secrets role against real servers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of tests that cannot go on is a failing test"
)]

mod auth;
mod bed;
mod dynamic;
mod kv;
mod outage;
mod relay;
mod session;
