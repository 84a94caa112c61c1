//! Datagrams: each is a text.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::rc::Rc;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use pillion_runtime::say;
use tokio::io::Interest;

use super::bind::Datagrams;
use super::intake::{BLOCK, Feed, Intake};
use super::{Peer, Texts};

/// Datagrams are gathered up to so many bytes, as long as there are some.
const GATHERED: usize = BLOCK;
/// Reads of what lies in the kernel when nothing more is to be read.
const LAST_READS: u32 = 64;

/// What was read at once, from one sender.
#[derive(Debug, Default)]
struct Gathered {
    texts: Texts,
    peer: Peer,
    /// One of another sender, that comes next.
    next: Option<(Texts, Peer)>,
    /// How many the kernel has dropped since the socket was opened.
    dropped: Option<u32>,
}

/// Reads datagrams until the intake closes. With the policy to wait, the kernel drops what it cannot
/// hold, and counts it; over a Unix socket, senders wait.
pub(super) async fn read(socket: Datagrams, intake: Rc<Intake>) {
    let feed = Feed::new(&intake, None);
    let mut gathered = Gathered::default();
    let (mut closing, mut last_reads) = (false, LAST_READS);
    loop {
        let mut gather = || intake.with_block(|block| gathered.fill(&socket, block, &intake));
        if closing {
            // What is there, whether or not the runtime has heard of it yet.
            last_reads -= 1;
            if gather().is_err() || last_reads == 0 {
                break;
            }
        } else {
            // Nothing is lost where the other arm is taken: reading is the last that `read` does.
            let read = async {
                match &socket {
                    Datagrams::Udp(udp) => udp.async_io(Interest::READABLE, gather).await,
                    Datagrams::Unix(unix, _) => unix.async_io(Interest::READABLE, gather).await,
                }
            };
            tokio::select! {
                read = read => if let Err(error) = read {
                    say!(Warn, "cannot read datagrams of logs", error = error);
                },
                () = intake.closing() => closing = true,
            }
        }
        while let Some((texts, peer)) = gathered.take(&intake) {
            feed.give(texts, peer).await;
        }
    }
}

impl AsFd for Datagrams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp(socket) => socket.as_fd(),
            Self::Unix(socket, _) => socket.as_fd(),
        }
    }
}

impl Gathered {
    /// Reads what there is, until there is enough, or another sender's. An error after the first
    /// datagram comes again.
    fn fill(&mut self, socket: &impl AsFd, block: &mut [u8], intake: &Intake) -> io::Result<()> {
        let limit = intake.framing().line_bytes;
        loop {
            match self.receive(socket, block, limit) {
                Ok(()) => {}
                Err(_) if !self.texts.is_empty() => return Ok(()),
                Err(error) => return Err(error),
            }
            if self.next.is_some() || self.texts.held() >= GATHERED {
                return Ok(());
            }
        }
    }

    fn receive(&mut self, socket: &impl AsFd, block: &mut [u8], limit: usize) -> io::Result<()> {
        let mut slices = [IoSliceMut::new(block)];
        let mut control = nix::cmsg_space!(u32);
        let fd = socket.as_fd().as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control), flags)?;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::RxqOvfl(dropped) = control {
                self.dropped = Some(dropped);
            }
        }
        let (length, cut) = (message.bytes, message.flags.contains(MsgFlags::MSG_TRUNC));
        let peer = message.address.and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
        });
        let text = block.get(..length).unwrap_or_default();
        let text = text.strip_suffix(b"\0").unwrap_or(text);
        let is_other = !self.texts.is_empty() && peer != self.peer;
        let mut one = Texts::default();
        let texts = if is_other { &mut one } else { &mut self.texts };
        if cut {
            // How much the kernel cut is not known: a byte at least.
            let kept = text.get(..limit).unwrap_or(text);
            texts.push_cut(kept, text.len() - kept.len() + 1);
        } else {
            texts.push(text, limit);
        }
        if is_other {
            self.next = Some((one, peer));
        } else {
            self.peer = peer;
        }
        Ok(())
    }

    /// What was gathered, one sender after another.
    fn take(&mut self, intake: &Intake) -> Option<(Texts, Peer)> {
        if let Some(dropped) = self.dropped {
            intake.note(|status| status.kernel_dropped = u64::from(dropped));
        }
        if self.texts.is_empty() {
            return self.next.take();
        }
        Some((std::mem::take(&mut self.texts), self.peer.take()))
    }
}
