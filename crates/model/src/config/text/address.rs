//! Addresses: where we listen, where an upstream's endpoints are.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::super::shown::has_login;
use super::{Fault, Text, no_login, was_off};
use crate::settings::Address;
use crate::snapshot::{EndpointSource, UpstreamProtocol};

/// `sun_path` of a Unix socket address, less its closing NUL.
const UNIX_PATH_LIMIT: usize = 107;

/// Where a listener listens, or that it is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// It is switched off: no port, no task.
    Off,
    /// There.
    At(Address),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

impl Text for ListenAddress {
    const KIND: &'static str = "listen address";
    const EXAMPLE: &'static str = "127.0.0.1:8080";
    const PATTERN: &'static str = r"^(off|unix:/.+|.+:[0-9]{1,5})$";

    fn read(text: &str) -> Result<Self, Fault> {
        if text == "off" {
            return Ok(Self::Off);
        }
        was_off(text, Self::KIND)?;
        if let Some(path) = unix_path(text)? {
            return Ok(Self::At(Address::Unix(path)));
        }
        text.parse().map(|address| Self::At(Address::Tcp(address))).map_err(|_| listen_fault(text))
    }
}

fn listen_fault(text: &str) -> Fault {
    let fault = Fault::new(format!("{text:?} is not an address to listen on"));
    let port = text.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok());
    match port {
        Some(port) => fault.hint(format!(
            "write 127.0.0.1:{port}, 0.0.0.0:{port} for every interface, or [::1]:{port}"
        )),
        None => fault.hint("write IP:PORT, unix:/PATH or off"),
    }
}

/// Where an endpoint of an upstream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointAddress(EndpointSource);

impl EndpointAddress {
    /// The source of endpoints that this address means.
    pub fn source(&self) -> EndpointSource {
        self.0.clone()
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            EndpointSource::App => f.write_str("app"),
            EndpointSource::Address(address) => address.fmt(f),
            EndpointSource::Dns { host, port } => write!(f, "{host}:{port}"),
            EndpointSource::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Text for EndpointAddress {
    const KIND: &'static str = "endpoint";
    const EXAMPLE: &'static str = "payments.internal:8080";
    const PATTERN: &'static str = r"^(unix:/.+|.+:[0-9]{1,5})$";

    fn read(text: &str) -> Result<Self, Fault> {
        no_login(text)?;
        if let Some((scheme, rest)) = text.split_once("://") {
            let host = rest.split('/').next().unwrap_or(rest);
            let port = if host.contains(':') { "" } else { ":80" };
            return Err(Fault::new(format!("{text:?} is a URL, not an endpoint"))
                .hint(format!("leave {scheme}:// out: {host}{port}")));
        }
        if let Some(path) = unix_path(text)? {
            return Ok(Self(EndpointSource::Unix(path)));
        }
        let shape = || {
            Fault::new(format!("{text:?} is not an endpoint"))
                .hint("write IP:PORT, NAME:PORT or unix:/PATH")
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(shape)?;
        let port = read_port(port)?;
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self(EndpointSource::Address(address)));
        }
        if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) {
            return Err(shape().hint(format!("an IPv6 address needs brackets: [{host}]:{port}")));
        }
        let host = read_dns_name(host)?;
        Ok(Self(EndpointSource::Dns { host, port }))
    }
}

fn read_port(text: &str) -> Result<u16, Fault> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Fault::new(format!("{text:?} is not a port, 1 to 65535"))),
    }
}

/// A host name in lower case: labels of 1 to 63 letters, digits, `-` or `_`; 253 bytes at most.
pub(super) fn read_dns_name(text: &str) -> Result<String, Fault> {
    let fault = |why: &str| Fault::new(format!("{text:?} is not a host name: {why}"));
    if text.is_empty() || text.len() > 253 {
        return Err(fault("it has 1 to 253 characters"));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    for label in name.split('.') {
        let letters = label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if label.is_empty() || label.len() > 63 {
            return Err(fault("each part between dots has 1 to 63 characters"));
        }
        if !letters {
            return Err(fault("it has letters, digits, '-', '_' and dots alone"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(fault("no part begins or ends with '-'"));
        }
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.chars().all(|c| c.is_ascii_digit()) {
        return Err(fault("its last part is a number, as if it were an IP address"));
    }
    Ok(text.to_ascii_lowercase())
}

/// The path of `unix:/path`; `None` where the text is no Unix address at all.
pub(super) fn unix_path(text: &str) -> Result<Option<PathBuf>, Fault> {
    let Some(path) = text.strip_prefix("unix:") else {
        return Ok(None);
    };
    if !path.starts_with('/') || path.ends_with('/') {
        return Err(Fault::new(format!("{text:?} is not a socket path"))
            .hint("write unix:/ and the rest of an absolute path"));
    }
    if path.len() > UNIX_PATH_LIMIT {
        return Err(Fault::new(format!(
            "the socket path has {} bytes, the system allows {UNIX_PATH_LIMIT}",
            path.len()
        )));
    }
    Ok(Some(PathBuf::from(path)))
}

/// The upstream of a one-line forward proxy: `http://HOST[:PORT]` or `h2c://HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamUrl {
    /// Where requests go.
    pub endpoint: EndpointAddress,
    /// HTTP/1.1 for `http`, HTTP/2 with prior knowledge for `h2c`.
    pub protocol: UpstreamProtocol,
    /// What the `Host` of a request becomes: host and port as written, the default port left out.
    pub authority: String,
}

impl std::str::FromStr for UpstreamUrl {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        if has_login(text) {
            return Err(Fault::new("a user or password in the URL is not supported").hint(
                "set the authorization header with request_headers in a configuration file",
            ));
        }
        let shape = || {
            Fault::new(format!("{text:?} is not an upstream URL"))
                .hint("write http://HOST:PORT or h2c://HOST:PORT")
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(shape)?;
        let protocol = match scheme {
            "http" => UpstreamProtocol::Http1,
            "h2c" => UpstreamProtocol::Http2,
            "https" => {
                return Err(Fault::new("TLS to the upstream (https://) is not supported yet")
                    .hint("write http://HOST:PORT"));
            }
            _ => return Err(shape()),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(c) = authority.chars().find(|c| "/?#".contains(*c)) {
            return Err(Fault::new(format!("{text:?} has more than a host and a port ({c:?})"))
                .hint("requests keep their own path and query: leave it out of the URL"));
        }
        // An IPv6 address in brackets has colons without having a port.
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let endpoint = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        let endpoint: EndpointAddress = endpoint.parse()?;
        let authority = authority.strip_suffix(":80").unwrap_or(authority).to_owned();
        Ok(Self { endpoint, protocol, authority })
    }
}
