//! One file from an HTTP server, asked again at an interval, with the validators of the last answer
//! (RFC 9110, section 13).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use pillion_client::Options;
use pillion_model::config::shown;
use pillion_runtime::board::Secret;
use zeroize::Zeroizing;

use super::pace::Pace;
use super::{Files, Proof, SourceError};
use crate::location::Location;
use crate::store::FileName;

/// The name of what a URL without one leads to.
const NAMELESS: &str = "config";
/// The longest token, in bytes.
const TOKEN: u64 = 64 << 10;

/// A URL that is asked.
#[derive(Debug)]
pub(super) struct HttpSource {
    /// As it may be shown.
    url: String,
    location: Location,
    name: FileName,
    token: Option<PathBuf>,
    interval: Duration,
    /// What the server said of its last answer; `None`: there was none yet.
    validators: Option<HeaderMap>,
    /// Whether the last question was answered, so that the next one has time.
    is_current: bool,
}

impl HttpSource {
    pub(super) fn new(
        url: &str,
        options: &Options,
        token: Option<PathBuf>,
        interval: Duration,
    ) -> Result<Self, SourceError> {
        let location = Location::new(url, options)?;
        let path = url.split(['?', '#']).next().and_then(|url| url.split_once("://"));
        let name = path.and_then(|(_, path)| path.split_once('/')?.1.rsplit('/').next());
        let name = FileName::new(name.filter(|name| !name.is_empty()).unwrap_or(NAMELESS))?;
        let (url, validators, is_current) = (shown(url), None, false);
        Ok(Self { url, location, name, token, interval, validators, is_current })
    }

    /// The file, when the server has sent it; it may be the same.
    pub(super) async fn next(
        &mut self,
        pace: &mut Pace,
        proof: &Proof,
    ) -> Result<Files, SourceError> {
        pace.recover().await;
        loop {
            if self.is_current {
                pace.rest(self.interval).await;
            }
            self.is_current = false;
            let answer = self.location.send(self.request()?).await?;
            match answer.status() {
                StatusCode::OK => {
                    self.is_current = true;
                    proof.give();
                    return Ok(self.take(answer));
                }
                StatusCode::NOT_MODIFIED if self.validators.is_some() => {
                    self.is_current = true;
                    proof.give();
                }
                status => {
                    let status = status.as_u16();
                    return Err(SourceError::Status { url: self.url.clone(), status });
                }
            }
        }
    }

    fn request(&self) -> Result<Request<Bytes>, SourceError> {
        let mut request = Request::new(Bytes::new());
        let known = |name: HeaderName| self.validators.as_ref()?.get(name).cloned();
        let headers = request.headers_mut();
        if let Some(tag) = known(ETAG) {
            headers.insert(IF_NONE_MATCH, tag);
        } else if let Some(time) = known(LAST_MODIFIED) {
            headers.insert(IF_MODIFIED_SINCE, time);
        }
        if let Some(path) = &self.token {
            headers.insert(AUTHORIZATION, bearer(path)?);
        }
        Ok(request)
    }

    fn take(&mut self, answer: Response<Bytes>) -> Files {
        let (head, body) = answer.into_parts();
        let text = |name: HeaderName| Some(head.headers.get(name)?.to_str().ok()?.to_owned());
        let version = text(ETAG).or_else(|| text(LAST_MODIFIED)).unwrap_or_default();
        self.validators = Some(head.headers);
        Files {
            files: BTreeMap::from([(self.name.clone(), Secret::from(Vec::from(body)))]),
            version,
        }
    }
}

/// The first line of a file, read anew each time, because tokens are renewed.
fn bearer(path: &Path) -> Result<HeaderValue, SourceError> {
    use std::io::{Error, Read as _};
    let failed = |reason| SourceError::Read { path: path.to_owned(), reason };
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(path)
        .and_then(|file| file.take(TOKEN).read_to_string(&mut text))
        .map_err(failed)?;
    let line = Zeroizing::new(format!("Bearer {}", text.lines().next().unwrap_or_default().trim()));
    let mut value = HeaderValue::from_str(&line)
        .map_err(|_| failed(Error::other("its first line cannot be a token")))?;
    value.set_sensitive(true);
    Ok(value)
}
