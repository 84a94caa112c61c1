//! A bare connection, for protocols other than HTTP.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_service::Service as _;

use crate::connect::{Connector, Stream};
use crate::{Error, Tls, TlsError};

/// An open connection to a server, encrypted or not.
pub struct Connection(TokioIo<Stream>);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// A file of TLS cannot be read or does not fit.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nobody answers, or not as expected.
    #[error(transparent)]
    Connect(#[from] Error),
}

/// Connects to `HOST:PORT`, over TLS where that is given, whose files are read for it. No protocol
/// of the application layer is negotiated.
///
/// # Errors
/// [`DialError`]; also when it takes longer than `timeout`.
pub async fn dial(
    address: &str,
    tls: Option<&Tls>,
    timeout: Duration,
) -> Result<Connection, DialError> {
    let failed = |reason| Error::Connect { target: address.to_owned(), reason };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let uri = format!("{scheme}://{address}").parse();
    let uri = uri.map_err(|_| failed("this is no HOST:PORT".to_owned()))?;
    let stream = Connector::bare(tls, timeout)?.call(uri).await;
    Ok(Connection(TokioIo::new(stream.map_err(|error| failed(crate::innermost(&*error)))?)))
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    // Without these two, each part of a message would be a write of its own.
    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, parts)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use pillion_testkit::ClosedPort;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_parts_of_a_message_go_out_in_one_write() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut connection = dial(&address, None, Duration::from_secs(20)).await.unwrap();
        let parts = ["head ", "records ", "options"].map(str::as_bytes).map(IoSlice::new);
        assert!(connection.is_write_vectored());
        assert_eq!(connection.write_vectored(&parts).await.unwrap(), "head records options".len());
    }

    #[tokio::test]
    async fn what_cannot_be_reached_is_said_with_its_address() {
        let closed = ClosedPort::new();
        let address = closed.address().to_string();
        let missing = Tls { ca: Some("/nowhere/ca.pem".into()), ..Tls::default() };
        for (address, tls, message) in [
            (address.as_str(), None, format!("cannot connect to {address}: ")),
            ("a b:1", None, "cannot connect to a b:1: this is no HOST:PORT".to_owned()),
            ("localhost:1", Some(&missing), "/nowhere/ca.pem: no such file".to_owned()),
        ] {
            let error = dial(address, tls, Duration::from_secs(20)).await.unwrap_err();
            assert!(error.to_string().starts_with(&message), "{error}");
        }
    }
}
