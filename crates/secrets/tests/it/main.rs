//! The secrets role against real servers.

#![expect(missing_docs, reason = "tests say what they do by their names")]

mod auth;
mod bed;
mod dynamic;
mod kv;
mod outage;
mod relay;
mod session;
