//! Servers that roles speak to, and addresses where they are spoken to.

use std::fmt;
use std::path::PathBuf;

use super::address::unix_path;
use super::{EndpointAddress, Fault, ListenAddress, Text, no_login};
use crate::logs::ListenProtocol;
use crate::settings::Address;

/// A URL of a server: `http://` or `https://`, or `unix:/PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL where what is asked for is put behind it.
    ///
    /// # Errors
    /// It has a query.
    pub fn base(&self) -> Result<&str, Fault> {
        no_query(&self.0).map(|()| self.0.as_str())
    }
}

fn no_query(text: &str) -> Result<(), Fault> {
    match text.contains('?') {
        false => Ok(()),
        true => Err(Fault::new("a query has no meaning here").hint("leave out the ? and the rest")),
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Text for ServerUrl {
    const KIND: &'static str = "URL";
    const EXAMPLE: &'static str = "https://vault.example.com:8200";
    const PATTERN: &'static str = "^(https?://.+|unix:/.+)$";

    fn read(text: &str) -> Result<Self, Fault> {
        if unix_path(text)?.is_some() {
            return Ok(Self(text.to_owned()));
        }
        no_login(text)?;
        let fault = || {
            Fault::new(format!("{text:?} is not a URL of a server"))
                .hint("write http://HOST[:PORT], https://HOST[:PORT] or unix:/PATH")
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(fault)?;
        if scheme != "http" && scheme != "https" {
            return Err(fault());
        }
        let (host, _) = host_and_path(rest)?;
        authority(host, if scheme == "https" { 443 } else { 80 })?;
        Ok(Self(text.to_owned()))
    }
}

/// What is before the path, and the path without its slash, but with its query.
fn host_and_path(rest: &str) -> Result<(&str, &str), Fault> {
    match rest.find(['/', '?', '#']).and_then(|end| rest.split_at_checked(end)) {
        None => Ok((rest, "")),
        Some((host, rest)) => match rest.strip_prefix('/') {
            Some(path) => Ok((host, path)),
            None => Err(Fault::new("a query stands behind a path").hint("write HOST/?QUERY")),
        },
    }
}

/// Host and port, with the port filled in.
fn authority(text: &str, port: u16) -> Result<String, Fault> {
    // An IPv6 address in brackets has colons without having a port.
    let has_port = text.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let whole = if has_port { text.to_owned() } else { format!("{text}:{port}") };
    whole.parse::<EndpointAddress>()?;
    Ok(whole)
}

/// Where log records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSink {
    /// As it was written.
    text: String,
    /// What it means.
    pub kind: SinkKind,
}

/// What the address of a sink means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// Nowhere.
    Null,
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
    /// HTTP: the whole URL.
    Http(String),
    /// OpenSearch: the base URL, and the index where the address names one.
    OpenSearch(String, Option<String>),
    /// Loki: the base URL.
    Loki(String),
    /// OTLP: the base URL.
    Otlp(String),
    /// Splunk: the base URL.
    Splunk(String),
    /// Syslog over TCP: `HOST:PORT`.
    SyslogTcp(String),
    /// Syslog over UDP: `HOST:PORT`.
    SyslogUdp(String),
    /// Syslog over a Unix datagram socket.
    SyslogUnix(PathBuf),
    /// Fluentd's forward protocol: `HOST:PORT`.
    Forward(String),
    /// The same over TLS.
    ForwardTls(String),
}

impl fmt::Display for LogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Text for LogSink {
    const KIND: &'static str = "log sink";
    const EXAMPLE: &'static str = "loki://loki.example.com:3100";
    const PATTERN: &'static str = "^(null:|stdout:?|file:.+|syslog:/.+|[a-z+]+://.+)$";

    fn read(text: &str) -> Result<Self, Fault> {
        let kind = sink_kind(text)?;
        Ok(Self { text: text.to_owned(), kind })
    }
}

fn sink_kind(text: &str) -> Result<SinkKind, Fault> {
    if let Some(path) = text.strip_prefix("file:") {
        return match path.starts_with('/') {
            true => Ok(SinkKind::File(PathBuf::from(path))),
            false => Err(Fault::new(format!("{text:?} has no absolute path"))
                .hint("write file:/ and the rest of the path")),
        };
    }
    if let Some(path) = text.strip_prefix("syslog:").filter(|path| !path.starts_with("//")) {
        return socket(path).map(SinkKind::SyslogUnix);
    }
    match text {
        "null:" => return Ok(SinkKind::Null),
        // Without the colon too: YAML takes a bare word with one at its end for a key.
        "stdout:" | "stdout" => return Ok(SinkKind::Stdout),
        _ => {}
    }
    no_login(text)?;
    let (scheme, rest) = text.split_once("://").ok_or_else(|| not_a_sink(text))?;
    let (host, path) = host_and_path(rest)?;
    remote_sink(scheme, rest, (host, path)).ok_or_else(|| not_a_sink(text))?
}

/// `None` where the scheme is of no sink.
fn remote_sink(
    scheme: &str,
    rest: &str,
    (host, path): (&str, &str),
) -> Option<Result<SinkKind, Fault>> {
    let (kind, transport) = scheme.split_once('+').unwrap_or((scheme, ""));
    let http = match transport {
        "" | "http" => "http",
        "https" => "https",
        _ => "",
    };
    let base = |port| authority(host, port).map(|host| format!("{http}://{host}"));
    let bare = |port| no_path(path).and_then(|()| authority(host, port));
    Some(match (kind, transport, http) {
        ("http", "", _) => authority(host, 80).map(|_| SinkKind::Http(format!("http://{rest}"))),
        ("https", "", _) => authority(host, 443).map(|_| SinkKind::Http(format!("https://{rest}"))),
        ("syslog", "" | "tcp", _) => bare(514).map(SinkKind::SyslogTcp),
        ("syslog", "udp", _) => bare(514).map(SinkKind::SyslogUdp),
        ("forward", "", _) => bare(24224).map(SinkKind::Forward),
        ("forward", "tls", _) => bare(24224).map(SinkKind::ForwardTls),
        (_, _, "") => return None,
        ("opensearch" | "elasticsearch", ..) => {
            let index = (!path.is_empty()).then(|| path.trim_end_matches('/').to_owned());
            no_query(path).and_then(|()| base(9200)).map(|url| SinkKind::OpenSearch(url, index))
        }
        ("loki", ..) => base(3100).and_then(|url| with_path(url, path)).map(SinkKind::Loki),
        ("otlp", ..) => base(4318).and_then(|url| with_path(url, path)).map(SinkKind::Otlp),
        ("splunk", ..) => base(8088).and_then(|url| with_path(url, path)).map(SinkKind::Splunk),
        _ => return None,
    })
}

fn no_path(path: &str) -> Result<(), Fault> {
    match path.is_empty() {
        true => Ok(()),
        false => Err(Fault::new("a path has no meaning here").hint("write HOST or HOST:PORT")),
    }
}

fn with_path(base: String, path: &str) -> Result<String, Fault> {
    no_query(path)?;
    Ok(match path.trim_end_matches('/') {
        "" => base,
        path => format!("{base}/{path}"),
    })
}

fn not_a_sink(text: &str) -> Fault {
    Fault::new(format!("{text:?} is not a log sink")).hint(
        "write stdout, \"null:\", file:/PATH, http://…, https://…, opensearch://HOST[:PORT]/INDEX, \
         loki://HOST[:PORT], otlp://…, splunk://…, syslog://…, forward://…, or, with TLS, as \
         loki+https://… and forward+tls://…",
    )
}

fn socket(path: &str) -> Result<PathBuf, Fault> {
    let path = unix_path(&format!("unix:{path}"))?;
    path.ok_or_else(|| Fault::new("a socket has a path"))
}

/// Where log records are received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSender {
    /// What is spoken.
    pub protocol: ListenProtocol,
    /// Where.
    pub address: Address,
}

const PROTOCOLS: [(&str, ListenProtocol); 6] = [
    ("tcp", ListenProtocol::Tcp),
    ("udp", ListenProtocol::Udp),
    ("syslog+tcp", ListenProtocol::SyslogTcp),
    ("syslog+udp", ListenProtocol::SyslogUdp),
    ("http", ListenProtocol::Http),
    ("otlp", ListenProtocol::Otlp),
];

impl fmt::Display for LogSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = PROTOCOLS.iter().find(|(_, known)| *known == self.protocol);
        let name = name.map_or("", |(name, _)| name);
        match &self.address {
            Address::Tcp(address) => write!(f, "{name}://{address}"),
            Address::Unix(path) => write!(f, "{name}:{}", path.display()),
        }
    }
}

impl Text for LogSender {
    const KIND: &'static str = "log receiver";
    const EXAMPLE: &'static str = "syslog+udp://127.0.0.1:5140";
    const PATTERN: &'static str = "^(tcp|udp|syslog\\+tcp|syslog\\+udp|http|otlp):/.+$";

    fn read(text: &str) -> Result<Self, Fault> {
        let fault = || {
            Fault::new(format!("{text:?} does not say what is received where")).hint(
                "write tcp://IP:PORT, udp://…, syslog+tcp://…, syslog+udp://…, http://… or \
                 otlp://…; for a Unix socket, as tcp:/PATH",
            )
        };
        let (name, rest) = text.split_once(':').ok_or_else(fault)?;
        let known = PROTOCOLS.iter().find(|(known, _)| *known == name);
        let (_, protocol) = known.ok_or_else(fault)?;
        let address = match rest.strip_prefix("//") {
            Some(address) => match ListenAddress::read(address)? {
                ListenAddress::At(address @ Address::Tcp(_)) => address,
                ListenAddress::At(Address::Unix(_)) | ListenAddress::Off => return Err(fault()),
            },
            None => Address::Unix(socket(rest)?),
        };
        Ok(Self { protocol: *protocol, address })
    }
}
