//! Which admin paths there are, and what they answer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

/// A request to the admin interface, complete with its body.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET for HEAD, too.
    pub method: Method,
    /// Path as sent.
    pub path: String,
    /// What follows `?`, as sent; empty when there is none.
    pub query: String,
    /// Header fields.
    pub headers: HeaderMap,
    /// Body, up to [`super::MAX_BODY`] bytes.
    pub body: Bytes,
}

impl Request {
    /// The value of a query parameter, decoded; empty for one without `=`.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(key) == name).then(|| percent_decode(value).into_owned())
        })
    }

    /// The value of a header field, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What the admin interface answers.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status.
    pub status: StatusCode,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Body.
    pub body: Bytes,
}

impl Response {
    /// Plain text.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }

    /// JSON with status 200.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, content_type: "application/json", body: body.into() }
    }
}

type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;
type Handler = Arc<dyn Fn(Request) -> Answer + Send + Sync>;

/// The admin paths. `/` lists them.
#[derive(Default)]
pub struct Routes {
    paths: BTreeMap<&'static str, Path>,
}

struct Path {
    help: &'static str,
    handlers: Vec<(Method, Handler)>,
}

/// What a method and path lead to.
pub(super) enum Found {
    Handler(Handler),
    /// The path exists; these are its methods.
    WrongMethod(String),
    Nothing,
}

impl Routes {
    /// No path but `/`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what answers `method` (GET answers HEAD too) on `path`; `help` is its line on the index
    /// page. The same path can be given again with another method.
    #[must_use]
    pub fn on<F, A>(mut self, method: Method, path: &'static str, help: &'static str, f: F) -> Self
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |request| Box::pin(f(request)));
        let entry = self.paths.entry(path).or_insert_with(|| Path { help, handlers: Vec::new() });
        entry.handlers.push((method, handler));
        self
    }

    /// A GET path; see [`Self::on`].
    #[must_use]
    pub fn get<F, A>(self, path: &'static str, help: &'static str, f: F) -> Self
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        self.on(Method::GET, path, help, f)
    }

    /// A POST path; see [`Self::on`].
    #[must_use]
    pub fn post<F, A>(self, path: &'static str, help: &'static str, f: F) -> Self
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        self.on(Method::POST, path, help, f)
    }

    pub(super) fn find(&self, method: &Method, path: &str) -> Found {
        let Some(entry) = self.paths.get(path) else { return Found::Nothing };
        match entry.handlers.iter().find(|(known, _)| known == method) {
            Some((_, handler)) => Found::Handler(handler.clone()),
            None => Found::WrongMethod(entry.methods()),
        }
    }

    /// One line for each path.
    pub(super) fn index(&self) -> String {
        let mut page = String::from("Pillion admin interface\n\n");
        let width = self.paths.iter().map(|(path, entry)| entry.methods().len() + path.len()).max();
        for (path, entry) in &self.paths {
            let methods = entry.methods();
            let pad = width.unwrap_or(0) - methods.len();
            // A String takes everything: there is no error to hand on.
            let _always_ok = writeln!(page, "{methods} {path:pad$}  {}", entry.help);
        }
        page
    }
}

impl Path {
    /// As in `Allow`.
    fn methods(&self) -> String {
        let mut methods: Vec<&str> = self.handlers.iter().map(|(m, _)| m.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.join(", ")
    }
}

/// Decodes `%XX` and `+`; what is no valid escape stays as it is.
fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let (decoded, after) = match (byte, after) {
            (b'+', _) => (b' ', after),
            (b'%', [high, low, beyond @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, beyond),
                _ => (byte, after),
            },
            _ => (byte, after),
        };
        out.push(decoded);
        rest = after;
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}
