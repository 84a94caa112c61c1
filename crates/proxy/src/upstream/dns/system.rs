//! The machine's own way to resolve names: `/etc/hosts` first, then the name servers of
//! `/etc/resolv.conf`; both files are read again when they change.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// How long an answer of the hosts file holds. It costs no query, and the file may change.
const HOSTS_TTL: Duration = Duration::from_secs(5);

/// What a name stands for.
#[derive(Debug)]
pub(super) struct Answer {
    /// At least one.
    pub(super) addresses: Vec<IpAddr>,
    /// How long that holds.
    pub(super) ttl: Duration,
}

/// Looks names up as other programs on this machine do.
#[derive(Debug, Default)]
pub(super) struct System {
    files: Mutex<Option<Files>>,
}

/// What the two files said when they were read last.
#[derive(Clone, Debug)]
struct Files {
    stamps: [Option<Stamp>; 2],
    hosts: Arc<Hosts>,
    resolver: Result<TokioResolver, String>,
}

/// Changes whenever a file does: device, inode, size, and time of the last change in seconds and
/// nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

impl System {
    /// The addresses of a name.
    ///
    /// # Errors
    /// When it has none, or nobody could say; the text says which.
    pub(super) async fn look_up(&self, host: &str) -> Result<Answer, String> {
        let files = self.files();
        if let Some(addresses) = in_hosts_file(&files.hosts, host) {
            return Ok(Answer { addresses, ttl: HOSTS_TTL });
        }
        let answer = files.resolver?.lookup_ip(host).await.map_err(|error| error.to_string())?;
        let addresses = reachable(answer.iter().collect());
        if addresses.is_empty() {
            return Err("no address".to_owned());
        }
        Ok(Answer {
            addresses,
            ttl: answer.valid_until().saturating_duration_since(Instant::now()),
        })
    }

    /// What the files say now.
    fn files(&self) -> Files {
        let stamps = [RESOLV_CONF, HOSTS].map(stamp);
        // A panic elsewhere leaves a whole value behind.
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        match &*files {
            Some(known) if known.stamps == stamps => known.clone(),
            _ => files.insert(Files::read(stamps)).clone(),
        }
    }
}

impl Files {
    fn read(stamps: [Option<Stamp>; 2]) -> Self {
        // A machine without the file has no names in it.
        let hosts = Arc::new(Hosts::from_system().unwrap_or_default());
        Self { stamps, hosts, resolver: resolver() }
    }
}

fn stamp(path: &str) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.size(), file.ctime(), file.ctime_nsec()))
}

fn resolver() -> Result<TokioResolver, String> {
    let mut builder =
        TokioResolver::builder_tokio().map_err(|error| format!("read {RESOLV_CONF}: {error}"))?;
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // Looked into before: the resolver would still ask name servers about the family that the file
    // is silent about, and mix their answer with the file's.
    options.use_hosts_file = ResolveHosts::Never;
    // An answer's own time to live decides when to ask again; what is kept here beyond that would
    // be negative answers, which would hide that a name has come to exist.
    options.cache_size = 0;
    builder.build().map_err(|error| format!("make a resolver: {error}"))
}

/// What the hosts file says about a name, if anything.
fn in_hosts_file(hosts: &Hosts, host: &str) -> Option<Vec<IpAddr>> {
    let name = Name::from_str(host).ok()?.to_lowercase();
    let mut addresses = Vec::new();
    for family in [RecordType::A, RecordType::AAAA] {
        if let Some(found) = hosts.lookup_static_host(&Query::query(name.clone(), family)) {
            addresses.extend(found.answers().iter().filter_map(|record| record.data.ip_addr()));
        }
    }
    (!addresses.is_empty()).then_some(addresses)
}

/// Those of the addresses that the machine has a route to, or all of them when there is none: a
/// machine without IPv6 is not to try every other request on it (RFC 6724 §5, rule 1).
fn reachable(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (with, without): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|ip| has_route(*ip));
    if with.is_empty() { without } else { with }
}

/// Whether the system knows a way; connecting a datagram socket asks it, and sends nothing.
fn has_route(ip: IpAddr) -> bool {
    let here: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Any port but 0 will do.
    let there = SocketAddr::new(ip, 9);
    UdpSocket::bind((here, 0)).is_ok_and(|socket| socket.connect(there).is_ok())
}
