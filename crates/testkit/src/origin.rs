//! Servers that do what a test tells them to, to the byte.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::eventually_some;
use crate::message::{Body, Head, Otherwise, Stream};

/// A server on a free port; each connection is served on a thread of its own.
pub struct Origin {
    address: SocketAddr,
    log: Arc<Log>,
    over: Arc<AtomicBool>,
}

#[derive(Default)]
struct Log {
    connections: Mutex<usize>,
    requests: Mutex<Vec<(Head, Body)>>,
}

impl Origin {
    /// Serves each connection with `serve`.
    pub fn start(serve: impl Fn(Conn) + Send + Sync + 'static) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), serve)
    }

    /// Serves each connection to this address with `serve`.
    ///
    /// # Panics
    /// When the address is taken: all but port 0 is for a [network of its own](crate::Network).
    pub fn start_at(address: SocketAddr, serve: impl Fn(Conn) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address)
            .unwrap_or_else(|error| panic!("listening at {address}: {error}"));
        let address = listener.local_addr().unwrap();
        let (log, over) = (Arc::new(Log::default()), Arc::new(AtomicBool::new(false)));
        let origin = Self { address, log: Arc::clone(&log), over: Arc::clone(&over) };
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let number = log.connected();
                let conn = Conn { stream: Stream::new(stream), number, log: Arc::clone(&log) };
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(conn));
            }
        });
        origin
    }

    /// Answers each request with its own exact bytes, on connections that are kept alive.
    pub fn echo() -> Self {
        Self::answering(|head, body| respond(&[&head.raw[..], &body.raw].concat()))
    }

    /// Answers each request with this text, on connections that are kept alive.
    pub fn saying(text: &'static str) -> Self {
        Self::answering(move |_, _| respond(text.as_bytes()))
    }

    /// Answers each request to this address with the address, on connections that are kept alive.
    pub fn saying_its_address(address: SocketAddr) -> Self {
        let answer = respond(address.to_string().as_bytes());
        Self::start_at(address, answers(move |_, _| answer.clone()))
    }

    /// Answers each request with the bytes that `answer` makes, on connections that are kept alive.
    pub fn answering(answer: impl Fn(&Head, &Body) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(answers(answer))
    }

    /// Answers the first request of each connection with these bytes and closes it.
    pub fn once(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |mut conn| {
            if conn.request().is_some() {
                // A proxy that does not like what it reads may be gone already.
                drop(conn.try_send(&answer));
            }
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections came so far.
    pub fn connections(&self) -> usize {
        *self.log.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The requests that were read whole so far.
    pub fn requests(&self) -> Vec<(Head, Body)> {
        self.log.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the first request.
    pub fn request(&self) -> (Head, Body) {
        eventually_some("a request at the origin", || self.requests().into_iter().next())
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; when nobody listens any more there is nothing to wake.
        drop(std::net::TcpStream::connect(self.address));
    }
}

impl Log {
    fn connected(&self) -> usize {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        *connections += 1;
        *connections - 1
    }
}

/// Serves a connection by answering each of its requests.
fn answers(
    answer: impl Fn(&Head, &Body) -> Vec<u8> + Send + Sync + 'static,
) -> impl Fn(Conn) + Send + Sync + 'static {
    move |mut conn| {
        while let Some((head, body)) = conn.request() {
            if conn.try_send(answer(&head, &body)).is_err() {
                return;
            }
        }
    }
}

/// A response with status 200 and this body.
fn respond(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A connection that an [`Origin`] serves.
pub struct Conn {
    stream: Stream,
    /// 0 for the first connection of the origin, and so on.
    pub number: usize,
    log: Arc<Log>,
}

impl Conn {
    /// Reads a whole request and notes it; `None` when the connection ended instead.
    pub fn request(&mut self) -> Option<(Head, Body)> {
        let head = self.head()?;
        let body = self.stream.try_read_body(&head, Otherwise::Nothing).ok()?;
        let request = (head, body);
        let mut requests = self.log.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push(request.clone());
        Some(request)
    }

    /// Reads a request head alone; `None` when the connection ended instead.
    pub fn head(&mut self) -> Option<Head> {
        self.stream.try_read_head().ok()
    }

    /// Sends bytes. That the peer is gone is no failure: whether it should be is for the test to
    /// say.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.stream.try_send(bytes));
    }

    /// Waits until the peer ends the connection, whichever way.
    ///
    /// # Panics
    /// When it stays open.
    pub fn wait_for_end(&mut self) {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.stream.try_read(&mut buffer) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("the peer never ended the connection")
                }
                Ok(0) | Err(_) => return,
            }
        }
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        self.stream.reset();
    }
}

impl Deref for Conn {
    type Target = Stream;
    fn deref(&self) -> &Stream {
        &self.stream
    }
}

impl DerefMut for Conn {
    fn deref_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }
}
