//! HTTP as a client, for the roles: TLS, deadlines, bounded answers. Not for the request path.
//!
//! A [`Client`] speaks to one [`Target`]: a host over TCP, with or without TLS, or a Unix socket. It
//! keeps idle connections, speaks HTTP/2 where TLS negotiates it, and never follows a redirect:
//! whoever asks with a credential decides where the credential goes. [`dial`] opens a connection for
//! what is no HTTP.

mod body;
mod connect;
mod dial;
mod target;
mod tls;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

pub use body::Body;
use connect::Connector;
pub use dial::{Connection, DialError, dial};
pub use target::{Target, TargetError};
pub use tls::{Tls, TlsError};

/// How a client connects and how much it takes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Trust and identity, where the target speaks TLS.
    pub tls: Tls,
    /// How long a connection may take, TLS handshake included.
    pub connect_timeout: Duration,
    /// From the start of a request to the last byte of its answer ([`Client::stream`]: to the end
    /// of the answer's head).
    pub timeout: Duration,
    /// The most bytes that an answer may have.
    pub body_limit: usize,
    /// Idle connections that are kept.
    pub idle_connections: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls: Tls::default(),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            body_limit: 16 << 20,
            idle_connections: 4,
        }
    }
}

/// A client of one target. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    inner: legacy::Client<Connector, Body>,
    target: Target,
    timeout: Duration,
    body_limit: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, so the request was certainly not seen.
    #[error("cannot connect to {target}: {reason}")]
    Connect {
        /// Where to.
        target: String,
        /// What the system or the TLS layer says.
        reason: String,
    },
    /// The time was up.
    #[error("{target} did not answer within {limit:?}")]
    Timeout {
        /// Where to.
        target: String,
        /// The time that was given.
        limit: Duration,
    },
    /// The answer is larger than the limit.
    #[error("the answer of {target} is larger than {limit} bytes")]
    TooLarge {
        /// Where to.
        target: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The exchange broke off; the other side may have acted.
    #[error("the exchange with {target} broke off: {reason}")]
    Broken {
        /// Where to.
        target: String,
        /// What the HTTP layer says.
        reason: String,
    },
    /// The request cannot be written: its path or a header is not valid.
    #[error("the request to {target} is not valid: {reason}")]
    Request {
        /// Where to.
        target: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Client {
    /// A client of `target`. Opens nothing yet; reads the files that `options.tls` names.
    ///
    /// # Errors
    /// A certificate or key cannot be read or does not fit.
    pub fn new(target: Target, options: &Options) -> Result<Self, TlsError> {
        let connector = Connector::new(&target, options)?;
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .pool_max_idle_per_host(options.idle_connections)
            .build(connector);
        Ok(Self { inner, target, timeout: options.timeout, body_limit: options.body_limit })
    }

    /// Where it speaks to.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Sends a request, whose URI is a path with an optional query below the target's own path, and
    /// reads the whole answer.
    ///
    /// # Errors
    /// There is no whole answer; any status is an answer.
    pub async fn send<B: Into<Body>>(&self, request: Request<B>) -> Result<Response<Bytes>, Error> {
        let request = request.map(Into::into);
        let whole = async {
            let (head, body) = self.head(request).await?.into_parts();
            let body = Limited::new(body, self.body_limit).collect().await;
            let body = body.map_err(|error| self.broken_body(&*error))?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        tokio::time::timeout(self.timeout, whole).await.unwrap_or_else(|_| Err(self.timed_out()))
    }

    /// Sends a request and gives the answer's body as it comes: for watches. Nothing bounds its
    /// length or its time but the caller.
    ///
    /// # Errors
    /// There is no answer head.
    pub async fn stream(&self, request: Request<Bytes>) -> Result<Response<Incoming>, Error> {
        let head = tokio::time::timeout(self.timeout, self.head(request.map(Body::from))).await;
        head.unwrap_or_else(|_| Err(self.timed_out()))
    }

    async fn head(&self, request: Request<Body>) -> Result<Response<Incoming>, Error> {
        let (mut head, body) = request.into_parts();
        head.uri = self.target.uri(&head.uri).map_err(|error| Error::Request {
            target: self.target.to_string(),
            reason: error.to_string(),
        })?;
        let request = Request::from_parts(head, body);
        self.inner.request(request).await.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &legacy::Error) -> Error {
        let (target, reason) = (self.target.to_string(), innermost(error));
        match error.is_connect() {
            true => Error::Connect { target, reason },
            false => Error::Broken { target, reason },
        }
    }

    fn broken_body(&self, error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
        let target = self.target.to_string();
        match error.is::<LengthLimitError>() {
            true => Error::TooLarge { target, limit: self.body_limit },
            false => Error::Broken { target, reason: innermost(error) },
        }
    }

    fn timed_out(&self) -> Error {
        Error::Timeout { target: self.target.to_string(), limit: self.timeout }
    }
}

/// What is at the bottom of a chain of errors (the layers above only say where it was), or what to do
/// about it.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(below) = wrapped(innermost).or_else(|| innermost.source()) {
        innermost = below;
    }
    tls::remedy(innermost).map_or_else(|| innermost.to_string(), str::to_owned)
}

/// The error that one of reading and writing wraps, and does not name as its source.
fn wrapped<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a (dyn std::error::Error + 'static)> {
    let wrapped = error.downcast_ref::<io::Error>()?.get_ref()?;
    Some(wrapped)
}
