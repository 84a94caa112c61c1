//! The secrets role against real servers, and its parts on their own.

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
mod dynamic;
mod kv;
mod outage;
mod relay;
mod session;
mod templates;
