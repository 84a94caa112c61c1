//! The secrets role in the real program, before a real server.

mod bed;
mod crash;
mod delivery;
mod many;
mod outage;
mod rotation;
mod storm;
mod sync;
