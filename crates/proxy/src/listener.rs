//! Listening sockets: bound once, shared by the workers, closed by a drain.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use pillion_model::Reason;
use pillion_model::settings::{Address, Listen};
use pillion_model::snapshot::Direction;
use socket2::{Domain, SockRef, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::spawn_local;

use crate::Phase;
use crate::connection::{self, Context};
use crate::stream::Stream;
use crate::worker::Worker;

/// Connections that may wait to be accepted. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// How long accepting rests when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listening socket.
#[derive(Debug)]
pub struct Bound {
    socket: Listening,
    address: Address,
    /// Removed when the socket is closed.
    path: Option<SocketPath>,
}

#[derive(Debug)]
enum Listening {
    Tcp(StdTcpListener),
    Unix(StdUnixListener),
}

/// The file of a Unix socket, removed when dropped.
#[derive(Debug)]
pub(crate) struct SocketPath(PathBuf);

impl Drop for SocketPath {
    fn drop(&mut self) {
        // Gone already is as good.
        drop(std::fs::remove_file(&self.0));
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address} for {purpose}: {hint}")]
pub struct BindError {
    /// What the address is for: `inbound`, `outbound`.
    pub purpose: &'static str,
    /// The address.
    pub address: Address,
    hint: Hint,
    #[source]
    error: io::Error,
}

#[derive(Debug)]
struct Hint(String);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Bound {
    /// The address, with the port that the kernel gave where 0 was asked for.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// One of a socket of a test's own.
    #[cfg(test)]
    pub(crate) fn of(listener: StdTcpListener) -> Self {
        let address = Address::Tcp(([127, 0, 0, 1], 0).into());
        Self { socket: Listening::Tcp(listener), address, path: None }
    }

    pub(crate) fn into_share(self, direction: Direction) -> (Share, Option<SocketPath>) {
        (Share { direction, socket: self.socket }, self.path)
    }
}

/// Listens on an address. A default that is taken gives way to a free port of the same host.
///
/// # Errors
/// The address was asked for and is taken, is not of this machine, or is not permitted.
pub fn bind(listen: &Listen, direction: Direction) -> Result<Bound, BindError> {
    let purpose = direction.label();
    match (bind_address(&listen.address), &listen.address) {
        (Ok(bound), _) => Ok(bound),
        (Err(error), Address::Tcp(address))
            if !listen.asked && error.kind() == io::ErrorKind::AddrInUse =>
        {
            let free = Address::Tcp(SocketAddr::new(address.ip(), 0));
            bind_address(&free).map_err(|error| BindError::new(purpose, &free, error))
        }
        (Err(error), address) => Err(BindError::new(purpose, address, error)),
    }
}

impl BindError {
    fn new(purpose: &'static str, address: &Address, error: io::Error) -> Self {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another process listens there: choose another address, or end that process".into()
            }
            io::ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
            io::ErrorKind::PermissionDenied => {
                "no permission: ports below 1024 need CAP_NET_BIND_SERVICE, and a socket file a \
                 folder that can be written"
                    .into()
            }
            _ => error.to_string(),
        };
        Self { purpose, address: address.clone(), hint: Hint(hint), error }
    }
}

fn bind_address(address: &Address) -> io::Result<Bound> {
    match address {
        Address::Tcp(address) => {
            let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
            // So that a restart need not wait for old connections to be forgotten.
            socket.set_reuse_address(true)?;
            socket.bind(&(*address).into())?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            let listener = StdTcpListener::from(socket);
            let address = Address::Tcp(listener.local_addr()?);
            Ok(Bound { socket: Listening::Tcp(listener), address, path: None })
        }
        Address::Unix(path) => {
            remove_stale(path)?;
            let listener = StdUnixListener::bind(path)?;
            listener.set_nonblocking(true)?;
            Ok(Bound {
                socket: Listening::Unix(listener),
                address: address.clone(),
                path: Some(SocketPath(path.clone())),
            })
        }
    }
}

/// Removes a socket file that nobody listens on any more.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if is_socket && StdUnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// A share of a listening socket. All workers accept from the same queue: a socket for each
/// (`SO_REUSEPORT`) would lose the connections that wait in its own queue when it is closed.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) direction: Direction,
    socket: Listening,
}

impl Share {
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let socket = match &self.socket {
            Listening::Tcp(listener) => Listening::Tcp(listener.try_clone()?),
            Listening::Unix(listener) => Listening::Unix(listener.try_clone()?),
        };
        Ok(Self { direction: self.direction, socket })
    }
}

enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Accepting {
    async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream), Some(peer)))
            }
            Self::Unix(listener) => Ok((Stream::Unix(listener.accept().await?.0), None)),
        }
    }

    /// A connection that waits in the queue: asked of the kernel itself, as the runtime learns of
    /// readiness only when it next looks.
    fn accept_now(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        let (socket, peer) = match self {
            Self::Tcp(listener) => SockRef::from(listener).accept()?,
            Self::Unix(listener) => SockRef::from(listener).accept()?,
        };
        socket.set_nonblocking(true)?;
        let stream = match self {
            Self::Tcp(_) => {
                socket.set_tcp_nodelay(true)?;
                Stream::Tcp(TcpStream::from_std(socket.into())?)
            }
            Self::Unix(_) => Stream::Unix(UnixStream::from_std(socket.into())?),
        };
        Ok((stream, peer.as_socket()))
    }
}

/// Accepts connections until the drain, and those that were waiting then.
pub(crate) async fn run(worker: Rc<Worker>, share: Share) -> io::Result<()> {
    let accepting = match share.socket {
        Listening::Tcp(listener) => Accepting::Tcp(TcpListener::from_std(listener)?),
        Listening::Unix(listener) => Accepting::Unix(UnixListener::from_std(listener)?),
    };
    let direction = share.direction;
    loop {
        tokio::select! {
            accepted = accepting.accept() => match accepted {
                Ok((stream, peer)) => take(&worker, direction, stream, peer),
                Err(error) => rest(&worker, direction, &error).await,
            },
            () = worker.reached(direction, Phase::Draining) => break,
        }
    }
    // Who waits in the queue was promised service by the kernel, and would be reset by the close.
    for _ in 0..BACKLOG {
        match accepting.accept_now() {
            Ok((stream, peer)) => take(&worker, direction, stream, peer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(_) => {}
        }
    }
    Ok(())
}

/// Connections fail one by one (the client was quicker to leave); a process without descriptors or
/// memory fails at all of them, and must not spin.
async fn rest(worker: &Worker, direction: Direction, error: &io::Error) {
    use libc_errno::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    if matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOBUFS | ENOMEM)) {
        worker.stats.refused(&worker.registry, direction, Reason::ConnectionLimit);
        pillion_runtime::say!(
            Error,
            "no file descriptor or memory is left for new connections: raise the limit of open files",
            direction = direction.label(),
            error = error
        );
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// The error numbers of a full descriptor table and of exhausted memory (errno(3)), as on x86, ARM
/// and RISC-V.
mod libc_errno {
    pub(super) const ENOMEM: i32 = 12;
    pub(super) const ENFILE: i32 = 23;
    pub(super) const EMFILE: i32 = 24;
    pub(super) const ENOBUFS: i32 = 105;
}

fn take(worker: &Rc<Worker>, direction: Direction, stream: Stream, peer: Option<SocketAddr>) {
    let Some(context) = Context::open(worker, direction, peer) else {
        connection::refuse(worker, direction, stream);
        return;
    };
    drop(spawn_local(connection::serve(stream, context)));
}
