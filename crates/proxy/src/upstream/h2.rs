//! A worker's HTTP/2 connection to an endpoint: its streams, and whether anybody is still there.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{Ping, PingPong};
use pillion_model::Reason;
use pillion_runtime::say;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use super::Endpoint;
use super::pool::Slot;
use crate::h2_settings;
use crate::stream::Stream;

/// The longest that the answer to a PING may take. One that is late by seconds has lost a packet or
/// works hard; half a minute of nothing at all is nobody.
const PONG_TIMEOUT: Duration = Duration::from_secs(20);

/// One HTTP/2 connection to an endpoint.
pub(crate) struct H2Connection {
    send: RefCell<SendRequest<Bytes>>,
    active: Cell<usize>,
    /// Whether it has carried a stream.
    used: Cell<bool>,
    /// Whether it takes no more streams: it was closed, or its peer is going away.
    retired: Cell<bool>,
    last_used: Cell<Instant>,
}

/// A place for one stream, until dropped.
pub(crate) struct H2Lease {
    connection: Rc<H2Connection>,
    /// Whether the connection carried a stream before: then its peer may be closing it just now.
    pub(crate) reused: bool,
}

impl H2Lease {
    /// A handle that can open the stream.
    pub(crate) fn sender(&self) -> SendRequest<Bytes> {
        self.connection.send.borrow().clone()
    }

    /// Keeps the connection from being given further streams.
    pub(crate) fn retire(&self) {
        self.connection.retired.set(true);
    }
}

impl Drop for H2Lease {
    fn drop(&mut self) {
        self.connection.active.set(self.connection.active.get().saturating_sub(1));
        self.connection.last_used.set(Instant::now());
    }
}

impl H2Connection {
    /// Greets the endpoint at the other end of `stream`. With `silence`, an endpoint that says nothing
    /// for so long while a stream is open is asked whether it is there.
    pub(super) async fn open(
        stream: Stream,
        slot: Slot,
        endpoint: Arc<Endpoint>,
        silence: Option<Duration>,
    ) -> Result<Rc<Self>, Reason> {
        let line = Rc::new(Line::default());
        let stream = Watched { stream, line: Rc::clone(&line) };
        let (send, driver) = h2_settings::client()
            .handshake::<_, Bytes>(stream)
            .await
            .map_err(|_| Reason::UpstreamConnectFailed)?;
        let connection = Rc::new(Self {
            send: RefCell::new(send),
            active: Cell::new(0),
            used: Cell::new(false),
            retired: Cell::new(false),
            last_used: Cell::new(Instant::now()),
        });
        let watch = Watch { connection: Rc::downgrade(&connection), line, endpoint, silence };
        drop(spawn_local(async move {
            watch.drive(driver).await;
            drop(slot);
        }));
        Ok(connection)
    }

    /// A place for another stream, where there is one.
    pub(super) fn lease(self: &Rc<Self>) -> Option<H2Lease> {
        if self.active.get() >= self.send.borrow().current_max_send_streams() {
            return None;
        }
        self.active.set(self.active.get() + 1);
        self.last_used.set(Instant::now());
        Some(H2Lease { connection: Rc::clone(self), reused: self.used.replace(true) })
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.get()
    }

    /// Whether it has streams, or had one within `idle_timeout`.
    pub(super) fn is_in_use(&self, idle_timeout: Duration, now: Instant) -> bool {
        self.active.get() > 0 || now - self.last_used.get() < idle_timeout
    }
}

/// What keeps a connection going, and finds out that nobody is at its other end.
struct Watch {
    connection: Weak<H2Connection>,
    line: Rc<Line>,
    endpoint: Arc<Endpoint>,
    silence: Option<Duration>,
}

impl Watch {
    async fn drive(&self, mut driver: Connection<Watched>) {
        let ping = driver.ping_pong();
        tokio::select! {
            biased;
            // Its streams report what went wrong with them; here it only matters that it ended.
            _ = &mut driver => {}
            () = self.falls_silent(ping) => {
                let endpoint = &self.endpoint.label;
                say!(Warn, "an endpoint does not answer any more", endpoint = endpoint);
                self.line.is_lost.set(true);
                drop(driver.await);
            }
        }
        if let Some(connection) = self.connection.upgrade() {
            connection.retired.set(true);
        }
    }

    /// Waits until the endpoint has said nothing for `silence`, or up to twice that, while a stream
    /// was open, and then has not answered a PING (RFC 9113 §6.7) in time. Without a stream nobody is
    /// asked: servers of gRPC take that for abuse, and the pool closes such a connection soon.
    async fn falls_silent(&self, ping: Option<PingPong>) {
        let Some((mut ping, silence)) = ping.zip(self.silence) else {
            return std::future::pending().await;
        };
        loop {
            sleep(silence).await;
            if self.line.was_heard() || !self.is_busy() {
                continue;
            }
            let mut answer = pin!(ping.ping(Ping::opaque()));
            // Whatever comes shows that somebody is there: the answer may be behind much else.
            while timeout(silence.min(PONG_TIMEOUT), &mut answer).await.is_err() {
                if !self.line.was_heard() {
                    return;
                }
            }
        }
    }

    fn is_busy(&self) -> bool {
        self.connection.upgrade().is_some_and(|connection| connection.active.get() > 0)
    }
}

/// What is known about the bytes of a connection.
#[derive(Default)]
struct Line {
    /// Whether anything came since the last look.
    heard: Cell<bool>,
    /// Whether it is taken for lost: who reads or writes is told so.
    is_lost: Cell<bool>,
}

impl Line {
    fn was_heard(&self) -> bool {
        self.heard.take()
    }

    /// # Errors
    /// The connection is lost.
    fn check(&self) -> io::Result<()> {
        if self.is_lost.get() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

/// A connection that notes whether anything is heard. It reads no clock for that.
struct Watched {
    stream: Stream,
    line: Rc<Line>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.line.check()?;
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.line.heard.set(true);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.line.check()?;
        AsyncWrite::poll_write(Pin::new(&mut self.stream), cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.line.check()?;
        AsyncWrite::poll_write_vectored(Pin::new(&mut self.stream), cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.stream), cx)
    }
}
