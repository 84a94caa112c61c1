//! The engine against properties that hold for any input, and against two other readers of HTTP/1.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod conversation;
mod differential;
mod generate;
mod properties;
mod reference;
