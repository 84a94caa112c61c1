//! The traffic configuration as the data path sees it: resolved, immutable, swapped whole.
//!
//! A file and (later) a control plane produce the same snapshot. An exchange keeps the snapshot it
//! started with until it ends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One immutable state of the traffic configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Traffic to the app.
    pub inbound: Listener,
    /// Traffic from the app.
    pub outbound: Listener,
    /// Named groups of endpoints; routes point into this by position.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Bounds on what a peer may make us hold.
    pub limits: Limits,
    /// The access log.
    pub access_log: AccessLog,
    /// Whether an incoming `traceparent`, `x-request-id` and `x-forwarded-*` is believed.
    pub trust: Trust,
}

/// What one direction does with connections.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Which way its traffic flows.
    pub direction: Direction,
    /// What a connection may speak.
    pub protocol: ListenerProtocol,
    /// Tried in order; the first that matches decides.
    pub routes: Vec<Arc<Route>>,
    /// Where a connection goes that does not speak HTTP; `None` closes it, counted.
    pub tcp_upstream: Option<usize>,
    /// How long a kept-alive downstream connection may be idle.
    pub idle_timeout: Duration,
    /// How long a client may take to send a whole request head.
    pub head_timeout: Duration,
    /// How long a connection that does not speak HTTP may be silent both ways.
    pub tcp_idle_timeout: Duration,
}

/// Which way traffic flows, seen from the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the app.
    Inbound,
    /// From the app.
    Outbound,
}

impl Direction {
    /// The word in labels and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// What a listener's connections speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerProtocol {
    /// HTTP/1, HTTP/2 with prior knowledge, or raw TCP, told by the first bytes.
    Auto,
    /// HTTP/1 or HTTP/2; anything else is answered 400.
    Http,
    /// Raw TCP, nothing is looked at.
    Tcp,
}

/// A rule: which requests, and what happens to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its name in metrics, logs and admin.
    pub name: Arc<str>,
    /// Which requests it takes.
    pub matches: RouteMatch,
    /// What happens to them.
    pub action: Action,
    /// Changes to the request head.
    pub request_headers: HeaderOps,
    /// Changes to the response head.
    pub response_headers: HeaderOps,
    /// From the end of the request to the end of the response head, all tries together.
    pub timeout: Option<Duration>,
    /// The same for one try.
    pub try_timeout: Option<Duration>,
    /// Longest silence in a body or a tunnel, either way.
    pub stream_idle_timeout: Duration,
    /// When to try again.
    pub retry: RetryPolicy,
}

/// Which requests a route takes; empty lists take all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteMatch {
    /// Lower-case host names without port, IPv6 in brackets; `*.example.com` takes any one or more
    /// labels below it.
    pub hosts: Vec<String>,
    /// The path, without the query.
    pub path: PathMatch,
    /// Methods, case-sensitive.
    pub methods: Vec<String>,
    /// All of these must hold.
    pub headers: Vec<HeaderMatch>,
}

/// How a path is compared (case-sensitive, without the query).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PathMatch {
    /// Every path.
    #[default]
    Any,
    /// This path alone.
    Exact(String),
    /// This path and everything below it, by whole segments: `/a` takes `/a` and `/a/b`, not `/ab`.
    /// It never ends in `/`.
    Prefix(String),
}

/// A condition on one request header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Lower-case name.
    pub name: String,
    /// What must hold for it.
    pub test: HeaderTest,
}

/// What must hold for a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderTest {
    /// One of its values is exactly this.
    Exact(String),
    /// One of its values begins with this.
    Prefix(String),
    /// It is there.
    Present,
    /// It is not there.
    Absent,
}

/// What happens to a request that a route took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sent to this upstream (position in [`Snapshot::upstreams`]).
    Forward(usize),
    /// Sent to the host and port that the request names (absolute form, CONNECT or `Host`).
    ForwardToHost,
}

/// Header changes, applied in the order remove, set, add. Names are in lower case. In a request,
/// `host` may be in `set`: it becomes the authority. Framing and connection headers never are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderOps {
    /// Names to drop.
    pub remove: Vec<String>,
    /// Replaced if there, else added.
    pub set: Vec<(String, String)>,
    /// Added beside what is there.
    pub add: Vec<(String, String)>,
}

impl HeaderOps {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// When an exchange may be tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries after the first; 0 switches retries off (the keep-alive race is still absorbed).
    pub retries: u32,
    /// Response statuses that are worth another try, for idempotent methods alone.
    pub statuses: Vec<u16>,
    /// The first wait; it doubles, and is jittered over its whole range.
    pub backoff: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// Request bodies up to this many bytes are kept for a further try.
    pub body_bytes: usize,
}

/// A named group of endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Its name in routes, metrics and logs.
    pub name: Arc<str>,
    /// Where its endpoints come from.
    pub endpoints: Vec<EndpointSource>,
    /// What its endpoints speak.
    pub protocol: UpstreamProtocol,
    /// How one is chosen.
    pub balance: Balance,
    /// From the first SYN to an open connection.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// When a silent endpoint is asked whether it is still there.
    pub keepalive: Keepalive,
    /// Breaker limits.
    pub limits: UpstreamLimits,
}

/// How long a connection to an endpoint may be silent before the endpoint is asked whether it is
/// still there; `None`: for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// By the kernel, over TCP.
    pub tcp: Option<Duration>,
    /// By a PING of HTTP/2, while streams are open.
    pub h2_ping: Option<Duration>,
}

/// Where endpoints come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointSource {
    /// The supervised app: its port is set while running.
    App,
    /// A fixed address.
    Address(SocketAddr),
    /// A name that DNS resolves, all its addresses, again whenever the answer's TTL ends.
    Dns {
        /// Host name.
        host: String,
        /// Port of every address.
        port: u16,
    },
    /// A Unix stream socket.
    Unix(PathBuf),
}

/// What an upstream's endpoints speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// What the downstream speaks; HTTP/1.1 where an endpoint turns out not to speak HTTP/2.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Power of two choices: of two taken at random, the one with fewer requests in flight.
    LeastRequest,
    /// One after another.
    RoundRobin,
}

/// The most that one upstream may hold, over all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Open connections.
    pub connections: u32,
    /// Requests that wait for a connection.
    pub pending: u32,
    /// Requests in flight.
    pub requests: u32,
    /// Retries in flight, as a percentage of the requests in flight …
    pub retry_percent: u32,
    /// … but never fewer than this many.
    pub retry_min: u32,
}

/// Bounds on what a peer may make us hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open downstream connections, both directions together.
    pub connections: usize,
    /// Bytes of one request or response head.
    pub head_bytes: usize,
    /// Header fields in one head.
    pub head_fields: usize,
    /// Streams that one HTTP/2 connection may have open.
    pub h2_streams: u32,
    /// Exchanges on one downstream connection before it is closed; 0 for no end.
    pub requests_per_connection: u64,
    /// Hosts that the outbound side reaches by name and remembers.
    pub hosts: usize,
}

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where to.
    pub output: LogOutput,
    /// One line's form.
    pub format: LogFormat,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to, reopened on SIGHUP.
    File(PathBuf),
}

/// One line's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A JSON object with every field.
    Json,
    /// A template: text and `%{field}` in turn.
    Template(Vec<LogPart>),
}

/// A piece of a log template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPart {
    /// Written as it is.
    Text(String),
    /// Replaced by the field's value, `-` when it has none.
    Field(LogField),
}

/// A field of an access log record. The name in JSON and in templates is [`LogField::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant's name, as documented by `help`")]
pub enum LogField {
    Time,
    Direction,
    Method,
    Authority,
    Path,
    Protocol,
    Status,
    Reason,
    Route,
    Upstream,
    Endpoint,
    Downstream,
    RequestBytes,
    ResponseBytes,
    DurationMs,
    UpstreamMs,
    PillionUs,
    Attempts,
    RequestId,
    TraceId,
    UserAgent,
}

impl LogField {
    /// Every field, in the order of a JSON line, with its name and what it holds.
    pub const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (Self::Time, "time", "start of the exchange, RFC 3339 in UTC with milliseconds"),
        (Self::Direction, "direction", "inbound or outbound"),
        (Self::Method, "method", "request method"),
        (Self::Authority, "authority", "host (and port) that the request names"),
        (Self::Path, "path", "path and query, as received"),
        (
            Self::Protocol,
            "protocol",
            "what the downstream speaks: HTTP/1.0, HTTP/1.1, HTTP/2 or TCP",
        ),
        (Self::Status, "status", "response status, 0 if none was sent"),
        (Self::Reason, "reason", "why Pillion itself ended or answered the exchange"),
        (Self::Route, "route", "name of the route that took it"),
        (Self::Upstream, "upstream", "name of the upstream"),
        (Self::Endpoint, "endpoint", "address of the endpoint of the last attempt"),
        (Self::Downstream, "downstream", "address of the client"),
        (Self::RequestBytes, "request_bytes", "body bytes received from the client"),
        (Self::ResponseBytes, "response_bytes", "body bytes sent to the client"),
        (Self::DurationMs, "duration_ms", "from the request head to the end of the exchange"),
        (Self::UpstreamMs, "upstream_ms", "from the request sent to the response head received"),
        (Self::PillionUs, "pillion_us", "time spent inside Pillion: its own added latency"),
        (Self::Attempts, "attempts", "number of tries"),
        (Self::RequestId, "request_id", "x-request-id of the exchange"),
        (Self::TraceId, "trace_id", "trace id of the exchange"),
        (Self::UserAgent, "user_agent", "user-agent of the request"),
    ];

    /// The name in JSON and templates.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(field, ..)| *field == self).map_or("", |(_, name, _)| name)
    }

    /// The field of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n, _)| *n == name).map(|(field, ..)| *field)
    }
}

/// Whether what a client says about itself is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Proxies in front of us whose `x-forwarded-for` entries are believed.
    pub hops: u32,
    /// Whether an incoming request id and trace context is kept.
    pub trace: bool,
}
