//! One request to the API: its path, its headers, its body.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, Request};
use pillion_runtime::board::Secret;
use zeroize::Zeroizing;

use super::error::Trouble;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Local agents refuse requests without it: a browser cannot be made to send it.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// A request before it is written.
pub(crate) struct Call<'a> {
    method: Method,
    /// Below `/v1/`.
    path: String,
    query: Option<(&'static str, u64)>,
    token: Option<&'a Secret>,
    body: Option<Zeroizing<Vec<u8>>>,
}

impl<'a> Call<'a> {
    pub(crate) fn read(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), query: None, token: None, body: None }
    }

    /// A write of these values.
    pub(crate) fn write(path: &str, values: &[(&str, &str)]) -> Self {
        let body = Some(json(values));
        Self { method: Method::POST, path: path.to_owned(), query: None, token: None, body }
    }

    pub(crate) fn version(mut self, version: Option<u64>) -> Self {
        self.query = version.map(|version| ("version", version));
        self
    }

    pub(crate) fn token(mut self, token: &'a Secret) -> Self {
        self.token = Some(token);
        self
    }

    /// The token as text: what an error must not repeat.
    pub(crate) fn token_text(&self) -> Option<&'a str> {
        self.token?.reveal_text()
    }

    /// The request as it is sent.
    pub(crate) fn request(self, namespace: Option<&str>) -> Result<Request<Bytes>, Trouble> {
        let invalid = |what: &str| Trouble::Request(what.to_owned());
        let mut uri = format!("/v1/{}", escaped(&self.path)?);
        if let Some((name, value)) = self.query {
            uri = format!("{uri}?{name}={value}");
        }
        let mut request = Request::builder().method(self.method).uri(uri);
        request = request.header(REQUEST, "true");
        if let Some(namespace) = namespace {
            request = request.header(NAMESPACE, namespace);
        }
        if let Some(token) = self.token {
            let mut value = HeaderValue::from_bytes(token.reveal())
                .map_err(|_| invalid("the token has characters that no header may have"))?;
            value.set_sensitive(true);
            request = request.header(TOKEN, value);
        }
        let body = match self.body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                // The owner overwrites it once it is sent.
                Bytes::from_owner(body)
            }
            None => Bytes::new(),
        };
        request.body(body).map_err(|error| Trouble::Request(error.to_string()))
    }
}

/// A path as part of a URI. Each segment stays what it is: nothing in it leads elsewhere.
fn escaped(path: &str) -> Result<String, Trouble> {
    let fault = |rule: &str| Trouble::Request(format!("the path {path:?} {rule}"));
    if path.is_empty() || path.starts_with('/') {
        return Err(fault("must not be empty or begin with a slash"));
    }
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(fault("must not contain `.` or `..`"));
    }
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                escaped.push(char::from(byte));
            }
            _ => {
                // Writing into a String cannot fail.
                let _written = write!(escaped, "%{byte:02X}");
            }
        }
    }
    Ok(escaped)
}

/// An object of strings. Its memory does not move while it is written, so that no copy stays.
fn json(values: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
    // The longest escape of one byte has six.
    let longest =
        values.iter().map(|(key, value)| 6 * (key.len() + value.len() + 2)).sum::<usize>();
    let mut body = Zeroizing::new(Vec::with_capacity(longest + 2));
    body.push(b'{');
    for (at, (key, value)) in values.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        string(&mut body, key);
        body.push(b':');
        string(&mut body, value);
    }
    body.push(b'}');
    body
}

fn string(body: &mut Vec<u8>, text: &str) {
    // Text into memory: neither can fail.
    let _written = serde_json::to_writer(body, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_carries_token_namespace_and_the_mark_against_browsers() {
        let token = Secret::from("s.abc");
        let call = Call::read("secret/data/a b").version(Some(3)).token(&token);
        let request = call.request(Some("team/")).unwrap();
        assert_eq!(request.uri(), "/v1/secret/data/a%20b?version=3");
        assert_eq!(request.headers()["x-vault-token"], "s.abc");
        assert_eq!(request.headers()["x-vault-namespace"], "team/");
        assert_eq!(request.headers()["x-vault-request"], "true");
        assert!(!format!("{request:?}").contains("s.abc"));
    }

    #[test]
    fn a_path_cannot_lead_elsewhere() {
        for path in ["", "/x", "a/../b", "..", "a/.", "./a"] {
            let refused = Call::read(path).request(None);
            assert!(matches!(refused, Err(Trouble::Request(_))), "{path:?}");
        }
        for (path, uri) in [
            ("a?list=true", "/v1/a%3Flist=true".replace('=', "%3D")),
            ("a#b", "/v1/a%23b".to_owned()),
            ("a%2e%2e/b", "/v1/a%252e%252e/b".to_owned()),
            ("ä", "/v1/%C3%A4".to_owned()),
            ("a..b/", "/v1/a..b/".to_owned()),
        ] {
            assert_eq!(Call::read(path).request(None).unwrap().uri().to_string(), uri);
        }
    }

    #[test]
    fn a_body_is_json_whatever_is_in_the_values() {
        let awkward = "a\"b\\c\n\u{1}ü";
        let request = Call::write("x", &[("one", awkward), ("two", "")]).request(None).unwrap();
        let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(body, serde_json::json!({"one": awkward, "two": ""}));
    }

    #[test]
    fn a_token_that_is_no_header_is_refused_without_being_shown() {
        let token = Secret::from("one\ntwo");
        let error = Call::read("x").token(&token).request(None).unwrap_err();
        assert!(!error.to_string().contains("two"), "{error}");
    }
}
