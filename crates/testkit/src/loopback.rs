//! Addresses that belong to one server alone, also while it is down.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// A free address for a server that has to be told where to listen.
///
/// A port that was free a moment ago may be taken before the server has it, and again while the
/// server is down between an end and a restart. So the host is one of the 16 million addresses of
/// the loopback network, chosen at random: nobody else is there.
pub fn free_address() -> SocketAddr {
    let [.., a, b, c] = RandomState::new().hash_one(()).to_be_bytes();
    // Neither 127.0.0.x, where everybody is, nor the last address, which is for broadcasts.
    let host = Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254));
    let listener = TcpListener::bind((host, 0)).unwrap();
    listener.local_addr().unwrap()
}
