//! The configuration file as it is written, field for field. What stands here is what the
//! reference, the editor schema and `pillion explain` say: one source for all of them.
//!
//! A field without a fixed default is an `Option` (its default depends on something else, and
//! `x-default` says on what). A field is reloaded unless `x-reload` says `restart`.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use super::text::{
    ApiAddress, EndpointAddress, Expression, FieldPath, FileGlob, FileMode, FileName, FilePath,
    HeaderName, HeaderValue, HostPattern, Label, Line, ListenAddress, LogForm, LogSender, LogSink,
    LogTarget, Method, Name, Passage, Period, ServerUrl, Share, SignalName, Size, SyncTime,
    Timeout, UrlPath,
};

pub mod logs;
pub mod secrets;

use logs::Logs;
use secrets::Secrets;

/// The configuration of one Pillion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The app that Pillion rides beside.
    pub app: App,
    /// Traffic to the app.
    pub inbound: Listener,
    /// Traffic from the app.
    pub outbound: Listener,
    /// Named groups of endpoints that routes send to. The app itself is the upstream `app`: it is
    /// always there, and may be listed here, without endpoints, to set the rest.
    #[schemars(extend("propertyNames" = name_schema(), "maxProperties" = 10_000))]
    pub upstreams: BTreeMap<String, Upstream>,
    /// The admin interface: health, metrics, state, drain, reload.
    pub admin: Admin,
    /// One line for each exchange.
    pub access_log: AccessLog,
    /// The logs role: from files, the app and the network, to where they are searched. It exists
    /// when there is a source.
    pub logs: Logs,
    /// The secrets role, and configuration sync. It exists when there is a set, a variable or the
    /// interface.
    pub secrets: Secrets,
    /// The most that peers may make Pillion hold.
    pub limits: Limits,
    /// What clients say about themselves, and whether it is believed.
    pub trust: Trust,
    /// Threads that carry traffic.
    #[schemars(range(min = 1, max = 256))]
    #[schemars(extend("x-reload" = "restart", "x-default" = "from the CPU quota, at least 1"))]
    pub workers: Option<u32>,
    /// The end of this process.
    pub drain: Drain,
}

/// The app that Pillion rides beside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct App {
    /// Port that the app listens on, on the loopback interface.
    #[schemars(range(min = 1, max = 65_535))]
    #[schemars(extend("x-reload" = "restart", "x-default" = "found by looking at the app's sockets"))]
    pub port: Option<u16>,
    /// Path that answers with a 2xx status when the app is ready for traffic.
    #[schemars(extend("x-reload" = "restart", "x-default" = "none: an open port is enough"))]
    pub ready: Option<UrlPath>,
    /// How long to look for the app's port before saying that there is none; looking goes on.
    #[schemars(extend("x-reload" = "restart"))]
    pub port_timeout: Period,
    /// How long the app may take to end after SIGTERM; then SIGKILL.
    #[schemars(extend("x-reload" = "restart"))]
    pub stop_timeout: Period,
    /// Whether an app that failed is started again. With `never`, Pillion ends with the app, with
    /// its exit code.
    #[schemars(extend("x-reload" = "restart"))]
    pub restart: Restart,
    /// Restarts in a row before giving up; an app that ran for a minute starts the count anew.
    /// Only with `restart: on-failure`.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[schemars(extend("x-reload" = "restart", "x-default" = "5 with restart: on-failure"))]
    pub restart_max: Option<u32>,
    /// Wait before the first restart; it doubles each time. Only with `restart: on-failure`.
    #[schemars(extend("x-reload" = "restart", "x-default" = "500ms with restart: on-failure"))]
    pub restart_backoff: Option<Period>,
}

impl Default for App {
    fn default() -> Self {
        Self {
            port: None,
            ready: None,
            port_timeout: Period::from_secs(30),
            stop_timeout: Period::from_secs(10),
            restart: Restart::Never,
            restart_max: None,
            restart_backoff: None,
        }
    }
}

/// Whether an app that failed is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// It is not.
    Never,
    /// It is, unless it ended with exit code 0.
    OnFailure,
}

/// One direction of traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Listener {
    /// Where to listen: `IP:PORT`, `unix:/PATH`, or `off`. A default address that is taken gives
    /// way to a free port; one that is written here and taken is an error.
    #[schemars(extend(
        "x-reload" = "restart",
        "x-default" = "127.0.0.1:15006 for inbound, 127.0.0.1:15001 for outbound"
    ))]
    pub listen: Option<ListenAddress>,
    /// What connections speak: `auto` tells HTTP/1, HTTP/2 (prior knowledge) and anything else
    /// apart by the first bytes; `http` answers anything else with 400; `tcp` looks at nothing.
    pub protocol: ListenerProtocol,
    /// How long a kept-alive connection of a client may be idle.
    pub idle_timeout: Period,
    /// How long a client may take to send a whole request head.
    pub head_timeout: Period,
    /// How long a connection that does not speak HTTP may be silent both ways. Long: the pools of
    /// database clients keep their connections, and keep them alive themselves.
    pub tcp_idle_timeout: Period,
    /// Upstream of connections that do not speak HTTP.
    #[schemars(extend("x-default" = "app for inbound; none for outbound: they are closed"))]
    pub tcp_upstream: Option<Name>,
    /// Rules for requests, in order: the first that matches decides.
    #[schemars(length(max = 10_000))]
    #[schemars(extend(
        "x-default" = "one route for all: to app for inbound, to host for outbound"
    ))]
    pub routes: Vec<Route>,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            listen: None,
            protocol: ListenerProtocol::Auto,
            idle_timeout: Period::from_secs(60),
            head_timeout: Period::from_secs(10),
            tcp_idle_timeout: Period::from_secs(3600),
            tcp_upstream: None,
            routes: Vec::new(),
        }
    }
}

/// What the connections of a listener speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListenerProtocol {
    /// Told by the first bytes.
    Auto,
    /// HTTP/1 or HTTP/2.
    Http,
    /// Anything; nothing is looked at.
    Tcp,
}

/// A rule: which requests, and what happens to them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// Its name in metrics and logs; no two routes of a listener have the same.
    #[schemars(extend("x-default" = "route-1 for the first, and so on"))]
    pub name: Option<Name>,
    /// Which requests it takes: all of the conditions must hold. None: every request.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Where they go: the name of an upstream, `app`, or, outbound, `host` for the host and port
    /// that the request itself names.
    #[schemars(extend("x-default" = "app for inbound, host for outbound"))]
    pub upstream: Option<Name>,
    /// From the end of the request to the end of the response head, all tries together; bodies and
    /// streams are bounded by `stream_idle_timeout`. Long, so that a slow answer that worked
    /// without Pillion still does: set it to what the route's clients wait for.
    pub timeout: Timeout,
    /// The same for one try; shorter than `timeout`, so that another try has time.
    pub try_timeout: Timeout,
    /// Longest silence in a body, a stream or a tunnel (WebSocket, CONNECT), either way.
    pub stream_idle_timeout: Period,
    /// When a request is tried again.
    pub retry: Retry,
    /// Changes to the request head. `host` may be set: it becomes the authority of the request.
    pub request_headers: HeaderChanges,
    /// Changes to the response head.
    pub response_headers: HeaderChanges,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            name: None,
            matches: Match::default(),
            upstream: None,
            timeout: Timeout::After(Period::from_secs(3600)),
            try_timeout: Timeout::Off,
            stream_idle_timeout: Period::from_secs(3600),
            retry: Retry::default(),
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
        }
    }
}

/// Which requests a route takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// Host or list of hosts, without port; `*.example.com` takes every name below it.
    #[schemars(schema_with = "one_or_more::<HostPattern>", extend("x-default" = "every host"))]
    pub host: Vec<HostPattern>,
    /// This path alone, without the query; case-sensitive.
    #[schemars(extend("x-default" = "every path"))]
    pub path: Option<UrlPath>,
    /// This path and everything below it, by whole segments: `/v1` takes `/v1` and `/v1/x`, not
    /// `/v10`.
    #[schemars(extend("x-default" = "every path"))]
    pub path_prefix: Option<UrlPath>,
    /// Method or list of methods.
    #[schemars(schema_with = "one_or_more::<Method>", extend("x-default" = "every method"))]
    pub method: Vec<Method>,
    /// Headers that must be as said: `NAME: VALUE`, or `NAME: {prefix: …}` or
    /// `NAME: {present: false}`.
    #[schemars(
        schema_with = "header_tests",
        extend("x-default" = "every request")
    )]
    pub headers: BTreeMap<String, HeaderTest>,
}

/// What must hold for a header of the request: one of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderTest {
    /// One of its values is exactly this; `NAME: VALUE` says the same.
    #[schemars(extend("x-default" = "none"))]
    pub exact: Option<HeaderValue>,
    /// One of its values begins with this.
    #[schemars(extend("x-default" = "none"))]
    pub prefix: Option<HeaderValue>,
    /// `true`: it is there; `false`: it is not.
    #[schemars(extend("x-default" = "none"))]
    pub present: Option<bool>,
}

/// When a request is tried again. Whatever this says, a request is sent again where it certainly
/// did not reach the app, such as on a kept-alive connection that closed at that moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Tries after the first; 0 switches them off.
    #[schemars(range(min = 0, max = 10))]
    pub retries: u32,
    /// Response statuses worth another try, for idempotent methods alone.
    #[schemars(length(max = 32), inner(range(min = 400, max = 599)))]
    #[schemars(extend("uniqueItems" = true))]
    pub statuses: Vec<u16>,
    /// Wait before the first retry; it doubles, with jitter.
    pub backoff: Period,
    /// The longest wait.
    pub backoff_max: Period,
    /// Request bodies up to this size are kept for another try; larger ones are sent once.
    #[schemars(extend("x-min" = "0B", "x-max" = "16MiB"))]
    pub body: Size,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            retries: 2,
            statuses: Vec::new(),
            backoff: Period::from_millis(25),
            backoff_max: Period::from_millis(250),
            body: Size::from_bytes(64 << 10),
        }
    }
}

/// Changes to a head, in the order remove, set, add. Framing and connection headers (such as
/// `content-length` and `connection`) are Pillion's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderChanges {
    /// Dropped.
    #[schemars(length(max = 128), extend("uniqueItems" = true))]
    pub remove: Vec<HeaderName>,
    /// Replaced if there, else added.
    #[schemars(extend("propertyNames" = header_name_schema(), "maxProperties" = 128))]
    pub set: BTreeMap<String, HeaderValue>,
    /// Added beside what is there.
    #[schemars(extend("propertyNames" = header_name_schema(), "maxProperties" = 128))]
    pub add: BTreeMap<String, HeaderValue>,
}

/// A named group of endpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// Where they are: `IP:PORT`, `NAME:PORT` (DNS, all its addresses, again when the answer
    /// expires) or `unix:/PATH`. At least one, except for `app`, which has none.
    #[schemars(length(max = 10_000))]
    #[schemars(extend("uniqueItems" = true, "x-default" = "required"))]
    pub endpoints: Vec<EndpointAddress>,
    /// What they speak: `auto` is what the client speaks, or HTTP/1.1 where an endpoint turns out
    /// not to know HTTP/2; `http2` is HTTP/2 with prior knowledge.
    pub protocol: UpstreamProtocol,
    /// How one is chosen.
    pub balance: Balance,
    /// How long opening a connection may take. Long enough for a lost SYN to be sent again, which
    /// takes the kernel a second: an app that is busy for a moment drops them.
    pub connect_timeout: Period,
    /// How long an unused connection is kept.
    pub idle_timeout: Period,
    /// Silence on a TCP connection after which the kernel asks the endpoint's machine whether it is
    /// still there: three times, a third of this apart. Without an answer the connection is lost.
    pub tcp_keepalive: Timeout,
    /// Silence on an HTTP/2 connection with open streams after which the endpoint gets a PING, after
    /// twice this at the latest. Without an answer within this time, 20 s at most, the connection is
    /// lost. Servers of gRPC by default end connections that get more than one in 5 minutes.
    pub h2_ping: Timeout,
    /// What the upstream may hold; more is refused at once with 503.
    pub limits: UpstreamLimits,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            protocol: UpstreamProtocol::Auto,
            balance: Balance::LeastRequest,
            connect_timeout: Period::from_secs(5),
            idle_timeout: Period::from_secs(60),
            tcp_keepalive: Timeout::After(Period::from_secs(30)),
            h2_ping: Timeout::After(Period::from_secs(300)),
            limits: UpstreamLimits::default(),
        }
    }
}

/// What the endpoints of an upstream speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamProtocol {
    /// What the client speaks.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Of two taken at random, the one with fewer requests in flight.
    LeastRequest,
    /// One after another.
    RoundRobin,
}

/// The most that one upstream may hold, over all workers. High on purpose: they are there to end a
/// runaway; a limit that bites in ordinary traffic is one that somebody chose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamLimits {
    /// Open connections.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: u32,
    /// Requests that wait for a connection; 0: none waits.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub pending: u32,
    /// Requests in flight.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub requests: u32,
    /// Retries in flight, as a percentage of the requests in flight.
    #[schemars(range(min = 0, max = 100))]
    pub retry_percent: u32,
    /// Retries in flight that are always allowed, however few requests there are.
    #[schemars(range(min = 0, max = 100_000))]
    pub retry_min: u32,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            pending: 10_000,
            requests: 100_000,
            retry_percent: 20,
            retry_min: 3,
        }
    }
}

/// The admin interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where to listen: `IP:PORT`, `unix:/PATH`, or `off`. Who reaches it can drain and end the
    /// process: keep it on loopback or on a Unix socket. A default address that is taken gives way
    /// to a free port.
    #[schemars(extend("x-reload" = "restart", "x-default" = "127.0.0.1:15000"))]
    pub listen: Option<ListenAddress>,
}

/// One line for each exchange.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLog {
    /// Where to: `off`, `stdout`, `stderr` or `file:PATH`, which is appended to, and opened again
    /// on SIGHUP.
    #[schemars(extend("x-default" = "stderr beside an app (stdout stays the app's own), else stdout"))]
    pub output: Option<LogTarget>,
    /// `json`, or a template of text and `%{field}`, with `%%` for a per cent sign.
    #[schemars(extend("x-default" = "a readable template beside an app, else json"))]
    pub format: Option<LogForm>,
}

/// The most that peers may make Pillion hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open connections of clients, both directions together.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: u32,
    /// Bytes of one request or response head.
    #[schemars(extend("x-min" = "1KiB", "x-max" = "1MiB"))]
    pub head_bytes: Size,
    /// Fields of one head.
    #[schemars(range(min = 8, max = 128))]
    pub head_fields: u32,
    /// Streams that one HTTP/2 connection may have open.
    #[schemars(range(min = 1, max = 10_000))]
    pub h2_streams: u32,
    /// Exchanges on one connection of a client before it is closed; 0: no end.
    #[schemars(range(min = 0, max = 1_000_000_000_000_u64))]
    pub requests_per_connection: u64,
    /// Hosts that the outbound side reaches by name and remembers.
    #[schemars(range(min = 1, max = 100_000))]
    pub hosts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            head_bytes: Size::from_bytes(32 << 10),
            head_fields: 100,
            h2_streams: 100,
            requests_per_connection: 0,
            hosts: 1_024,
        }
    }
}

/// What clients say about themselves, and whether it is believed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Trust {
    /// Proxies in front of Pillion whose `x-forwarded-*` entries are believed; 0: none.
    #[schemars(range(min = 0, max = 16))]
    pub hops: u32,
    /// Whether the `x-request-id` and `traceparent` of a request are kept; else it gets new ones.
    pub trace: bool,
}

impl Default for Trust {
    fn default() -> Self {
        Self { hops: 0, trace: true }
    }
}

/// The end of this process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// How long exchanges in flight may take once a drain has begun.
    #[schemars(extend("x-reload" = "restart"))]
    pub timeout: Period,
}

impl Default for Drain {
    fn default() -> Self {
        Self { timeout: Period::from_secs(30) }
    }
}

/// A value or a list of values; one value is a list of one.
fn one_or_more<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let one = T::json_schema(generator);
    json_schema!({"anyOf": [
        one,
        {"type": "array", "items": one, "maxItems": 1_000, "uniqueItems": true},
    ]})
}

/// `NAME: VALUE` is short for `NAME: {exact: VALUE}`: `x-scalar` names the key it stands for.
fn header_tests(generator: &mut SchemaGenerator) -> Schema {
    let value = HeaderValue::json_schema(generator);
    let test = HeaderTest::json_schema(generator);
    json_schema!({
        "type": "object",
        "propertyNames": header_name_schema(),
        "maxProperties": 128,
        "additionalProperties": {"anyOf": [value, test], "x-scalar": "exact"},
    })
}

fn header_name_schema() -> Schema {
    HeaderName::json_schema(&mut SchemaGenerator::default())
}

fn file_name_schema() -> Schema {
    FileName::json_schema(&mut SchemaGenerator::default())
}

fn label_schema() -> Schema {
    Label::json_schema(&mut SchemaGenerator::default())
}

fn name_schema() -> Schema {
    Name::json_schema(&mut SchemaGenerator::default())
}
