//! A port that refuses connections, and that nobody else can take meanwhile.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

use crate::Stream;

/// A bound socket that does not listen.
pub struct ClosedPort {
    socket: Socket,
    address: SocketAddr,
}

impl ClosedPort {
    /// Takes a free port.
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self { socket, address }
    }

    /// Where it refuses.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on connections are taken into a backlog, and wait there for [`Self::accept`].
    pub fn listen(&self, backlog: i32) {
        self.socket.listen(backlog).unwrap();
    }

    /// Takes a connection out of the backlog.
    pub fn accept(&self) -> Stream {
        Stream::new(self.socket.accept().unwrap().0.into())
    }
}

impl Default for ClosedPort {
    fn default() -> Self {
        Self::new()
    }
}
