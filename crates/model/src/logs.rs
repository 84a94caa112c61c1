//! The logs role as it is configured: resolved and checked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::settings::Address;

/// What the logs role does.
#[derive(Clone, Debug, PartialEq)]
pub struct Logs {
    /// Folder for positions, disk buffers and dead letters; it belongs to this process alone.
    /// `None`: nothing is kept over a restart, and there is no disk buffer.
    pub state: Option<PathBuf>,
    /// The most bytes of log data that the role holds in memory, all sources and sinks together.
    pub memory: usize,
    /// Facts about where the records come from, on every record.
    pub resource: Resource,
    /// What is made unreadable, on every record, before it is written anywhere.
    pub redact: Redact,
    /// Where records come from.
    pub sources: Vec<Arc<Source>>,
    /// Where records go.
    pub sinks: Vec<Arc<Sink>>,
}

/// Facts about where the records come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// Names of the OpenTelemetry resource conventions and their values.
    pub attributes: Vec<(String, String)>,
    /// Files of a downward API volume (`key="value"` lines) and the prefix of what they add:
    /// `k8s.pod.labels.`. Read again when they change.
    pub files: Vec<(PathBuf, String)>,
}

/// Where records come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its name in metrics, status and positions.
    pub name: Arc<str>,
    /// How they are had.
    pub input: Input,
    /// How bytes become text.
    pub encoding: Encoding,
    /// The longest line, in bytes; what exceeds it is cut and marked.
    pub line_bytes: usize,
    /// Formats that are tried on each line, each on what the one before left as the message.
    pub parse: Vec<Format>,
    /// How lines are joined.
    pub multiline: Option<Multiline>,
    /// Attributes on every record of this source.
    pub attributes: Vec<(String, String)>,
    /// What is done with each record, in order.
    pub steps: Vec<Step>,
}

/// How records are had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Files that grow.
    Files(Files),
    /// What the supervised app writes.
    App(AppOutput),
    /// What others send.
    Listen(Listen),
}

/// Files that grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Globs of absolute paths.
    pub include: Vec<String>,
    /// Globs of what is left out.
    pub exclude: Vec<String>,
    /// Whether a file that is new to us when the role first starts is read from its beginning.
    pub from_start: bool,
    /// Whether rotated siblings that were compressed while we were away are read.
    pub compressed: bool,
    /// The most files that are open at a time; the others wait their turn.
    pub open_files: usize,
    /// How long a file that does not grow stays open.
    pub idle_close: Duration,
}

/// What the supervised app writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppOutput {
    /// Whether standard output is read.
    pub stdout: bool,
    /// Whether standard error is read.
    pub stderr: bool,
    /// What is still shown where the app's output went without Pillion.
    pub terminal: Terminal,
    /// What happens to lines that the budget has no room for; the app never waits.
    pub full: DropPolicy,
}

/// What is shown of the app's output where it went without Pillion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// Every byte, at once.
    Copy,
    /// Every byte, delivered secrets made unreadable: what may be the beginning of one waits for
    /// what follows.
    Redacted,
    /// Nothing.
    Off,
}

/// What others send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// What is spoken.
    pub protocol: ListenProtocol,
    /// Where.
    pub address: Address,
    /// Connections at a time.
    pub connections: usize,
    /// What happens when the budget has no room.
    pub full: FullPolicy,
}

/// What is spoken by those who send records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenProtocol {
    /// Lines over TCP or a Unix stream socket.
    Tcp,
    /// A datagram a record, over UDP or a Unix datagram socket.
    Udp,
    /// Syslog over TCP or a Unix stream socket: framed by octet count or by line (RFC 6587).
    SyslogTcp,
    /// Syslog over UDP or a Unix datagram socket such as `/dev/log`: RFC 5426.
    SyslogUdp,
    /// `POST` with lines, a JSON array, or one JSON object.
    Http,
    /// OTLP over HTTP (protobuf, JSON) and gRPC on one port.
    Otlp,
}

/// What happens to a sender when the budget has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullPolicy {
    /// It waits (TCP), or is told to come again (HTTP 429, gRPC UNAVAILABLE).
    Block,
    /// Records are dropped and counted.
    Drop(DropPolicy),
}

/// Which records are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropPolicy {
    /// Those that wait longest.
    Oldest,
    /// Those that come.
    Newest,
}

/// How bytes become text. What does not fit is replaced by U+FFFD and marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8.
    Utf8,
    /// UTF-16, little endian.
    Utf16Le,
    /// UTF-16, big endian.
    Utf16Be,
    /// ISO 8859-1, read as windows-1252 as browsers do.
    Latin1,
}

/// A format of lines. What does not follow it is kept as it is and marked.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// Kubernetes container runtimes: time, stream, P or F, message.
    Cri,
    /// Docker's json-file driver.
    Docker,
    /// One JSON object.
    Json,
    /// `key=value` pairs.
    Logfmt,
    /// RFC 5424 or RFC 3164.
    Syslog,
    /// Apache and nginx access logs, common and combined.
    Clf,
    /// nginx error log.
    NginxError,
    /// A regular expression with named groups; `time`, `severity` and `message` have their meaning,
    /// the others become attributes.
    Regex {
        /// The expression.
        pattern: Arc<str>,
        /// The format of `time` where it is not RFC 3339: as of strptime.
        time: Option<Arc<str>>,
    },
}

/// How lines are joined to one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multiline {
    /// What belongs together.
    pub rule: MultilineRule,
    /// A record whose next line does not come within this time is complete.
    pub timeout: Duration,
    /// The most bytes of one record; the rest becomes a record of its own.
    pub max_bytes: usize,
    /// The most lines of one record.
    pub max_lines: usize,
}

/// What belongs together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultilineRule {
    /// A record begins with a line that this expression matches.
    Start(Arc<str>),
    /// A line that this expression matches continues the record before it.
    Continue(Arc<str>),
    /// The stack traces of these languages.
    Traces(Vec<TraceLanguage>),
}

/// A language whose stack traces are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "names of languages")]
pub enum TraceLanguage {
    Java,
    Python,
    Go,
    Ruby,
    DotNet,
    JavaScript,
    Rust,
    Php,
}

/// What is made unreadable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redact {
    /// Every secret that Pillion delivered, wherever it stands.
    pub delivered: bool,
    /// The value of attributes with these names, whatever their depth and case.
    pub keys: Vec<String>,
    /// What these expressions match.
    pub patterns: Vec<Arc<str>>,
    /// Numbers of payment cards: 12 to 19 digits, the first of them 2 to 6, that pass the Luhn check.
    pub cards: bool,
}

/// One step with each record.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Drops what this holds for.
    Drop(Condition),
    /// Keeps only what this holds for.
    Keep(Condition),
    /// Keeps one in so many of what this holds for: by the trace id where there is one, so that the
    /// records of one trace stay together, else at random.
    Sample {
        /// For which records; the others pass.
        when: Condition,
        /// The part that is kept, above 0 and below 1.
        ratio: f64,
    },
    /// Keeps no more than so many records a second.
    RateLimit {
        /// For which records; the others pass.
        when: Condition,
        /// Records a second.
        per_second: u32,
        /// Records at once after silence.
        burst: u32,
        /// Each value of this field has a limit of its own.
        by: Option<Field>,
    },
    /// Sets an attribute.
    Set {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// Removes attributes.
    Remove(Vec<String>),
    /// Renames an attribute.
    Rename {
        /// The name that it has.
        from: String,
        /// The name that it gets.
        to: String,
    },
}

/// What must hold for a record: all of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// The tests.
    pub all: Vec<Test>,
}

/// One test of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// What is looked at.
    pub field: Field,
    /// What must hold for it.
    pub check: Check,
    /// Whether it must not hold.
    pub negated: bool,
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The message.
    Body,
    /// The severity.
    Severity,
    /// The name of the source.
    Source,
    /// `stdout` or `stderr`.
    Stream,
    /// An attribute; a dot leads into a nested object.
    Attribute(String),
}

/// What must hold for a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// It is there.
    Exists,
    /// It is this text.
    Equals(String),
    /// It begins with this.
    Prefix(String),
    /// It contains this.
    Contains(String),
    /// This expression matches somewhere in it.
    Matches(Arc<str>),
    /// The severity is at least this number of the OpenTelemetry log data model, 1 to 24.
    AtLeast(u8),
}

/// Where records go.
#[derive(Clone, Debug, PartialEq)]
pub struct Sink {
    /// Its name in metrics, status and on disk.
    pub name: Arc<str>,
    /// What it is.
    pub output: Output,
    /// Which records it gets.
    pub when: Condition,
    /// Names of the sources that it gets records from; empty: all.
    pub sources: Vec<Arc<str>>,
    /// How records are gathered.
    pub batch: BatchLimits,
    /// What waits for it, and what happens when that is full.
    pub buffer: Buffer,
    /// How often and how long a batch is tried.
    pub retry: Retry,
}

/// What a sink is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nowhere: counted and forgotten.
    Null,
    /// Standard output, a JSON object a line.
    Stdout(Schema),
    /// A file, a JSON object a line; reopened when it was moved away.
    File(PathBuf, Schema),
    /// `POST`, newline-delimited JSON.
    Http(HttpOutput),
    /// `_bulk` of Elasticsearch and OpenSearch.
    OpenSearch(OpenSearchOutput),
    /// The push interface of Loki.
    Loki(LokiOutput),
    /// OTLP over HTTP with protobuf.
    Otlp(HttpOutput),
    /// The event collector of Splunk.
    Splunk(HttpOutput),
    /// RFC 5424 over TCP (octet counting), UDP or a Unix socket.
    Syslog(SyslogOutput),
    /// The forward protocol of Fluentd, version 1, with acknowledgements.
    Forward(ForwardOutput),
}

/// What all sinks that speak HTTP have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpOutput {
    /// `http://`, `https://`; with a path where one is needed.
    pub url: Arc<str>,
    /// Headers of each request; a value may be a secret, and is never shown.
    pub headers: Vec<(String, Credential)>,
    /// PEM file of trusted authorities; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// PEM files of certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// How bodies are compressed.
    pub compress: Compression,
    /// From the start of a request to the end of its answer.
    pub timeout: Duration,
    /// Requests at a time, at most; how many there are adapts to what the sink takes.
    pub concurrency: usize,
    /// The schema of JSON documents.
    pub schema: Schema,
}

/// Where a header's value is had.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// As it stands.
    Text(String),
    /// The first line of a file, read again when it changes.
    File(PathBuf),
    /// As it stands, after `Basic `, in base64: user and password.
    Basic(String, PathBuf),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("[text]"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Basic(user, path) => write!(f, "user {user}, password in {}", path.display()),
        }
    }
}

/// How records look as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// The OpenTelemetry log data model.
    Otel,
    /// The Elastic Common Schema.
    Ecs,
}

/// How bodies are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// `_bulk` of Elasticsearch and OpenSearch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSearchOutput {
    /// Where, and how.
    pub http: HttpOutput,
    /// The index or data stream; `{field}` and strftime of the record's time (`%Y.%m.%d`) are
    /// filled in.
    pub index: Arc<str>,
}

/// The push interface of Loki.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LokiOutput {
    /// Where, and how.
    pub http: HttpOutput,
    /// The value of `X-Scope-OrgID`.
    pub tenant: Option<String>,
    /// Labels of a stream: name, and field or resource attribute. Everything else becomes
    /// structured metadata.
    pub labels: Vec<(String, String)>,
}

/// A syslog receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogOutput {
    /// How it is reached.
    pub transport: SyslogTransport,
    /// 0 to 23; default 16, local0.
    pub facility: u8,
}

/// How a syslog receiver is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogTransport {
    /// TCP, `HOST:PORT`.
    Tcp(Arc<str>),
    /// UDP, `HOST:PORT`.
    Udp(Arc<str>),
    /// A Unix datagram socket.
    Unix(PathBuf),
}

/// A receiver of Fluentd's forward protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardOutput {
    /// `HOST:PORT`.
    pub address: Arc<str>,
    /// How the connection is encrypted; `None`: not at all.
    pub tls: Option<ForwardTls>,
    /// What routes records there; `{field}` and strftime of the record's time are filled in.
    pub tag: Arc<str>,
    /// Who we are; `None`: the receiver asks nobody.
    pub login: Option<ForwardLogin>,
    /// How the records of a message are compressed.
    pub compress: Compression,
    /// From the start of a message to its acknowledgement.
    pub timeout: Duration,
    /// Connections at a time, at most; the records of one tag never use two.
    pub concurrency: usize,
}

/// How a connection of the forward protocol is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardTls {
    /// PEM file of trusted authorities; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// PEM files of certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// How both sides of the forward protocol prove that they know a secret, without sending it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardLogin {
    /// File whose first line is the key that both share, read for each connection.
    pub shared_key: PathBuf,
    /// User, and the file whose first line is the password.
    pub user: Option<(String, PathBuf)>,
}

/// How records are gathered. The first limit that is reached sends the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Bytes before compression.
    pub bytes: usize,
    /// Records.
    pub records: usize,
    /// Time since its first record.
    pub wait: Duration,
}

/// What waits for a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// The most bytes on disk; 0: no disk buffer.
    pub disk: u64,
    /// When the disk has the bytes for certain.
    pub sync: Sync,
}

/// When written bytes are asked to be on the disk for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before a batch counts as kept.
    Always,
    /// This often; a power cut may cost what came since. The end of this process does not.
    Every(Duration),
}

/// How often and how long a batch is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The first wait; it doubles, with jitter.
    pub min: Duration,
    /// The longest wait, also of one that the sink asks for.
    pub max: Duration,
    /// After this time a batch goes to the dead letters; `None`: it is tried for ever.
    pub give_up: Option<Duration>,
}
