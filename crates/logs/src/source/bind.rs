//! Opening the sockets that others send to.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use pillion_model::logs::{Listen, ListenProtocol};
use pillion_model::settings::Address;
use pillion_runtime::socket_file::SocketFile;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UdpSocket, UnixDatagram, UnixListener};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// What the kernel is asked to hold of datagrams that are not read yet; it gives no more than
/// `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Any program may write to a log, as to `/dev/log`; the folder says who reaches it.
const MODE: u32 = 0o666;

/// The address of a source could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for logs on {address}: {hint}")]
pub struct BindError {
    /// The address that was asked for.
    pub address: Address,
    hint: &'static str,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// An open socket and its address.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) socket: Bound,
    /// The real port, where the kernel chose it.
    pub(super) address: Address,
}

#[derive(Debug)]
pub(super) enum Bound {
    Streams(Listener),
    Datagrams(Datagrams),
}

#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "removed when dropped")] SocketFile),
}

#[derive(Debug)]
pub(super) enum Datagrams {
    Udp(UdpSocket),
    Unix(UnixDatagram, #[expect(dead_code, reason = "removed when dropped")] SocketFile),
}

/// Opens the address of a source. A Unix socket takes the place of one that nobody listens on.
pub(super) fn bind(listen: &Listen) -> Result<Open, BindError> {
    let opened = match (&listen.address, is_datagram(listen.protocol)) {
        (Address::Tcp(address), false) => tcp(*address),
        (Address::Tcp(address), true) => udp(*address),
        (Address::Unix(path), datagrams) => unix(path, datagrams),
    };
    opened.map_err(|source| BindError {
        address: listen.address.clone(),
        hint: hint(source.kind()),
        source,
    })
}

const fn is_datagram(protocol: ListenProtocol) -> bool {
    match protocol {
        ListenProtocol::Udp | ListenProtocol::SyslogUdp => true,
        ListenProtocol::Tcp
        | ListenProtocol::SyslogTcp
        | ListenProtocol::Http
        | ListenProtocol::Otlp => false,
    }
}

fn tcp(address: SocketAddr) -> io::Result<Open> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Connections of before that wait for their end do not keep the address.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let address = Address::Tcp(listener.local_addr()?);
    Ok(Open { socket: Bound::Streams(Listener::Tcp(listener)), address })
}

fn udp(address: SocketAddr) -> io::Result<Open> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(&address.into())?;
    let socket = UdpSocket::from_std(socket.into())?;
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RxqOvfl, &1)?;
    let address = Address::Tcp(socket.local_addr()?);
    Ok(Open { socket: Bound::Datagrams(Datagrams::Udp(socket)), address })
}

fn unix(path: &Path, datagrams: bool) -> io::Result<Open> {
    SocketFile::make_room(path)?;
    let kind = if datagrams { Type::DGRAM } else { Type::STREAM };
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::of(path);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))?;
    let socket = if datagrams {
        Bound::Datagrams(Datagrams::Unix(UnixDatagram::from_std(socket.into())?, file))
    } else {
        socket.listen(BACKLOG)?;
        Bound::Streams(Listener::Unix(UnixListener::from_std(socket.into())?, file))
    };
    Ok(Open { socket, address: Address::Unix(path.to_owned()) })
}

const fn hint(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::AddrInUse => "it is in use; choose another, or end its user",
        ErrorKind::AddrNotAvailable => "this host does not have it; choose another",
        ErrorKind::PermissionDenied => {
            "permission denied; choose a port from 1024 on, or a folder that is ours"
        }
        ErrorKind::NotFound => "the folder does not exist; create it, or choose another",
        _ => "choose another",
    }
}
