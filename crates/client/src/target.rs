//! Where a client speaks to: a URL, or a Unix socket.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// The host that requests over a Unix socket name.
const UNIX_HOST: &str = "localhost";

/// Where a client speaks to, and the path that all its requests are below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// Without a slash at its end; empty for none.
    base: String,
    /// The socket in place of a TCP connection.
    pub(crate) unix: Option<PathBuf>,
}

/// Why a text is no target. It does not show the text, which may hold a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no URL to speak to: {0}; write http://HOST[:PORT][/PATH], https://… or unix:/PATH"
)]
pub struct TargetError(&'static str);

impl Target {
    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The URI of a request: its own path and query below the target's path.
    pub(crate) fn uri(&self, request: &Uri) -> Result<Uri, http::Error> {
        let path = request.path_and_query().map_or("/", PathAndQuery::as_str);
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path}", self.base))
            .build()
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return match path.is_absolute() {
                true => Ok(Self {
                    scheme: Scheme::HTTP,
                    authority: Authority::from_static(UNIX_HOST),
                    base: String::new(),
                    unix: Some(path),
                }),
                false => Err(TargetError("the path of a socket begins with a slash")),
            };
        }
        let uri: Uri = text.parse().map_err(|_| TargetError("it does not follow RFC 3986"))?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.ok_or(TargetError("it has no scheme"))?;
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(TargetError("its scheme is neither http nor https"));
        }
        let authority = parts.authority.ok_or(TargetError("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(TargetError("credentials do not belong into a URL"));
        }
        let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        if path.query().is_some() {
            return Err(TargetError("it has a query"));
        }
        let base = path.path().trim_end_matches('/').to_owned();
        Ok(Self { scheme, authority, base, unix: None })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.unix {
            Some(path) => write!(f, "unix:{}", path.display()),
            None => write!(f, "{}://{}{}", self.scheme, self.authority, self.base),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_shown_as_it_was_written_without_a_slash_at_its_end() {
        for (text, shown, is_tls) in [
            ("http://127.0.0.1:8200", "http://127.0.0.1:8200", false),
            ("https://bao/", "https://bao", true),
            ("https://bao:8200/base/", "https://bao:8200/base", true),
            ("http://[::1]:80/a/b", "http://[::1]:80/a/b", false),
            ("unix:/run/bao.sock", "unix:/run/bao.sock", false),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.to_string().as_str(), target.is_tls()), (shown, is_tls));
        }
    }

    #[test]
    fn what_is_no_target_says_why_and_is_not_shown() {
        for (text, reason) in [
            ("", "it does not follow RFC 3986"),
            ("bao:8200", "it has no scheme"),
            ("/v1", "it has no scheme"),
            ("ftp://bao", "its scheme is neither http nor https"),
            ("http://jane:hunter2@bao", "credentials do not belong into a URL"),
            ("http://jane:hunter2@bao/?a", "credentials do not belong into a URL"),
            ("ftp://jane:hunter2@bao", "its scheme is neither http nor https"),
            ("http://bao?a=b", "it has a query"),
            ("unix:run/bao.sock", "the path of a socket begins with a slash"),
        ] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains(&format!(": {reason}; write http://HOST")), "{text}: {error}");
            assert!(!error.contains("hunter2") && !error.contains("a=b"), "{error}");
        }
    }
}
