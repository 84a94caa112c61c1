//! The secrets role in the real program, before a real server.

mod api_guide;
pub(crate) mod bed;
mod crash;
mod delivery;
mod many;
mod rotation;
mod sync;
