//! Syslog over TCP (octet counting, RFC 6587), UDP (RFC 5426) and Unix datagrams.
//!
//! Syslog has no answers. Over TCP each load has a connection of its own, which we end and the
//! receiver then closes: it has read everything. Where it does not close, or over datagrams, what
//! the system took counts as delivered.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pillion_model::logs::SyslogTransport;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram};
use tokio::time::timeout;

use super::{Cause, Load, Mixed, Trouble, Verdict};

/// How long a connection may take, and each load after that.
const CONNECT: Duration = Duration::from_secs(5);
const WRITE: Duration = Duration::from_secs(30);
/// How long a receiver may take to close after us.
const CLOSE: Duration = Duration::from_secs(5);

/// A receiver.
#[derive(Debug)]
pub(super) enum Syslog {
    Tcp(Arc<str>),
    Udp(Arc<str>),
    Unix(Arc<Path>),
}

impl Syslog {
    pub(super) fn new(transport: &SyslogTransport) -> Self {
        match transport {
            SyslogTransport::Tcp(address) => Self::Tcp(address.clone()),
            SyslogTransport::Udp(address) => Self::Udp(address.clone()),
            SyslogTransport::Unix(path) => Self::Unix(Arc::from(path.as_path())),
        }
    }

    pub(super) async fn send(&self, load: Load<'_>) -> Verdict {
        match self {
            Self::Tcp(address) => stream(address, load).await,
            Self::Udp(address) => match udp(address).await {
                Ok(socket) => datagrams(load, async |bytes| socket.send(bytes).await).await,
                Err(trouble) => Verdict::Retry(trouble),
            },
            Self::Unix(path) => match unix(path) {
                Ok(socket) => datagrams(load, async |bytes| socket.send(bytes).await).await,
                Err(trouble) => Verdict::Retry(trouble),
            },
        }
    }
}

async fn stream(address: &str, load: Load<'_>) -> Verdict {
    let stream = match timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Verdict::Retry(no_connection(address, &error)),
        Err(_) => return Verdict::Retry(Trouble::new(Cause::Timeout, late(address, CONNECT))),
    };
    match timeout(WRITE, write(stream, load)).await {
        Ok(Ok(())) => Verdict::Delivered,
        Ok(Err(error)) => Verdict::Retry(Trouble::new(
            Cause::Broken,
            format!("the connection to {address} broke: {error}"),
        )),
        Err(_) => Verdict::Retry(Trouble::new(Cause::Timeout, late(address, WRITE))),
    }
}

fn late(address: &str, limit: Duration) -> String {
    format!("{address} did not take it within {limit:?}")
}

fn no_connection(address: &str, error: &io::Error) -> Trouble {
    Trouble::new(Cause::Connect, format!("cannot connect to {address}: {error}"))
}

/// Writes the load, and waits until the receiver has read it.
async fn write(mut stream: TcpStream, load: Load<'_>) -> io::Result<()> {
    let mut framed = Vec::with_capacity(load.bytes().len() + load.len() * 8);
    for message in load.records() {
        framed.extend_from_slice(itoa::Buffer::new().format(message.len()).as_bytes());
        framed.push(b' ');
        framed.extend_from_slice(message);
    }
    stream.write_all(&framed).await?;
    stream.shutdown().await?;
    let mut ignored = [0; 256];
    let closed = async {
        while stream.read(&mut ignored).await? > 0 {}
        io::Result::Ok(())
    };
    // One that does not close keeps us no longer.
    timeout(CLOSE, closed).await.unwrap_or(Ok(()))
}

async fn udp(address: &str) -> Result<UdpSocket, Trouble> {
    let connected = async {
        let target = tokio::net::lookup_host(address).await?.next();
        let target = target.ok_or_else(|| io::Error::from(ErrorKind::AddrNotAvailable))?;
        let own = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(own).await?;
        socket.connect(target).await?;
        Ok(socket)
    };
    connected.await.map_err(|error| no_connection(address, &error))
}

fn unix(path: &Path) -> Result<UnixDatagram, Trouble> {
    let connected = UnixDatagram::unbound().and_then(|socket| {
        socket.connect(path)?;
        Ok(socket)
    });
    connected.map_err(|error| no_connection(&path.display().to_string(), &error))
}

/// Sends each message as a datagram, up to the first that fails.
async fn datagrams(load: Load<'_>, send: impl AsyncFn(&[u8]) -> io::Result<usize>) -> Verdict {
    let mut mixed = Mixed::default();
    for (record, message) in load.records().enumerate() {
        let sent = match timeout(WRITE, send(message)).await {
            Ok(sent) => sent.map(drop),
            Err(_) => Err(ErrorKind::TimedOut.into()),
        };
        match sent {
            Ok(()) => {}
            Err(error) if is_too_long(&error) => {
                mixed.refused.push((record, format!("too long for a datagram: {error}")));
            }
            Err(error) => {
                mixed.retry = (record..load.len()).collect();
                let text = format!("a datagram was not taken: {error}");
                mixed.trouble = Some(Trouble::new(Cause::Broken, text));
                break;
            }
        }
    }
    if mixed == Mixed::default() { Verdict::Delivered } else { Verdict::Mixed(mixed) }
}

fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::errno::Errno::EMSGSIZE as i32)
}
