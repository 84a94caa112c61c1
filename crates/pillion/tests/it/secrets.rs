//! The secrets role in the real program, before a real server.

pub(crate) mod bed;
mod crash;
mod delivery;
mod many;
mod rotation;
mod sync;
