//! Connections: accepting them, and reading texts from those that speak lines or syslog.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use pillion_model::logs::ListenProtocol;
use pillion_runtime::say;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::bind::Listener;
use super::intake::{Feed, Intake};
use super::syslog::SyslogFramer;
use super::{Framing, Peer, Texts, http};
use crate::lines::Framer;

/// A sender of lines may be silent for days, and a connection that is closed may cost it a line: only
/// one whose host does not answer any more is closed, after this silence and a few probes.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// The wait after an accept that failed, as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Reads of what lies in the kernel when nothing more is to be read.
const LAST_READS: u32 = 64;

/// An accepted connection.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Accepts connections until the intake closes. Those that there is no place for wait in the kernel.
pub(super) async fn accept(listener: Listener, protocol: ListenProtocol, intake: Rc<Intake>) {
    // So that the end is not seen before the connections of the last moment are.
    let _open = Feed::new(&intake, None);
    let mut connections = JoinSet::new();
    loop {
        intake.note(|status| status.connections = connections.len());
        let has_place = connections.len() < intake.most_connections.get().max(1);
        tokio::select! {
            accepted = listener.accept(), if has_place => match accepted {
                Ok((socket, peer)) => {
                    connections.spawn_local(serve(socket, peer, protocol, intake.clone()));
                }
                Err(error) => {
                    say!(Warn, "cannot accept a connection for logs", error = error);
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_ended) = connections.join_next(), if !connections.is_empty() => {}
            () = intake.place_free.notified() => {}
            () = intake.closing() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    intake.note(|status| status.connections = 0);
}

async fn serve(socket: Socket, peer: Peer, protocol: ListenProtocol, intake: Rc<Intake>) {
    match protocol {
        ListenProtocol::Http | ListenProtocol::Otlp => match socket {
            Socket::Tcp(socket) => http::serve(socket, peer, protocol, intake).await,
            Socket::Unix(socket) => http::serve(socket, peer, protocol, intake).await,
        },
        ListenProtocol::Tcp
        | ListenProtocol::Udp
        | ListenProtocol::SyslogTcp
        | ListenProtocol::SyslogUdp => {
            let framing = intake.framing();
            let framer = TextFramer::new(protocol, framing);
            read(&socket, framer, &Feed::new(&intake, None), peer).await;
        }
    }
}

/// Reads texts until the connection or the intake ends.
async fn read(socket: &Socket, mut framer: TextFramer, feed: &Feed, peer: Peer) {
    let mut last_reads: Option<u32> = None;
    while last_reads != Some(0) {
        match &mut last_reads {
            Some(left) => *left -= 1,
            None => tokio::select! {
                ready = socket.readable() => if ready.is_err() { break },
                () = feed.intake().closing() => last_reads = Some(LAST_READS),
            },
        }
        let mut texts = Texts::default();
        let read = feed.intake().with_block(|block| {
            let read = if last_reads.is_none() {
                socket.try_read(block)?
            } else {
                socket.read_now(block)?
            };
            framer.take(block.get(..read).unwrap_or_default(), &mut texts);
            Ok::<_, io::Error>(read)
        });
        match read {
            Ok(0) => break,
            Ok(_) => {
                feed.give(texts, peer).await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && last_reads.is_none() => {}
            Err(_) => break,
        }
    }
    let mut texts = Texts::default();
    framer.flush(&mut texts);
    feed.give(texts, peer).await;
}

impl Listener {
    async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                let keepalive =
                    TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
                SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
                Ok((Socket::Tcp(socket), Some(peer)))
            }
            Self::Unix(listener, _) => {
                let (socket, _) = listener.accept().await?;
                Ok((Socket::Unix(socket), None))
            }
        }
    }
}

impl Socket {
    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.readable().await,
            Self::Unix(socket) => socket.readable().await,
        }
    }

    /// Reads what is there, whether or not the runtime has heard of it yet.
    fn read_now(&self, block: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Self::Tcp(socket) => nix::unistd::read(socket, block),
            Self::Unix(socket) => nix::unistd::read(socket, block),
        };
        Ok(read?)
    }

    fn try_read(&self, block: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_read(block),
            Self::Unix(socket) => socket.try_read(block),
        }
    }
}

/// Finds the texts of one stream.
#[derive(Debug)]
pub(super) enum TextFramer {
    Lines(Framer),
    Syslog(SyslogFramer),
}

impl TextFramer {
    pub(super) fn lines(framing: Framing) -> Self {
        Self::Lines(Framer::new(framing.encoding, framing.line_bytes, 0))
    }

    fn new(protocol: ListenProtocol, framing: Framing) -> Self {
        if protocol == ListenProtocol::SyslogTcp {
            Self::Syslog(SyslogFramer::new(framing.line_bytes))
        } else {
            Self::lines(framing)
        }
    }

    pub(super) fn take(&mut self, block: &[u8], texts: &mut Texts) {
        match self {
            Self::Lines(framer) => {
                let mut lines = framer.lines(block);
                while let Some(line) = lines.next() {
                    texts.push_kept(line.bytes, line.truncated);
                }
                if !texts.is_empty() {
                    texts.leave_out(framer.take_left_out());
                }
            }
            Self::Syslog(framer) => framer.take(block, texts),
        }
    }

    pub(super) fn flush(&mut self, texts: &mut Texts) {
        match self {
            Self::Lines(framer) => {
                if let Some(line) = framer.flush() {
                    texts.push_kept(line.bytes, line.truncated);
                }
                texts.leave_out(framer.take_left_out());
            }
            Self::Syslog(framer) => framer.flush(texts),
        }
    }

    /// Whether a line has begun and has not ended.
    pub(super) fn is_within(&self) -> bool {
        match self {
            Self::Lines(framer) => framer.held() > 0,
            Self::Syslog(_) => false,
        }
    }
}
