//! The admin interface: a small HTTP server on loopback or a Unix socket, for people, probes and
//! scrapers.
//!
//! It is not the data path: hyper serves it, on the control runtime. It is kept from strangers: a
//! web page that a browser shows can neither read it (its `Host` must be loopback or the bound
//! address) nor change anything through it (`Origin` must be itself).

mod bind;
mod builtin;
mod guard;
mod routes;
mod serve;

pub use self::bind::{BindError, Bound, Purpose, bind, bind_for};
pub use self::builtin::{logging, metrics};
pub use self::guard::is_ours;
pub use self::routes::{Request, Response, Routes};
pub use self::serve::{Room, serve, serve_with};

/// Connections served at a time; those that come later wait.
pub const MAX_CONNECTIONS: usize = 64;
/// Bytes of a request body; a longer one is answered 413.
pub const MAX_BODY: usize = 64 << 10;
