//! The secrets role in the real program, before a real server.

mod api;
mod api_guide;
mod auth;
mod bed;
mod change;
mod configs;
mod crash;
mod delivery;
mod end;
mod many;
mod outage;
mod restart;
mod rotation;
mod storm;
mod sync;
