//! Pieces of a request: host, path, method, header name and value.

use std::fmt;
use std::net::IpAddr;

use super::address::read_dns_name;
use super::{Fault, Text};

macro_rules! display {
    ($($type:ty),+) => {$(
        impl $type {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

display!(HostPattern, UrlPath, Method, HeaderName, HeaderValue);

/// A host name or IP address without port, or `*.` and a host name. In lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern(String);

impl Text for HostPattern {
    const KIND: &'static str = "host";
    const EXAMPLE: &'static str = "*.example.com";
    const PATTERN: &'static str = r"^(\*\.)?[^*/@]+$";

    fn read(text: &str) -> Result<Self, Fault> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            // As a `Host` header writes it.
            return Ok(Self(if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }));
        }
        if text.contains("://") || text.contains('/') {
            return Err(Fault::new(format!("{text:?} is not a host"))
                .hint("write the host alone, without scheme and path"));
        }
        if let Some((host, port)) = text.rsplit_once(':')
            && port.chars().all(|c| c.is_ascii_digit())
        {
            return Err(Fault::new(format!("{text:?} has a port; hosts are compared without"))
                .hint(format!("write {host}")));
        }
        let (star, name) = match text.strip_prefix("*.") {
            Some(name) => ("*.", name),
            None => ("", text),
        };
        if name.contains('*') {
            return Err(Fault::new(format!("{text:?} has a '*' that is not a whole first part"))
                .hint("*.example.com takes every name below example.com; no host takes all"));
        }
        Ok(Self(format!("{star}{}", read_dns_name(name)?.trim_end_matches('.'))))
    }
}

/// A path of a URL, without query, as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlPath(String);

impl Text for UrlPath {
    const KIND: &'static str = "path";
    const EXAMPLE: &'static str = "/v1";
    const PATTERN: &'static str = r"^/[^?#\s]*$";

    fn read(text: &str) -> Result<Self, Fault> {
        if !text.starts_with('/') {
            return Err(Fault::new(format!("{text:?} does not begin with /"))
                .hint(format!("write /{}", text.trim_start())));
        }
        if let Some(c) = text.chars().find(|c| *c == '?' || *c == '#') {
            return Err(Fault::new(format!("{text:?} is more than a path: it contains {c:?}"))
                .hint("paths are compared without the query"));
        }
        match text.chars().find(|c| !c.is_ascii_graphic()) {
            Some(c) => {
                Err(Fault::new(format!("{text:?} contains {c:?}, which no path on the wire does"))
                    .hint("write it percent-encoded, as clients send it"))
            }
            None => Ok(Self(text.to_owned())),
        }
    }
}

/// A request method (RFC 9110 §9.1); case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method(String);

impl Text for Method {
    const KIND: &'static str = "method";
    const EXAMPLE: &'static str = "GET";
    const PATTERN: &'static str = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

    fn read(text: &str) -> Result<Self, Fault> {
        const COMMON: &[&str] =
            &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
        let upper = text.to_ascii_uppercase();
        if !is_token(text) {
            return Err(Fault::new(format!("{text:?} is not a method")).hint("such as GET"));
        }
        if upper != text && COMMON.contains(&upper.as_str()) {
            return Err(Fault::new(format!("methods are case-sensitive, and {text} is not one"))
                .hint(format!("write {upper}")));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A header name (a token, RFC 9110 §5.1), in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeaderName(String);

impl Text for HeaderName {
    const KIND: &'static str = "header name";
    const EXAMPLE: &'static str = "x-team";
    const PATTERN: &'static str = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

    fn read(text: &str) -> Result<Self, Fault> {
        if text.starts_with(':') {
            return Err(Fault::new(format!("{text} is a pseudo-header of HTTP/2, not a header"))
                .hint("match by host, path and method instead"));
        }
        if !is_token(text) {
            return Err(Fault::new(format!("{text:?} is not a header name"))
                .hint("a header name has letters, digits and !#$%&'*+-.^_`|~"));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// A header value (RFC 9110 §5.5): printable, no control characters, no blanks at its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderValue(String);

impl Text for HeaderValue {
    const KIND: &'static str = "header value";
    const EXAMPLE: &'static str = "blue";
    const PATTERN: &'static str = r"^[^\x00-\x1f\x7f]*$";

    fn read(text: &str) -> Result<Self, Fault> {
        if text.trim_matches(' ') != text {
            return Err(Fault::new("a header value has no blanks at its ends"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !text.is_empty() && text.chars().all(tchar)
}
