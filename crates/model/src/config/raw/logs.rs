//! The section `logs`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::{
    Expression, FieldPath, FileGlob, FilePath, Label, Line, LogSender, LogSink, Name, Period,
    Share, Size, SyncTime, Timeout,
};
use super::{label_schema, name_schema, one_or_more};

/// The logs role: from files, the app and the network, to where they are searched. It exists when
/// there is a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Logs {
    /// Folder for positions, disk buffers and dead letters. It belongs to this process alone.
    #[schemars(extend("x-default" = "none: nothing is kept over a restart, and there is no disk buffer"))]
    pub state: Option<FilePath>,
    /// The most bytes of log data that are held in memory.
    #[schemars(extend("x-min" = "1MiB", "x-max" = "16GiB"))]
    pub memory: Size,
    /// Facts about where the records come from, on every record: names of the OpenTelemetry
    /// resource conventions. `host.name` and `service.name` are filled in where they are known.
    #[schemars(extend("propertyNames" = label_schema(), "maxProperties" = 64))]
    pub resource: BTreeMap<String, Line>,
    /// Files of a downward API volume (`key="value"` lines), by the prefix of what they add, as
    /// `k8s.pod.labels.: /etc/podinfo/labels`. They are read again when they change.
    #[schemars(extend("propertyNames" = label_schema(), "maxProperties" = 16))]
    pub resource_files: BTreeMap<String, FilePath>,
    /// What is made unreadable, before anything is written anywhere.
    pub redact: Redact,
    /// Where records come from.
    #[schemars(extend("propertyNames" = name_schema(), "maxProperties" = 64))]
    pub sources: BTreeMap<String, LogSource>,
    /// Where records go.
    #[schemars(extend("propertyNames" = name_schema(), "maxProperties" = 32))]
    pub sinks: BTreeMap<String, LogSinkSettings>,
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            state: None,
            memory: Size::from_bytes(8 << 20),
            resource: BTreeMap::new(),
            resource_files: BTreeMap::new(),
            redact: Redact::default(),
            sources: BTreeMap::new(),
            sinks: BTreeMap::new(),
        }
    }
}

/// What is made unreadable: it becomes `[REDACTED]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Redact {
    /// Every secret that Pillion delivered, wherever it stands, also base64 and JSON escaped.
    pub delivered: bool,
    /// The values of attributes with these names, at any depth, in any case.
    #[schemars(length(max = 256), extend("uniqueItems" = true))]
    pub keys: Vec<Line>,
    /// What these regular expressions match.
    #[schemars(length(max = 64), extend("uniqueItems" = true))]
    pub patterns: Vec<Expression>,
    /// Numbers of payment cards: 12 to 19 digits that pass the Luhn check.
    pub cards: bool,
}

impl Default for Redact {
    fn default() -> Self {
        Self { delivered: true, keys: Vec::new(), patterns: Vec::new(), cards: false }
    }
}

/// Where records come from: exactly one of `files`, `app` and `listen`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSource {
    /// Files that grow: globs of absolute paths; `**` takes folders at any depth.
    #[schemars(schema_with = "one_or_more::<FileGlob>", extend("x-default" = "none"))]
    pub files: Vec<FileGlob>,
    /// Files that are left out. Only with `files`.
    #[schemars(schema_with = "one_or_more::<FileGlob>", extend("x-default" = "none"))]
    pub exclude: Vec<FileGlob>,
    /// Where reading begins in a file that is there when the role first starts; one that appears
    /// later is read from its beginning. Only with `files`.
    #[schemars(extend("x-default" = "beginning"))]
    pub from: Option<ReadFrom>,
    /// Whether what was rotated and compressed while Pillion was away is read. Only with `files`.
    #[schemars(extend("x-default" = "true"))]
    pub compressed: Option<bool>,
    /// The most files that are open at a time. Only with `files`.
    #[schemars(range(min = 1, max = 100_000), extend("x-default" = "256"))]
    pub open_files: Option<u32>,
    /// How long a file that does not grow stays open. Only with `files`.
    #[schemars(extend("x-default" = "5s"))]
    pub idle_close: Option<Period>,
    /// What the supervised app writes.
    #[schemars(extend("x-reload" = "restart", "x-default" = "none"))]
    pub app: Option<AppStreams>,
    /// What is still shown of the app's output where it went without Pillion. Only with `app`.
    #[schemars(extend("x-reload" = "restart", "x-default" = "copy"))]
    pub terminal: Option<Terminal>,
    /// What others send: `tcp://IP:PORT`, `udp://…`, `syslog+tcp://…`, `syslog+udp://…`,
    /// `http://…`, `otlp://…`; or a Unix socket, as `tcp:/PATH`, `udp:/PATH`, `syslog+udp:/PATH`.
    #[schemars(extend("x-default" = "none"))]
    pub listen: Option<LogSender>,
    /// Connections at a time. Only with `listen`.
    #[schemars(range(min = 1, max = 100_000), extend("x-default" = "1024"))]
    pub connections: Option<u32>,
    /// What happens when memory and disk buffer have no room: senders wait (HTTP: 429), or records
    /// are dropped, counted. Files always wait; the app never does.
    #[schemars(extend("x-default" = "block; drop_newest for the app and for UDP"))]
    pub full: Option<Full>,
    /// How bytes become text; what does not fit becomes U+FFFD, and is marked.
    pub encoding: Encoding,
    /// The longest line; what exceeds it is cut, and marked.
    #[schemars(extend("x-min" = "1KiB", "x-max" = "64MiB"))]
    pub line_bytes: Size,
    /// Formats that are tried in this order, each on the message that the one before left; `cri` and
    /// `docker` only as the first. A line that does not follow them is kept as it is, and marked.
    #[schemars(schema_with = "one_or_more::<LineFormat>", extend("x-default" = "none: the line is the message"))]
    pub parse: Vec<LineFormat>,
    /// The expression of `parse: regex`; `time`, `severity` and `message` among its named groups
    /// have their meaning, the others become attributes.
    #[schemars(extend("x-default" = "none"))]
    pub pattern: Option<Expression>,
    /// How `time` is written, as of strptime. Only with `pattern`.
    #[schemars(extend("x-default" = "RFC 3339"))]
    pub time: Option<Line>,
    /// How lines are joined to one record: one of `start`, `continue` and `traces`.
    pub multiline: Multiline,
    /// Attributes on every record.
    #[schemars(extend("propertyNames" = label_schema(), "maxProperties" = 64))]
    pub attributes: BTreeMap<String, Line>,
    /// What is done with each record, in order.
    #[schemars(length(max = 64))]
    pub steps: Vec<Step>,
}

impl Default for LogSource {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            exclude: Vec::new(),
            from: None,
            compressed: None,
            open_files: None,
            idle_close: None,
            app: None,
            terminal: None,
            listen: None,
            connections: None,
            full: None,
            encoding: Encoding::Utf8,
            line_bytes: Size::from_bytes(1 << 20),
            parse: Vec::new(),
            pattern: None,
            time: None,
            multiline: Multiline::default(),
            attributes: BTreeMap::new(),
            steps: Vec::new(),
        }
    }
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadFrom {
    /// At its first byte.
    Beginning,
    /// At its end: only what comes.
    End,
}

/// Outputs of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AppStreams {
    /// Standard output and standard error.
    Both,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What is still shown of the app's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Terminal {
    /// Every byte, at once.
    Copy,
    /// Whole lines, delivered secrets made unreadable.
    Redacted,
    /// Nothing.
    Off,
}

/// What happens when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Full {
    /// Senders wait.
    Block,
    /// What waits longest is dropped.
    DropOldest,
    /// What comes is dropped.
    DropNewest,
}

/// How bytes become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Encoding {
    /// UTF-8.
    #[serde(rename = "utf-8")]
    Utf8,
    /// UTF-16, little endian.
    #[serde(rename = "utf-16le")]
    Utf16Le,
    /// UTF-16, big endian.
    #[serde(rename = "utf-16be")]
    Utf16Be,
    /// ISO 8859-1 (as windows-1252).
    #[serde(rename = "latin-1")]
    Latin1,
}

/// A format of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineFormat {
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
    /// Access logs of Apache and nginx, common or combined.
    Clf,
    /// The error log of nginx.
    NginxError,
    /// The expression in `pattern`.
    Regex,
}

/// How lines are joined to one record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Multiline {
    /// A record begins with a line that this matches.
    #[schemars(extend("x-default" = "none"))]
    pub start: Option<Expression>,
    /// A line that this matches continues the record before it.
    #[serde(rename = "continue")]
    #[schemars(extend("x-default" = "none"))]
    pub continues: Option<Expression>,
    /// Stack traces of these languages are one record each.
    #[schemars(schema_with = "one_or_more::<TraceLanguage>", extend("x-default" = "none"))]
    pub traces: Vec<TraceLanguage>,
    /// A record whose next line does not come within this time is complete.
    pub timeout: Period,
    /// The most bytes of one record.
    #[schemars(extend("x-min" = "1KiB", "x-max" = "64MiB"))]
    pub max_bytes: Size,
    /// The most lines of one record.
    #[schemars(range(min = 2, max = 1_000_000))]
    pub max_lines: u32,
}

impl Default for Multiline {
    fn default() -> Self {
        Self {
            start: None,
            continues: None,
            traces: Vec::new(),
            timeout: Period::from_secs(1),
            max_bytes: Size::from_bytes(1 << 20),
            max_lines: 1_000,
        }
    }
}

/// A language whose stack traces are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
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

/// What is done with each record: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Step {
    /// Drops what all of these hold for.
    #[schemars(length(max = 32), extend("x-default" = "none"))]
    pub drop: Vec<Test>,
    /// Keeps only what all of these hold for.
    #[schemars(length(max = 32), extend("x-default" = "none"))]
    pub keep: Vec<Test>,
    /// Keeps a part; all records of one trace share their fate.
    #[schemars(extend("x-default" = "none"))]
    pub sample: Sample,
    /// Keeps no more than so many a second.
    #[schemars(extend("x-default" = "none"))]
    pub rate_limit: RateLimit,
    /// Sets attributes.
    #[schemars(extend("propertyNames" = label_schema(), "maxProperties" = 64, "x-default" = "none"))]
    pub set: BTreeMap<String, Line>,
    /// Removes attributes.
    #[schemars(length(max = 64), extend("uniqueItems" = true, "x-default" = "none"))]
    pub remove: Vec<Label>,
    /// Renames attributes: old name, new name.
    #[schemars(extend("propertyNames" = label_schema(), "maxProperties" = 64, "x-default" = "none"))]
    pub rename: BTreeMap<String, Label>,
}

/// Keeps a part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sample {
    /// The part that is kept.
    #[schemars(extend("x-default" = "required"))]
    pub percent: Option<Share>,
    /// For which records; the others pass.
    #[schemars(length(max = 32), extend("x-default" = "all"))]
    pub when: Vec<Test>,
}

/// Keeps no more than so many a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimit {
    /// Records a second.
    #[schemars(range(min = 1, max = 10_000_000), extend("x-default" = "required"))]
    pub per_second: Option<u32>,
    /// Records at once, after silence.
    #[schemars(range(min = 1, max = 10_000_000), extend("x-default" = "as many as per_second"))]
    pub burst: Option<u32>,
    /// Each value of this field has a limit of its own; 1000 values at most, the rest share one.
    #[schemars(extend("x-default" = "none: one limit for all"))]
    pub by: Option<FieldPath>,
    /// For which records; the others pass.
    #[schemars(length(max = 32), extend("x-default" = "all"))]
    pub when: Vec<Test>,
}

/// A test of one field: exactly one of `exists`, `equals`, `prefix`, `contains`, `matches` and
/// `at_least`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Test {
    /// `body`, `severity`, `source`, `stream`, or `attributes.NAME`; a further dot leads into a
    /// nested object.
    #[schemars(extend("x-default" = "required"))]
    pub field: Option<FieldPath>,
    /// Whether it is there.
    #[schemars(extend("x-default" = "none"))]
    pub exists: Option<bool>,
    /// It is this text.
    #[schemars(extend("x-default" = "none"))]
    pub equals: Option<Line>,
    /// It begins with this.
    #[schemars(extend("x-default" = "none"))]
    pub prefix: Option<Line>,
    /// It contains this.
    #[schemars(extend("x-default" = "none"))]
    pub contains: Option<Line>,
    /// This regular expression matches somewhere in it.
    #[schemars(extend("x-default" = "none"))]
    pub matches: Option<Expression>,
    /// The severity is at least this.
    #[schemars(extend("x-default" = "none"))]
    pub at_least: Option<SeverityWord>,
    /// Whether it must not hold.
    pub not: bool,
}

/// A severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "names of severities")]
pub enum SeverityWord {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

/// Where records go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSinkSettings {
    /// `stdout`, `"null:"` (nowhere), `file:/PATH`, `http://…`, `https://…`, `opensearch://HOST[:PORT]/INDEX`,
    /// `loki://…`, `otlp://…`, `splunk://…`, `syslog://HOST[:PORT]`, `forward://…` (Fluentd, Fluent Bit);
    /// with TLS `opensearch+https://…` and so on, and `forward+tls://…`; `syslog+udp://…`, `syslog:/PATH` for a
    /// Unix socket.
    #[schemars(extend("x-default" = "required"))]
    pub to: Option<LogSink>,
    /// Which records it gets: all of these hold.
    #[schemars(length(max = 32), extend("x-default" = "all"))]
    pub when: Vec<Test>,
    /// Sources that it gets records from.
    #[schemars(schema_with = "one_or_more::<Name>", extend("x-default" = "all"))]
    pub sources: Vec<Name>,
    /// Headers of each request; a `content-type` takes the place of ours.
    #[schemars(extend("propertyNames" = super::header_name_schema(), "maxProperties" = 32))]
    pub headers: BTreeMap<String, super::HeaderValue>,
    /// Headers whose value is the first line of a file, read again when it changes.
    #[schemars(extend("propertyNames" = super::header_name_schema(), "maxProperties" = 32))]
    pub header_files: BTreeMap<String, FilePath>,
    /// User of HTTP basic authentication, or of the forward protocol. With `password_file`.
    #[schemars(extend("x-default" = "none"))]
    pub user: Option<Line>,
    /// File whose first line is the password.
    #[schemars(extend("x-default" = "none"))]
    pub password_file: Option<FilePath>,
    /// PEM file of the authorities that are trusted.
    #[schemars(extend("x-default" = "those of the system"))]
    pub ca: Option<FilePath>,
    /// PEM file of our own certificate chain. With `key`.
    #[schemars(extend("x-default" = "none"))]
    pub certificate: Option<FilePath>,
    /// PEM file of its key.
    #[schemars(extend("x-default" = "none"))]
    pub key: Option<FilePath>,
    /// How bodies are compressed.
    #[schemars(extend("x-default" = "gzip; none for syslog, file and stdout"))]
    pub compress: Option<Compression>,
    /// From the start of a request to the end of its answer; of the forward protocol, to the
    /// acknowledgement.
    #[schemars(extend("x-default" = "30s"))]
    pub timeout: Option<Period>,
    /// Requests at a time, at most; how many there are adapts to what the sink takes. Of a Loki stream
    /// or a tag of the forward protocol there is one at a time.
    #[schemars(range(min = 1, max = 64), extend("x-default" = "4"))]
    pub concurrency: Option<u32>,
    /// How records look as JSON.
    #[schemars(extend("x-default" = "otel"))]
    pub schema: Option<Schema>,
    /// Index or data stream of OpenSearch; `{attribute}` and strftime of the record's time are
    /// filled in.
    #[schemars(extend("x-default" = "the path of the address, else pillion-%Y.%m.%d"))]
    pub index: Option<Line>,
    /// Tenant of Loki (`X-Scope-OrgID`).
    #[schemars(extend("x-default" = "none"))]
    pub tenant: Option<Line>,
    /// Labels of Loki: name, and the resource attribute or field (as in `when`) that it is taken
    /// from.
    #[schemars(extend("propertyNames" = label_schema(), "maxProperties" = 15))]
    #[schemars(extend("x-default" = "service_name from service.name, and source"))]
    pub labels: BTreeMap<String, Line>,
    /// Tag of the forward protocol; `{attribute}` and strftime of the record's time are filled in.
    #[schemars(extend("x-default" = "pillion.{source}"))]
    pub tag: Option<Line>,
    /// File whose first line is the key that the receiver of the forward protocol shares with us.
    #[schemars(extend("x-default" = "none"))]
    pub shared_key_file: Option<FilePath>,
    /// Facility of syslog, 0 to 23.
    #[schemars(range(min = 0, max = 23), extend("x-default" = "16, local0"))]
    pub facility: Option<u32>,
    /// How records are gathered.
    pub batch: Batch,
    /// What waits for it.
    pub buffer: Buffer,
    /// How often and how long a batch is tried.
    pub retry: SinkRetry,
}

/// How bodies are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

/// How records look as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schema {
    /// The OpenTelemetry log data model.
    Otel,
    /// The Elastic Common Schema.
    Ecs,
}

/// How records are gathered. The first limit that is reached sends the batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Batch {
    /// Bytes, before compression. With a disk buffer, at most an eighth of what the sink may hold in
    /// memory: its share of `logs.memory`.
    #[schemars(extend("x-min" = "1KiB", "x-max" = "64MiB"))]
    pub bytes: Size,
    /// Records.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub records: u32,
    /// Time since its first record.
    pub wait: Period,
}

impl Default for Batch {
    fn default() -> Self {
        Self { bytes: Size::from_bytes(1 << 20), records: 10_000, wait: Period::from_secs(1) }
    }
}

/// What waits for a sink. Memory is shared by all (`logs.memory`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Buffer {
    /// The most bytes on disk, below `logs.state`; 0B: none.
    #[schemars(extend("x-min" = "0B", "x-max" = "1024GiB"))]
    pub disk: Size,
    /// When the disk has the bytes for certain: `always`, before a batch counts as kept; or every
    /// so often, so that a power cut may cost what came since. The end of this process never does.
    pub sync: SyncTime,
}

impl Default for Buffer {
    fn default() -> Self {
        Self { disk: Size::from_bytes(256 << 20), sync: SyncTime::default() }
    }
}

/// How often and how long a batch is tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SinkRetry {
    /// The first wait; it doubles, with jitter.
    pub min: Period,
    /// The longest wait.
    pub max: Period,
    /// After this time a batch goes to the dead letters.
    pub give_up: Timeout,
}

impl Default for SinkRetry {
    fn default() -> Self {
        Self { min: Period::from_millis(500), max: Period::from_secs(30), give_up: Timeout::Off }
    }
}
