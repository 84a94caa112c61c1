//! A client that sends exactly the bytes it is given and shows exactly what comes back.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};

use crate::PATIENCE;
use crate::message::{Body, Head, Otherwise, Stream};

/// A client connection.
pub struct Wire(Stream);

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In order.
    Closed,
    /// With a reset.
    Reset,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: Body,
    /// Interim responses that came before it.
    pub interim: Vec<Head>,
}

impl Response {
    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.data).into_owned()
    }

    /// The reason that Pillion gives in `proxy-status` when it answered itself.
    pub fn reason(&self) -> Option<&str> {
        let status = self.header("proxy-status")?;
        status.split(';').find_map(|parameter| parameter.trim().strip_prefix("reason="))
    }
}

impl Wire {
    /// Connects over TCP.
    pub fn connect(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect_timeout(&address, PATIENCE);
        Self(Stream::new(tcp.unwrap_or_else(|error| panic!("connecting to {address}: {error}"))))
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.0.try_send(bytes).unwrap();
        self
    }

    /// Reads a final response to any method but HEAD and CONNECT.
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    /// Reads a final response to `method`, with the interim ones before it.
    pub fn response_to(&mut self, method: &str) -> Response {
        let mut interim = Vec::new();
        loop {
            let head = self.head();
            let status = status(&head);
            if (100..200).contains(&status) && status != 101 {
                interim.push(head);
                continue;
            }
            let opens_tunnel = status == 101 || (method == "CONNECT" && status < 300);
            let empty = method == "HEAD" || status == 204 || status == 304 || opens_tunnel;
            let body = if empty { Body::default() } else { self.body(&head) };
            return Response { status, head, body, interim };
        }
    }

    /// Reads a response head alone.
    pub fn head(&mut self) -> Head {
        self.0.try_read_head().unwrap_or_else(|error| panic!("reading a response head: {error}"))
    }

    /// Reads the body that follows a response head.
    fn body(&mut self, head: &Head) -> Body {
        let body = self.0.try_read_body(head, Otherwise::Close);
        body.unwrap_or_else(|error| panic!("reading the body after {}: {error}", head.line))
    }

    /// Reads exactly so many bytes.
    pub fn read_exact(&mut self, count: usize) -> Vec<u8> {
        self.0.try_read_exact(count).unwrap()
    }

    /// Reads until the connection ends; returns what came, and how it ended.
    ///
    /// # Panics
    /// When it stays open and silent.
    pub fn read_to_end(&mut self) -> (Vec<u8>, End) {
        let mut all = Vec::new();
        let mut buffer = [0; 16 << 10];
        loop {
            match self.0.try_read(&mut buffer) {
                Ok(0) => return (all, End::Closed),
                Ok(count) => all.extend_from_slice(&buffer[..count]),
                Err(error) if is_reset(error.kind()) => return (all, End::Reset),
                Err(error) => panic!("still open after {}: {error}", all.escape_ascii()),
            }
        }
    }
}

impl Deref for Wire {
    type Target = Stream;
    fn deref(&self) -> &Stream {
        &self.0
    }
}

impl DerefMut for Wire {
    fn deref_mut(&mut self) -> &mut Stream {
        &mut self.0
    }
}

impl From<Wire> for Stream {
    fn from(wire: Wire) -> Self {
        wire.0
    }
}

fn status(head: &Head) -> u16 {
    let code = head.line.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.unwrap_or_else(|| panic!("no status line: {:?}", head.line))
}

fn is_reset(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
