//! Opening a local address: of the admin interface, and of others of its kind.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, fchmod};
use pillion_model::settings::{Address, Listen};
use socket2::{Domain, SockAddr, Socket, Type};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// What is served at an address, in the words of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// What the address is of.
    pub what: &'static str,
    /// The option or key that names it.
    pub key: &'static str,
}

/// The admin interface.
const ADMIN: Purpose = Purpose { what: "admin", key: "--admin" };

/// An open local address.
#[derive(Debug)]
pub struct Bound {
    pub(super) listener: Listener,
    address: Address,
}

#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// The name of a Unix socket, removed when the listener goes.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

/// The address could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {} address {address}: {hint} {}", purpose.what, purpose.key)]
pub struct BindError {
    /// The address that was asked for.
    pub address: Address,
    purpose: Purpose,
    hint: &'static str,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl Bound {
    /// Where it listens: the real port, where the kernel chose it.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it already; there is nothing more to do then.
        let _already_gone = std::fs::remove_file(&self.0);
    }
}

/// Opens the admin address. A default that is taken gives way to a free port; a Unix socket is for
/// its owner alone (mode 0600), and takes the place of one that nobody listens on any more.
///
/// # Errors
/// The address is taken or cannot be used here; the message says what to do.
pub fn bind(listen: &Listen) -> Result<Bound, BindError> {
    bind_for(ADMIN, listen)
}

/// Opens an address as [`bind`] does, for another interface.
///
/// # Errors
/// The address is taken or cannot be used here; the message says what to do.
pub fn bind_for(purpose: Purpose, listen: &Listen) -> Result<Bound, BindError> {
    let opened = match &listen.address {
        Address::Tcp(address) => bind_tcp(*address, listen.asked),
        Address::Unix(path) => bind_unix(path),
    };
    opened.map_err(|source| BindError {
        address: listen.address.clone(),
        purpose,
        hint: hint(source.kind()),
        source,
    })
}

fn bind_tcp(address: SocketAddr, asked: bool) -> io::Result<Bound> {
    let listener = match TcpListener::bind(address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && !asked => {
            TcpListener::bind(SocketAddr::new(address.ip(), 0))?
        }
        result => result?,
    };
    listener.set_nonblocking(true)?;
    let address = Address::Tcp(listener.local_addr()?);
    Ok(Bound { listener: Listener::Tcp(listener), address })
}

fn bind_unix(path: &Path) -> io::Result<Bound> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Before bind: Linux gives the file the mode of the socket, so that it is never open to others,
    // not even for a moment.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile(path.to_owned());
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let address = Address::Unix(path.to_owned());
    Ok(Bound { listener: Listener::Unix(socket.into(), file), address })
}

/// Removes a socket that a process left behind. One that answers, and any other file, stays.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    let refused = || {
        UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    };
    if is_socket && refused() { std::fs::remove_file(path) } else { Ok(()) }
}

const fn hint(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::AddrInUse => "it is in use; end its user, or choose another with",
        ErrorKind::AddrNotAvailable => "this host does not have it; choose another with",
        ErrorKind::PermissionDenied => {
            "permission denied; choose a port from 1024 on or a folder that is ours, with"
        }
        ErrorKind::NotFound => "the folder does not exist; create it, or choose another with",
        _ => "choose another with",
    }
}
