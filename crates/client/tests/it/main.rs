//! The client against servers that do exactly what a test says.

#![expect(clippy::unwrap_used, reason = "a helper of tests that cannot go on is a failing test")]

mod exchange;
mod server;
mod tls;
