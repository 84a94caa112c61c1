//! HTTP/1 messages as a test sees them: exact bytes, and as little meaning as will do.
//!
//! Nothing of the product's own engine is used, or a mistake there would hide itself here.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::PATIENCE;

/// A request or response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// All of its bytes, with the empty line.
    pub raw: Vec<u8>,
    /// The request or status line.
    pub line: String,
    /// Names (as sent) and values, in order.
    pub fields: Vec<(String, String)>,
}

impl Head {
    fn parse(raw: Vec<u8>) -> Self {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let fields = lines
            .map(|field| field.split_once(':').unwrap_or((field, "")))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Self { raw, line, fields }
    }

    /// The value of the first field with this name, whatever its case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.all(name).into_iter().next()
    }

    /// The values of every field with this name, whatever its case.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// Whether a field with exactly this name, in this case, is there.
    pub fn spells(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, _)| known == name)
    }

    fn is_chunked(&self) -> bool {
        self.field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }

    fn length(&self) -> Option<usize> {
        self.field("content-length").map(|length| length.parse().expect("a content-length"))
    }
}

/// A message body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Its bytes on the wire.
    pub raw: Vec<u8>,
    /// What they carry.
    pub data: Vec<u8>,
    /// Trailer fields.
    pub trailers: Vec<(String, String)>,
}

impl Body {
    fn plain(data: Vec<u8>) -> Self {
        Self { raw: data.clone(), data, trailers: Vec::new() }
    }
}

/// How a body ends when its head does not say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// There is none.
    Nothing,
    /// With the connection.
    Close,
}

/// A connection with what was read from it and not used yet.
pub struct Stream {
    tcp: TcpStream,
    unused: Vec<u8>,
}

impl Stream {
    /// Takes over a connection.
    pub fn new(tcp: TcpStream) -> Self {
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { tcp, unused: Vec::new() }
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.tcp.write_all(bytes.as_ref())
    }

    /// Says that nothing more comes.
    pub fn half_close(&mut self) {
        self.tcp.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Address of this end.
    pub fn local(&self) -> SocketAddr {
        self.tcp.local_addr().unwrap()
    }

    /// The socket itself, for what this type does not do.
    pub fn socket(&mut self) -> &mut TcpStream {
        assert!(self.unused.is_empty(), "bytes were read that would be lost");
        &mut self.tcp
    }

    /// Reads some bytes; 0 at the end.
    ///
    /// # Errors
    /// When the connection was reset, or nothing came in time.
    pub fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.unused.is_empty() {
            return self.tcp.read(into);
        }
        let count = self.unused.len().min(into.len());
        into[..count].copy_from_slice(&self.unused[..count]);
        self.unused.drain(..count);
        Ok(count)
    }

    /// Reads exactly so many bytes.
    ///
    /// # Errors
    /// When fewer come.
    pub fn try_read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unused.len() < count {
            self.fill()?;
        }
        Ok(self.unused.drain(..count).collect())
    }

    /// Reads to the end of the connection.
    ///
    /// # Errors
    /// When it is reset, or stays open too long. What came before is lost.
    pub fn try_read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.unused);
        self.tcp.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads a head.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the connection ends first; else as the system says.
    pub fn try_read_head(&mut self) -> io::Result<Head> {
        loop {
            if let Some(at) = find(&self.unused, b"\r\n\r\n") {
                return Ok(Head::parse(self.unused.drain(..at + 4).collect()));
            }
            self.fill()?;
        }
    }

    /// Reads the body that follows `head`.
    pub(crate) fn try_read_body(&mut self, head: &Head, otherwise: Otherwise) -> io::Result<Body> {
        if head.is_chunked() {
            return self.try_read_chunked();
        }
        match (head.length(), otherwise) {
            (Some(length), _) => self.try_read_exact(length).map(Body::plain),
            (None, Otherwise::Close) => self.try_read_to_end().map(Body::plain),
            (None, Otherwise::Nothing) => Ok(Body::default()),
        }
    }

    fn try_read_chunked(&mut self) -> io::Result<Body> {
        let mut body = Body::default();
        loop {
            let line = self.try_read_line(&mut body.raw)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, format!("chunk size {line:?}"))
            })?;
            if size == 0 {
                break;
            }
            let chunk = self.try_read_exact(size + 2)?;
            body.raw.extend_from_slice(&chunk);
            body.data.extend_from_slice(&chunk[..size]);
        }
        loop {
            let line = self.try_read_line(&mut body.raw)?;
            let Some((name, value)) = line.split_once(':') else { return Ok(body) };
            body.trailers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// One line without its end, which goes into `raw` too.
    fn try_read_line(&mut self, raw: &mut Vec<u8>) -> io::Result<String> {
        loop {
            if let Some(at) = find(&self.unused, b"\r\n") {
                let line: Vec<u8> = self.unused.drain(..at + 2).collect();
                raw.extend_from_slice(&line);
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        let count = self.tcp.read(&mut buffer)?;
        if count == 0 {
            let seen = self.unused.escape_ascii();
            let text = format!("the connection ended after {seen}");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        self.unused.extend_from_slice(&buffer[..count]);
        Ok(())
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
