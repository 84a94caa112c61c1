//! Sinks against servers that misbehave on purpose, and against the real ones.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that cannot go on is a test that fails"
)]

mod batches;
mod faults;
mod local;
mod patience;
mod peers;
