//! The local HTTP interface: a `VAULT_ADDR` for the app, with our token and kept answers.
//!
//! A request is guarded, gets our token where it has none, and goes to the server. An answer with a
//! lease is given again to who asks the same with the same token, until the lease is nearly over;
//! so are requests that come while the first is under way. While the server is away, reads get the
//! last good answer, with its age in the header `X-Pillion-Stale`, in seconds.

mod answers;
mod counters;
mod guard;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use pillion_client::{Client, Error};
use pillion_model::secrets::Api;
use pillion_model::settings::{Address, Listen};
use pillion_runtime::admin::{BindError, Bound, Purpose, Room, bind_for, serve_with};
use pillion_runtime::board::Secret;
use pillion_runtime::say;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;
use zeroize::Zeroizing;

use self::answers::{Answers, Ended, Kept, Key};
pub use self::counters::{Counters, Numbers};
use crate::bao::way_out;

/// For a whole request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const TOKEN: &str = "x-vault-token";
const NAMESPACE: &str = "x-vault-namespace";
const WRAP: &str = "x-vault-wrap-ttl";
const STALE: HeaderName = HeaderName::from_static("x-pillion-stale");
/// Whether an answer was kept: `HIT` or `MISS`.
const CACHE: HeaderName = HeaderName::from_static("x-cache");
/// Headers of a request that the server gets.
const PASSED: [&str; 6] =
    [TOKEN, NAMESPACE, WRAP, "x-vault-request", "x-vault-index", "content-type"];

/// Why the interface cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Whoever reaches it has our rights.
    #[error(
        "the secrets API cannot listen on {0}: other hosts reach it; use a loopback address or a Unix socket"
    )]
    NotLocal(SocketAddr),
    /// The address cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// The local interface.
pub struct LocalApi {
    client: Client,
    namespace: Option<HeaderValue>,
    /// Ours, where requests without one get it.
    token: Option<watch::Receiver<Option<Secret>>>,
    answers: Mutex<Answers>,
    /// Requests under way. What is sent when one is done is only that the sender is gone.
    under_way: Mutex<HashMap<Key, watch::Receiver<()>>>,
    counters: Arc<Counters>,
    body_bytes: usize,
    connections: usize,
    /// Whether it was said that connections wait.
    told: Once,
}

/// A request on its way to the server.
struct Asked {
    key: Key,
    token: Key,
    method: Method,
    path: String,
    request: Request<Bytes>,
}

/// Opens the address of the interface.
///
/// # Errors
/// Other hosts could reach it, or it cannot be opened; the message says what to do.
pub fn bind(settings: &Api) -> Result<Bound, ApiError> {
    match &settings.address {
        Address::Tcp(address) if !address.ip().is_loopback() => Err(ApiError::NotLocal(*address)),
        address => {
            let purpose = Purpose { what: "secrets API", key: "secrets.api.address" };
            Ok(bind_for(purpose, &Listen { address: address.clone(), asked: true })?)
        }
    }
}

impl LocalApi {
    /// An interface to the server that `client` speaks to. `token` is ours, when there is one.
    /// `counters` go on where the interface before this one has left them.
    #[must_use]
    pub fn new(
        settings: &Api,
        client: Client,
        namespace: Option<&str>,
        token: watch::Receiver<Option<Secret>>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            client,
            namespace: namespace.and_then(|namespace| HeaderValue::from_str(namespace).ok()),
            token: settings.auto_auth.then_some(token),
            answers: Mutex::new(Answers::new(settings.entries, settings.kept_bytes)),
            under_way: Mutex::new(HashMap::new()),
            counters,
            body_bytes: settings.body_bytes,
            connections: settings.connections,
            told: Once::new(),
        }
    }

    /// Serves it until `stop` is ready; then answers what is under way, within a second.
    ///
    /// # Errors
    /// The runtime cannot take the listener over.
    pub async fn serve(
        self: Arc<Self>,
        bound: Bound,
        stop: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        let address = bound.address().clone();
        let full = self.clone();
        let room =
            Room { connections: self.connections, waits: Box::new(move || full.one_waits()) };
        let respond = move |request| {
            let (api, address) = (self.clone(), address.clone());
            async move { api.answer(&address, request).await }
        };
        serve_with(bound, room, respond, stop).await
    }

    /// A connection has to wait until another one ends.
    fn one_waits(&self) {
        self.counters.waits.add(1);
        self.told.call_once(|| {
            say!(
                Warn,
                "connections to the secrets API wait until others end; raise secrets.api.connections, \
                 or have fewer",
                connections = self.connections
            );
        });
    }

    async fn answer(&self, bound: &Address, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let _in_flight = self.counters.in_flight.enter();
        let (head, body) = request.into_parts();
        if let Some((status, text)) = guard::refusal(bound, &head.headers) {
            self.counters.refused.add(1);
            return fault(status, &text);
        }
        match self.accepted(&head, body).await {
            Ok(asked) => self.shared(asked).await,
            Err((status, text)) => {
                self.counters.invalid.add(1);
                fault(status, &text)
            }
        }
    }

    /// The request, if it is one that is served.
    async fn accepted(&self, head: &Parts, body: Incoming) -> Result<Asked, (StatusCode, String)> {
        let served = ["GET", "HEAD", "LIST", "SCAN", "POST", "PUT", "PATCH", "DELETE"];
        if !served.contains(&head.method.as_str()) {
            let text =
                format!("the method {} is not served; {} are", head.method, served.join(", "));
            return Err((StatusCode::METHOD_NOT_ALLOWED, text));
        }
        if !head.uri.path().starts_with("/v1/") {
            let text = format!("{} is not served; paths begin with /v1/", head.uri.path());
            return Err((StatusCode::NOT_FOUND, text));
        }
        let body = self.read_body(body).await?;
        self.asked(head, body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
    }

    async fn read_body(&self, body: Incoming) -> Result<Bytes, (StatusCode, String)> {
        let limit = self.body_bytes;
        match timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                self.counters.long_bodies.add(1);
                let text =
                    format!("the body is longer than secrets.api.body_bytes, {limit}; raise it");
                Err((StatusCode::PAYLOAD_TOO_LARGE, text))
            }
            Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, "the body is broken".to_owned())),
            Err(_) => {
                let text = format!("the body did not come within {BODY_TIMEOUT:?}");
                Err((StatusCode::REQUEST_TIMEOUT, text))
            }
        }
    }

    /// The request as the server gets it.
    fn asked(&self, head: &Parts, body: Bytes) -> Result<Asked, http::Error> {
        let mut headers = HeaderMap::new();
        for name in PASSED {
            if let Some(value) = head.headers.get(name) {
                headers.insert(name, value.clone());
            }
        }
        if let Some(token) = head.headers.get(header::AUTHORIZATION) {
            headers.insert(header::AUTHORIZATION, token.clone());
        }
        let has_token = headers.contains_key(TOKEN) || headers.contains_key(header::AUTHORIZATION);
        let ours = self.token.as_ref().filter(|_| !has_token).map(|token| token.borrow().clone());
        if let Some(ours) = ours.flatten() {
            let mut value = HeaderValue::from_bytes(ours.reveal())?;
            value.set_sensitive(true);
            headers.insert(TOKEN, value);
        }
        if let (Some(namespace), false) = (&self.namespace, headers.contains_key(NAMESPACE)) {
            headers.insert(NAMESPACE, namespace.clone());
        }
        let text = |name: &str| headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let token = Key::of(&[text(TOKEN), text("authorization")]);
        let key = Key::of(&[
            token.bytes(),
            text(NAMESPACE),
            text(WRAP),
            head.method.as_str().as_bytes(),
            path.as_bytes(),
            &body,
        ]);
        let mut request = Request::builder().method(head.method.clone()).uri(path).body(body)?;
        *request.headers_mut() = headers;
        let (method, path) = (head.method.clone(), head.uri.path().to_owned());
        Ok(Asked { key, token, method, path, request })
    }

    /// Answers from what is kept, or waits for the same request under way and looks again, or asks.
    async fn shared(&self, asked: Asked) -> Response<Full<Bytes>> {
        if let Some(answer) = self.fresh(&asked.key) {
            return answer;
        }
        let (done, doing) = watch::channel(());
        let other = {
            let mut under_way = locked(&self.under_way);
            let other = under_way.get(&asked.key).cloned();
            if other.is_none() {
                under_way.insert(asked.key, doing);
            }
            other
        };
        if let Some(mut other) = other {
            self.counters.joined.add(1);
            // An error says that the other one is done.
            let _done = other.changed().await;
            return match self.fresh(&asked.key) {
                Some(answer) => answer,
                None => self.ask(asked).await,
            };
        }
        let _leader = Leader { api: self, key: asked.key, _done: done };
        self.ask(asked).await
    }

    fn fresh(&self, key: &Key) -> Option<Response<Full<Bytes>>> {
        let (body, age) = locked(&self.answers).fresh(key, Instant::now())?;
        self.counters.hits.add(1);
        Some(kept(body, age))
    }

    async fn ask(&self, asked: Asked) -> Response<Full<Bytes>> {
        let Asked { key, token, method, path, request } = asked;
        let ended = ended(&path, request.body(), token);
        match self.client.send(request).await {
            Ok(answer) if is_away(answer.status()) => self.last(&key).unwrap_or_else(|| {
                self.counters.asked.add(1);
                passed(answer)
            }),
            Ok(answer) => {
                self.counters.asked.add(1);
                if answer.status().is_success() {
                    self.learn(&method, key, (path, token), &answer, ended.as_ref());
                }
                passed(answer)
            }
            Err(error @ Error::TooLarge { .. }) => {
                self.counters.long_answers.add(1);
                self.counters.failed.add(1);
                unanswered(&error)
            }
            Err(error) => self.last(&key).unwrap_or_else(|| {
                self.counters.failed.add(1);
                unanswered(&error)
            }),
        }
    }

    /// The last good answer, for a server that is away. Only reads are kept without a lease, and an
    /// answer with one is as good for a write.
    fn last(&self, key: &Key) -> Option<Response<Full<Bytes>>> {
        let (body, age) = locked(&self.answers).last(key, Instant::now())?;
        self.counters.stale.add(1);
        let mut answer = kept(body, age);
        answer.headers_mut().insert(STALE, HeaderValue::from(age.as_secs()));
        Some(answer)
    }

    /// Keeps a good answer, and forgets what the request made worthless.
    fn learn(
        &self,
        method: &Method,
        key: Key,
        (path, token): (String, Key),
        answer: &Response<Bytes>,
        ended: Option<&Ended>,
    ) {
        let mut answers = locked(&self.answers);
        if let Some(ended) = ended {
            answers.end(ended);
        }
        let is_read = *method == Method::GET;
        if !is_read {
            answers.written(&path);
        }
        let lease = lease(answer.body());
        let own = ["/v1/sys/", "/v1/auth/", "/v1/cubbyhole/"];
        // Command lines ask for the kind of a mount before each read.
        let may_be_stale = is_read
            && (path.starts_with("/v1/sys/internal/ui/mounts/")
                || !own.iter().any(|own| path.starts_with(own)));
        if let Some(lease) = lease.filter(|lease| lease.is_some() || may_be_stale) {
            let body = Zeroizing::new(answer.body().to_vec());
            let kept = Kept { body, path, token, at: Instant::now(), lease };
            let (by_entries, by_bytes) = answers.keep(key, kept);
            self.counters.over_entries.add(by_entries);
            self.counters.over_bytes.add(by_bytes);
        }
        self.counters.kept.set(answers.len() as u64);
    }
}

impl Drop for LocalApi {
    fn drop(&mut self) {
        self.counters.kept.set(0);
    }
}

/// Takes a request from those under way, however it ends; those who wait see the sender go.
struct Leader<'a> {
    api: &'a LocalApi,
    key: Key,
    _done: watch::Sender<()>,
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        locked(&self.api.under_way).remove(&self.key);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is below is whole after each statement, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a status says that the server cannot answer now: sealed, or a proxy before it that does
/// not reach it.
fn is_away(status: StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
}

/// The lease of an answer, or of the token in it: `Some(None)` without one, `None` where the answer
/// is not to be kept: a wrapping token is for one use.
fn lease(body: &[u8]) -> Option<Option<(String, Duration)>> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    if answer.get("wrap_info").is_some_and(|wrapped| !wrapped.is_null()) {
        return None;
    }
    let text = |of: &Value, key: &str| {
        of.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let auth = answer.get("auth").filter(|auth| !auth.is_null());
    let (of, id) = match auth {
        Some(auth) => (auth, text(auth, "accessor")),
        None => (&answer, text(&answer, "lease_id")),
    };
    let seconds = of.get("lease_duration").and_then(Value::as_u64).unwrap_or(0);
    Some(id.filter(|_| seconds > 0).map(|id| (id, Duration::from_secs(seconds))))
}

/// What a request ends, once it succeeds.
fn ended(path: &str, body: &[u8], token: Key) -> Option<Ended> {
    let path = path.strip_prefix("/v1/")?;
    let named = || {
        let body: Value = serde_json::from_slice(body).ok()?;
        body.get("lease_id").and_then(Value::as_str).map(str::to_owned)
    };
    let leases = path.strip_prefix("sys/leases/").or_else(|| path.strip_prefix("sys/"));
    if let Some(rest) = leases.filter(|rest| rest.starts_with("revoke")) {
        let (kind, id) = rest.split_once('/').unwrap_or((rest, ""));
        return Some(match (kind, id) {
            ("revoke", "") => named().map_or(Ended::Everything, Ended::Lease),
            ("revoke", id) => Ended::Lease(id.to_owned()),
            (_, id) => Ended::Leases(id.to_owned()),
        });
    }
    match path.strip_prefix("auth/token/")? {
        "revoke-self" => Some(Ended::Token(token)),
        rest if rest.starts_with("revoke") => Some(Ended::Everything),
        _ => None,
    }
}

/// The server's answer without what is only of its connection.
fn passed(answer: Response<Bytes>) -> Response<Full<Bytes>> {
    let (mut head, body) = answer.into_parts();
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
        head.headers.remove(name);
    }
    head.version = http::Version::HTTP_11;
    head.extensions.clear();
    head.headers.insert(CACHE, HeaderValue::from_static("MISS"));
    Response::from_parts(head, Full::new(body))
}

fn kept(body: Bytes, age: Duration) -> Response<Full<Bytes>> {
    let mut answer = json(StatusCode::OK, body);
    answer.headers_mut().insert(header::AGE, HeaderValue::from(age.as_secs()));
    answer.headers_mut().insert(CACHE, HeaderValue::from_static("HIT"));
    answer
}

/// The server has not answered.
fn unanswered(error: &Error) -> Response<Full<Bytes>> {
    let status = match error {
        Error::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
        Error::Connect { .. }
        | Error::TooLarge { .. }
        | Error::Broken { .. }
        | Error::Request { .. } => StatusCode::BAD_GATEWAY,
    };
    fault(status, &format!("{error}{}", way_out(error)))
}

/// A fault in the form that clients of the API show.
fn fault(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "errors": [format!("pillion: {text}")] }).to_string();
    json(status, body.into())
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
