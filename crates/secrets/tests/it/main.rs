//! The secrets role seen from outside.

#![expect(clippy::unwrap_used, reason = "a helper of tests that cannot go on is a test that fails")]

mod api;
mod cache;
mod templates;
