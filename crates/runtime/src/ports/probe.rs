//! Asking a port whether it speaks HTTP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a port may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks the server about itself (RFC 9110, 9.3.7); it names no resource of the app, changes nothing
/// and is answered by every HTTP/1 server, if only with an error.
const QUESTION: &[u8] = b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// What a port answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// HTTP, of any version.
    Http,
    /// Something else, or it hung up.
    Other,
    /// Nothing in time.
    Silence,
}

/// Asks the port at `address`.
pub(super) async fn probe(address: SocketAddr) -> Speaks {
    match timeout(PATIENCE, answer(address)).await {
        Ok(Ok(start)) => recognise(&start),
        // Not yet accepting, or just gone: the next look tells.
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Speaks::Silence,
        Ok(Err(_)) => Speaks::Other,
        Err(_) => Speaks::Silence,
    }
}

/// The first bytes of the answer; fewer when the port hangs up.
async fn answer(address: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(QUESTION).await?;
    let mut start = Vec::with_capacity(9);
    stream.take(9).read_to_end(&mut start).await?;
    Ok(start)
}

/// An HTTP/1 status line, or the frame with which an HTTP/2 server opens or refuses: SETTINGS or
/// GOAWAY on stream 0 (RFC 9113, 4.1).
pub(super) fn recognise(start: &[u8]) -> Speaks {
    match start {
        [b'H', b'T', b'T', b'P', b'/', ..] | [0, _, _, 4 | 7, _, 0, 0, 0, 0] => Speaks::Http,
        _ => Speaks::Other,
    }
}
