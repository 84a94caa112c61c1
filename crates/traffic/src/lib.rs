//! The decisions of the data path: which route, which endpoint, one more request or not, once more
//! or not, which ids and addresses to pass on.
//!
//! Everything here is a function of its arguments. Time and chance are arguments too, so that every
//! decision can be tested by itself, and a simulation that fails can be run again from its seed.
//! Nothing here opens a socket, reads a clock or spawns a task.

pub mod balance;
pub mod breaker;
pub mod hops;
pub mod random;
pub mod retry;
pub mod route;
pub mod trace;

pub use breaker::Breaker;
pub use random::Random;
pub use route::RouteTable;
