//! The HTTP server that records go to: it swallows bodies and answers 200.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::failure::{Doing, Failure};
use crate::http;

/// A receiver that lives as long as this process, on the core of who started it.
pub(in crate::bench) struct Receiver {
    /// Where it listens.
    pub(super) address: SocketAddr,
}

impl Receiver {
    /// Starts it, with a thread for each connection.
    pub(in crate::bench) fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind(http::local(0)).doing("listening for logs")?;
        let address = listener.local_addr().doing("listening for logs")?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    if let Err(error) = serve(&stream) {
                        eprintln!("bench: the receiver of logs: {error}");
                    }
                });
            }
        });
        Ok(Self { address })
    }
}

/// Requests of one connection, one after another, until it ends.
fn serve(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(256 << 10, stream);
    let mut writer = stream;
    while let Some(length) = head(&mut reader)? {
        io::copy(&mut (&mut reader).take(length), &mut io::sink())?;
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
    Ok(())
}

/// Reads a request's head; how long its body is, `None` at the end of the connection.
fn head(reader: &mut impl BufRead) -> io::Result<Option<u64>> {
    let mut length = None;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim_end().is_empty() {
            let length = length.ok_or_else(|| io::Error::other("a request without a length"))?;
            return Ok(Some(length));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse().map_err(io::Error::other)?);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;

    use super::*;

    #[test]
    fn bodies_are_swallowed_and_each_request_is_answered() {
        let receiver = Receiver::start().unwrap();
        let mut stream = TcpStream::connect(receiver.address).unwrap();
        for body in ["", "one\n", "two\n"] {
            let length = body.len();
            write!(stream, "POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    }

    #[test]
    fn a_request_has_to_say_how_long_its_body_is() {
        let cases: [(&str, Option<u64>); 2] =
            [("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", Some(5)), ("", None)];
        for (text, expected) in cases {
            assert_eq!(head(&mut text.as_bytes()).unwrap(), expected, "{text:?}");
        }
        assert!(head(&mut "POST / HTTP/1.1\r\n\r\n".as_bytes()).is_err());
    }
}
