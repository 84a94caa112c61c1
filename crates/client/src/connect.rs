//! One connection: TCP or a Unix socket, with TLS over it where the target asks for it.

use std::future::Future;
use std::io::{self, IoSlice};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::UnixStream;
use tower_service::Service;

use crate::tls::{Tls, TlsError};
use crate::{Options, Target};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

/// Opens the connections of one client.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    way: Way,
    timeout: Duration,
}

#[derive(Clone, Debug)]
enum Way {
    Plain(HttpConnector),
    Tls(Box<HttpsConnector<HttpConnector>>),
    Unix(Arc<Path>),
}

impl Connector {
    pub(crate) fn new(target: &Target, options: &Options) -> Result<Self, TlsError> {
        let tcp = tcp();
        let way = match &target.unix {
            Some(path) => Way::Unix(Arc::from(path.as_path())),
            None if target.is_tls() => {
                Way::Tls(Box::new(encrypted(tcp, &options.tls, Spoken::Http)?))
            }
            None => Way::Plain(tcp),
        };
        Ok(Self { way, timeout: options.connect_timeout })
    }

    /// For connections that speak no HTTP.
    pub(crate) fn bare(tls: Option<&Tls>, timeout: Duration) -> Result<Self, TlsError> {
        let tcp = tcp();
        let way = match tls {
            Some(tls) => Way::Tls(Box::new(encrypted(tcp, tls, Spoken::Other)?)),
            None => Way::Plain(tcp),
        };
        Ok(Self { way, timeout })
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp
}

/// What is spoken over TLS.
#[derive(Clone, Copy, Debug)]
enum Spoken {
    /// HTTP, in the version that both sides agree on.
    Http,
    /// Something that is not negotiated.
    Other,
}

fn encrypted(
    tcp: HttpConnector,
    tls: &Tls,
    spoken: Spoken,
) -> Result<HttpsConnector<HttpConnector>, TlsError> {
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls.config()?).https_only();
    let builder = match &tls.server_name {
        Some(name) => {
            let server =
                ServerName::try_from(name.clone()).map_err(|_| TlsError::Name(name.clone()))?;
            builder.with_server_name_resolver(FixedServerNameResolver::new(server))
        }
        None => builder,
    };
    Ok(match spoken {
        Spoken::Http => builder.enable_all_versions().wrap_connector(tcp),
        // HTTP/1 is what is spoken where nothing is negotiated.
        Spoken::Other => builder.enable_http1().wrap_connector(tcp),
    })
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Neither of them ever has to wait before a call.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let connecting = self.way.connect(uri);
        let timeout = self.timeout;
        Box::pin(async move {
            match tokio::time::timeout(timeout, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(format!("no connection within {timeout:?}").into()),
            }
        })
    }
}

impl Way {
    fn connect(&mut self, uri: Uri) -> Connecting {
        match self {
            Self::Plain(tcp) => {
                let connecting = tcp.call(uri);
                Box::pin(async { Ok(Stream::new(connecting.await?)) })
            }
            Self::Tls(tls) => {
                let connecting = tls.call(uri);
                Box::pin(async { Ok(Stream::new(connecting.await?)) })
            }
            Self::Unix(path) => {
                let path = path.clone();
                Box::pin(async move {
                    let stream = UnixStream::connect(path).await?;
                    Ok(Stream::new(Unix(TokioIo::new(stream))))
                })
            }
        }
    }
}

/// What a connection reads and writes, whatever is below.
trait Io: Read + Write + Connection + Send + Unpin {}

impl<T: Read + Write + Connection + Send + Unpin> Io for T {}

/// An open connection.
pub(crate) struct Stream(Box<dyn Io>);

impl Stream {
    fn new(io: impl Io + 'static) -> Self {
        Self(Box::new(io))
    }
}

/// A Unix socket, which says nothing about itself.
struct Unix(TokioIo<UnixStream>);

macro_rules! pass_io_on {
    ($type:ty) => {
        impl Read for $type {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: ReadBufCursor<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_read(cx, buf)
            }
        }

        impl Write for $type {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.0).poll_write(cx, bytes)
            }

            // Without these two, every body would be copied behind its head.
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

            fn poll_shutdown(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_shutdown(cx)
            }
        }
    };
}

pass_io_on!(Stream);
pass_io_on!(Unix);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.0.connected()
    }
}

impl Connection for Unix {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
