//! What all sinks that speak HTTP share: one request at a time into what its status means.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read as _};
use std::path::Path;
use std::str::FromStr as _;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use pillion_client::{Body, Client, Options, Target, Tls};
use pillion_model::logs::{Credential, HttpOutput};
use pillion_traffic::retry::retry_after;
use zeroize::Zeroizing;

use super::compress::Compressor;
use super::{Cause, SinkError, Trouble, Verdict, excerpt};

/// The most bytes of an answer: `_bulk` answers for each record.
const ANSWER: usize = 64 << 20;
/// The most bytes of a file with a credential.
const CREDENTIAL: u64 = 64 << 10;

/// A server that takes records.
pub(super) struct Server {
    target: Target,
    options: Options,
    /// `None` until the first request, and again after a connection failed: certificates may have
    /// been replaced.
    client: RefCell<Option<Client>>,
    headers: Vec<(HeaderName, Credential)>,
    /// `None`: bodies are not compressed.
    compressor: RefCell<Option<Compressor>>,
}

/// A request as a sink wants it.
pub(super) struct Message<'a> {
    pub(super) path: &'a str,
    pub(super) content_type: &'static str,
    /// The body, in parts.
    pub(super) body: &'a [Bytes],
    pub(super) header: Option<(HeaderName, &'a str)>,
}

impl Server {
    pub(super) fn new(output: &HttpOutput, url: &str) -> Result<Self, SinkError> {
        let headers = output.headers.iter().map(|(name, credential)| {
            let header = HeaderName::from_str(name);
            let header = header.map_err(|_| SinkError::Header { name: name.clone() })?;
            Ok((header, credential.clone()))
        });
        let tls =
            Tls { ca: output.ca.clone(), identity: output.identity.clone(), server_name: None };
        let options = Options {
            tls,
            timeout: output.timeout,
            body_limit: ANSWER,
            idle_connections: output.concurrency,
            ..Options::default()
        };
        Ok(Self {
            target: url.parse()?,
            options,
            client: RefCell::default(),
            headers: headers.collect::<Result<_, SinkError>>()?,
            compressor: RefCell::new(
                Compressor::new(output.compress).map_err(SinkError::Compress)?,
            ),
        })
    }

    /// Sends one request.
    ///
    /// # Errors
    /// There is no whole answer.
    pub(super) async fn post(&self, message: &Message<'_>) -> Result<Response<Bytes>, Trouble> {
        let client = self.client()?;
        let answer = client.send(self.request(message)?).await;
        answer.map_err(|error| {
            use pillion_client::Error;
            let cause = match &error {
                Error::Connect { .. } => Cause::Connect,
                Error::Timeout { .. } => Cause::Timeout,
                Error::TooLarge { .. } => Cause::Garbled,
                Error::Broken { .. } => Cause::Broken,
                Error::Request { .. } => Cause::Local,
            };
            // A certificate of ours that has run out breaks the exchange, not the connection.
            if self.target.is_tls() && matches!(cause, Cause::Connect | Cause::Broken) {
                self.client.take();
            }
            Trouble::new(cause, error.to_string())
        })
    }

    fn client(&self) -> Result<Client, Trouble> {
        let mut client = self.client.borrow_mut();
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let new = Client::new(self.target.clone(), &self.options);
        let new = new.map_err(|error| Trouble::new(Cause::Local, error.to_string()))?;
        Ok(client.insert(new).clone())
    }

    fn request(&self, message: &Message<'_>) -> Result<Request<Body>, Trouble> {
        let local = |error: &dyn fmt::Display| Trouble::new(Cause::Local, error.to_string());
        let mut request = Request::post(message.path);
        // Some receivers take the same lines under another name alone.
        if !self.headers.iter().any(|(name, _)| name == CONTENT_TYPE) {
            request = request.header(CONTENT_TYPE, message.content_type);
        }
        let body = match &mut *self.compressor.borrow_mut() {
            Some(compressor) => {
                request = request.header(CONTENT_ENCODING, compressor.coding());
                let packed = compressor.pack(message.body).map_err(|error| local(&error))?;
                Bytes::from(packed).into()
            }
            None => message.body.iter().cloned().collect(),
        };
        if let Some((name, value)) = &message.header {
            request = request.header(name, *value);
        }
        for (name, credential) in &self.headers {
            request = request.header(name, value(credential)?);
        }
        request.body(body).map_err(|error| local(&error))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("target", &self.target).finish_non_exhaustive()
    }
}

/// The value of a header. Files are read for each request: it costs little beside one, and a
/// credential that was replaced is in force at once.
fn value(credential: &Credential) -> Result<HeaderValue, Trouble> {
    let text = match credential {
        Credential::Text(text) => Zeroizing::new(text.clone()),
        Credential::File(path) => first_line(path)?,
        Credential::Basic(user, path) => {
            let both = Zeroizing::new(format!("{user}:{}", *first_line(path)?));
            let encoded = Zeroizing::new(base64::prelude::BASE64_STANDARD.encode(both.as_bytes()));
            Zeroizing::new(format!("Basic {}", *encoded))
        }
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        let place = match credential {
            Credential::Text(_) => "a header of the configuration".to_owned(),
            Credential::File(path) | Credential::Basic(_, path) => path.display().to_string(),
        };
        Trouble::new(Cause::Credentials, format!("{place} holds what no header can carry"))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The first line of a file with a credential.
pub(super) fn first_line(path: &Path) -> Result<Zeroizing<String>, Trouble> {
    let unreadable = |error: io::Error| {
        Trouble::new(Cause::Credentials, format!("cannot read {}: {error}", path.display()))
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = Zeroizing::new(String::new());
    file.take(CREDENTIAL).read_to_string(&mut text).map_err(unreadable)?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().trim().to_owned()))
}

/// What the status of an answer means, as far as it is the same for all servers. `None`: taken.
/// What a server does not like about the request itself (400, 422) is left to `unfit`.
pub(super) fn judge(
    answer: &Response<Bytes>,
    unfit: impl FnOnce(String) -> Verdict,
) -> Option<Verdict> {
    let status = answer.status();
    if status.is_success() {
        return None;
    }
    let text = match excerpt(answer.body()) {
        said if said.is_empty() => format!("answered {status}"),
        said => format!("answered {status}: {said}"),
    };
    let cause = match status {
        StatusCode::PAYLOAD_TOO_LARGE => return Some(Verdict::Halve(text)),
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => return Some(unfit(text)),
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED => Cause::Credentials,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Cause::Busy,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Cause::Timeout,
        status if status.is_server_error() => Cause::Server,
        _ => Cause::Address,
    };
    Some(Verdict::Retry(Trouble { cause, text, after: asked_wait(answer) }))
}

fn asked_wait(answer: &Response<Bytes>) -> Option<Duration> {
    let value = answer.headers().get(RETRY_AFTER)?;
    retry_after(value.as_bytes(), SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::super::tests::http_output;
    use super::*;

    fn answer(status: u16, retry_after: &str, body: &'static str) -> Response<Bytes> {
        let answer = Response::builder().status(status).header(RETRY_AFTER, retry_after);
        answer.body(Bytes::from(body)).unwrap()
    }

    #[test]
    fn a_status_says_what_becomes_of_a_load() {
        let judge = |status| judge(&answer(status, "", "why"), Verdict::Refused);
        for status in [200, 201, 204] {
            assert_eq!(judge(status), None);
        }
        for (status, cause) in [
            (301, Cause::Address),
            (401, Cause::Credentials),
            (403, Cause::Credentials),
            (404, Cause::Address),
            (405, Cause::Address),
            (408, Cause::Timeout),
            (415, Cause::Address),
            (429, Cause::Busy),
            (500, Cause::Server),
            (502, Cause::Server),
            (503, Cause::Busy),
            (504, Cause::Timeout),
        ] {
            let Some(Verdict::Retry(trouble)) = judge(status) else { panic!("{status}") };
            assert_eq!(trouble.cause, cause, "{status}");
            assert!(trouble.text.ends_with(": why"), "{}", trouble.text);
        }
        assert!(matches!(judge(413), Some(Verdict::Halve(_))));
        for status in [400, 422] {
            assert!(matches!(judge(status), Some(Verdict::Refused(_))));
        }
    }

    #[test]
    fn a_wish_to_wait_is_seconds_or_a_date() {
        let soon = SystemTime::now() + Duration::from_secs(3600);
        let soon = jiff::Timestamp::try_from(soon).unwrap();
        let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
        let soon = printer.timestamp_to_rfc9110_string(&soon).unwrap();
        let wait = |value: &str| asked_wait(&answer(503, value, ""));
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        let until = wait(&soon).unwrap();
        assert!(until > Duration::from_secs(3000), "{until:?}");
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn a_credential_is_read_anew_each_time_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let file = Credential::File(path.clone());
        let missing = value(&file).unwrap_err();
        assert_eq!(missing.cause, Cause::Credentials);
        for token in ["Bearer one", "Bearer two"] {
            std::fs::write(&path, format!("{token}\nrest\n")).unwrap();
            let value = value(&file).unwrap();
            assert_eq!(value, token);
            assert!(!format!("{value:?}").contains(token));
        }
        std::fs::write(&path, "pass\n").unwrap();
        let basic = value(&Credential::Basic("ann".to_owned(), path.clone())).unwrap();
        assert_eq!(basic, "Basic YW5uOnBhc3M=");
        std::fs::write(&path, "a\u{1}b").unwrap();
        let unfit = value(&file).unwrap_err();
        assert!(!unfit.text.contains("a\u{1}b"), "{}", unfit.text);
        let server = Server::new(&http_output("http://localhost"), "http://localhost").unwrap();
        assert!(!format!("{server:?}").contains("pass"));
    }
}
