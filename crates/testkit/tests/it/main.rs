//! Each real peer is started and used for what it is for.

#![expect(clippy::unwrap_used, reason = "a helper of tests that cannot go on is a failing test")]

mod databases;
mod kubernetes;
mod openbao;
mod sinks;
