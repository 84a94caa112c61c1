//! The secrets role in the real program, before a real server.

mod bed;
mod delivery;
mod rotation;
mod sync;
