//! One URL that is asked: the server that a client speaks to, and the path and query there.

use bytes::Bytes;
use http::{Request, Response};
use pillion_client::{Client, Error, Options, Target, TargetError, TlsError};

/// One URL, and the client of its server.
#[derive(Clone, Debug)]
pub struct Location {
    client: Client,
    path: String,
}

/// Why a URL cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// It is none.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Location {
    /// Takes a URL apart. Opens no connection yet.
    ///
    /// # Errors
    /// It is no URL, or a file of the TLS settings does not fit.
    pub fn new(url: &str, options: &Options) -> Result<Self, LocationError> {
        let (server, path) = split(url);
        let target: Target = server.parse()?;
        Ok(Self { client: Client::new(target, options)?, path: path.to_owned() })
    }

    /// Sends a request there; what URI it has is of no importance.
    ///
    /// # Errors
    /// There is no whole answer; any status is an answer.
    pub async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        *request.uri_mut() = self.path.parse().map_err(|error: http::uri::InvalidUri| {
            Error::Request { target: self.client.target().to_string(), reason: error.to_string() }
        })?;
        self.client.send(request).await
    }
}

/// The server of a URL, and the rest; `/` where there is none.
fn split(url: &str) -> (&str, &str) {
    let authority = url.find("://").map(|at| at + 3);
    let rest = authority.and_then(|from| Some(from + url.get(from..)?.find('/')?));
    match rest.and_then(|at| url.split_at_checked(at)) {
        Some(parts) => parts,
        None => (url, "/"),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_url_is_a_server_and_a_path() {
        let table = [
            ("http://app:1", ("http://app:1", "/")),
            ("http://app:1/", ("http://app:1", "/")),
            ("https://app/-/reload?now=1", ("https://app", "/-/reload?now=1")),
            ("unix:/run/app.sock", ("unix:/run/app.sock", "/")),
        ];
        for (url, expected) in table {
            assert_eq!(split(url), expected);
        }
    }
}
