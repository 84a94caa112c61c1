//! The words of Pillion: what a user wrote, what it means once it is checked, and why a request
//! failed.
//!
//! [`config`] reads a YAML file and reports every problem at once; what is left is a [`Settings`]
//! (read once, at start) and a [`Snapshot`] (immutable, swapped whole on every reload). [`reason`]
//! names everything that can go wrong with an exchange. Nothing here opens a socket, reads a clock
//! or spawns a task.

pub mod config;
pub mod logs;
pub mod reason;
pub mod secrets;
pub mod settings;
pub mod snapshot;

pub use reason::{Reason, Side};
pub use settings::Settings;
pub use snapshot::Snapshot;
