//! Tests only: the real program on free ports, clients that look at bytes, servers that misbehave
//! on purpose, and the real peers of each role.
//!
//! Everything here blocks, on plain threads and sockets, so that a test reads from top to bottom
//! and shares no runtime with what it tests. Nothing waits without a limit: what takes longer than
//! [`PATIENCE`] fails the test and says what was there instead.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a helper that cannot go on is a test that fails"
)]

mod admin;
mod authority;
mod capture;
mod gate;
mod loopback;
mod message;
mod metrics;
mod name_server;
mod network;
mod origin;
mod patience;
mod peer;
mod pillion;
mod process;
mod refusal;
mod relay;
mod rest;
mod small_disk;
mod torture;
mod volume;
mod wire;

pub use admin::Admin;
pub use authority::{Authority, Identity};
pub use capture::Capture;
pub use gate::Gate;
pub use loopback::free_address;
pub use message::{Body, Head, Stream};
pub use name_server::{NameAnswer, NameServer};
pub use network::{Network, in_private_network};
pub use origin::{Conn, Origin};
pub use patience::{PATIENCE, eventually, eventually_some};
pub use peer::{
    Collector, Etcd, KubeApiServer, Loki, MariaDb, OpenBao, OpenSearch, Otlp, Peer, Postgres,
    Rsyslog, python, tool,
};
pub use pillion::{Builder, Finished, Pillion};
pub use process::{
    anonymous_memory_kib, is_alive, peak_memory_kib, resident_memory_kib, send_signal,
};
pub use refusal::ClosedPort;
pub use relay::Relay;
pub use rest::{Answer, Rest};
pub use small_disk::SmallDisk;
pub use torture::{Report, SinkReport, Torture};
pub use volume::Volume;
pub use wire::{End, Response, Wire};

pub use nix::sys::signal::Signal;
