//! Finding the port that the app listens on, and noticing when it becomes another one.
//!
//! One open port is taken as it is, without a word to the app. Of several, the first in order of
//! number that speaks HTTP is taken: each is asked once, with a harmless `OPTIONS *`.

mod choice;
mod probe;
mod table;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nix::unistd::Pid;

use crate::supervise::tree::descendants;

pub use choice::Why;
use choice::{Candidate, choose};
use probe::{Speaks, probe};
use table::{Listener, read_tables};

/// While nothing is found, the look-out begins with this wait and doubles it …
const FIRST_WAIT: Duration = Duration::from_millis(5);
/// … up to this one.
const LONGEST_WAIT: Duration = Duration::from_millis(250);
/// How often to look whether a port that was found is still the one.
const SETTLED_WAIT: Duration = Duration::from_secs(1);
/// An app that is slow to answer right after its start is asked this often.
const PROBES: u8 = 5;
/// Descriptors of one process that are looked at. A process opens its listeners early, so that
/// they have low numbers; its connections, which may be many, need not be seen.
const DESCRIPTORS: usize = 4096;

/// A TCP port that a process of the app listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListeningPort {
    /// The address that it is bound to.
    pub address: SocketAddr,
    /// A process that holds it.
    pub pid: u32,
    inode: u64,
}

impl ListeningPort {
    /// The address at which we reach it: loopback when it is bound to every address.
    #[must_use]
    pub fn reached_at(&self) -> SocketAddr {
        let ip = match self.address.ip().to_canonical() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            // Where the host has no IPv6 loopback, such a socket takes IPv4 as well.
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) if has_ipv6_loopback() => Ipv6Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.address.port())
    }
}

fn has_ipv6_loopback() -> bool {
    fs::read_to_string("/proc/net/if_inet6")
        .is_ok_and(|text| text.lines().any(|line| line.starts_with(&format!("{:032x} ", 1))))
}

/// The TCP ports that `root` and all processes below it listen on, in order of port, IPv4 first.
///
/// Only what is in our own network namespace is seen: the rest could not be reached. A process
/// whose descriptors we may not read (another user's) shows nothing.
#[must_use]
pub fn listening(root: u32) -> Vec<ListeningPort> {
    held_below(root, &read_tables())
}

fn held_below(root: u32, listeners: &[Listener]) -> Vec<ListeningPort> {
    let Ok(root) = i32::try_from(root).map(Pid::from_raw) else { return Vec::new() };
    let by_inode: HashMap<u64, SocketAddr> =
        listeners.iter().map(|listener| (listener.inode, listener.address)).collect();
    if by_inode.is_empty() {
        return Vec::new();
    }
    let mut seen = HashSet::new();
    let mut ports = Vec::new();
    for pid in std::iter::once(root).chain(descendants(root)) {
        for inode in sockets(pid) {
            if let Some(address) = by_inode.get(&inode)
                && seen.insert(inode)
            {
                let pid = pid.as_raw().unsigned_abs();
                ports.push(ListeningPort { address: *address, pid, inode });
            }
        }
    }
    ports.sort_by_key(|port| (port.address.port(), port.address.is_ipv6(), port.address));
    ports
}

/// The inodes of the sockets that a process holds; empty when it is gone or not ours to read.
fn sockets(pid: Pid) -> impl Iterator<Item = u64> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .take(DESCRIPTORS)
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|target| table::socket_inode(target.to_str()?))
}

/// The app's port, and how it was chosen. Shown as text, it is a line for the banner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppPort {
    /// Where to send the app's traffic.
    pub address: SocketAddr,
    /// Why this one.
    pub why: Why,
    /// The other open ports.
    pub others: Vec<u16>,
}

impl fmt::Display for AppPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.others.is_empty() {
            return Ok(());
        }
        let others: Vec<String> = self.others.iter().map(u16::to_string).collect();
        write!(f, " ({}; also open: {})", self.why, others.join(", "))
    }
}

/// Looks for the app's port, and goes on looking.
#[derive(Debug)]
pub struct PortFinder {
    root: u32,
    exclude: Vec<u16>,
    /// What a socket said, and how often it was asked.
    answers: HashMap<u64, (Speaks, u8)>,
    /// All listening sockets of the host at the last look: while they are the same, so are the
    /// app's.
    last: Vec<Listener>,
    settled: bool,
    chosen: Option<AppPort>,
    wait: Duration,
}

impl PortFinder {
    /// Looks at the processes below `root` (the keeper: what daemonised stays below it). Ports in
    /// `exclude` are never the app's.
    #[must_use]
    pub fn new(root: u32, exclude: &[u16]) -> Self {
        Self {
            root,
            exclude: exclude.to_vec(),
            answers: HashMap::new(),
            last: Vec::new(),
            settled: false,
            chosen: None,
            wait: Duration::ZERO,
        }
    }

    /// Waits until the app's address is another one than this returned last (at first: until there
    /// is one). `None`: the app no longer listens. Cancel-safe.
    pub async fn changed(&mut self) -> Option<AppPort> {
        loop {
            tokio::time::sleep(self.wait).await;
            let found = self.look().await;
            let longest = if self.settled { SETTLED_WAIT } else { LONGEST_WAIT };
            self.wait = (self.wait * 2).clamp(FIRST_WAIT, longest);
            let address = |port: &Option<AppPort>| port.as_ref().map(|port| port.address);
            if address(&found) != address(&self.chosen) {
                // An app that opens or closes one port often does so with another soon after.
                self.wait = FIRST_WAIT;
                self.chosen.clone_from(&found);
                return found;
            }
            self.chosen = found;
        }
    }

    async fn look(&mut self) -> Option<AppPort> {
        let listeners = read_tables();
        if self.settled && listeners == self.last {
            return self.chosen.clone();
        }
        let mut candidates = self.candidates(&listeners);
        self.last = listeners;
        if candidates.len() > 1 {
            self.ask(&mut candidates).await;
        }
        let current = self.chosen.as_ref().map(|port| port.address);
        let (chosen, why) = choose(&candidates, current)?;
        let others = candidates
            .iter()
            .map(|candidate| candidate.address.port())
            .filter(|port| *port != chosen.port())
            .collect();
        Some(AppPort { address: chosen, why, others })
    }

    /// One candidate for each open port, the current one first, then in order of port.
    fn candidates(&mut self, listeners: &[Listener]) -> Vec<Candidate> {
        let mut ports = held_below(self.root, listeners);
        ports.dedup_by_key(|port| port.address.port());
        ports.retain(|port| !self.exclude.contains(&port.address.port()));
        self.answers.retain(|inode, _| ports.iter().any(|port| port.inode == *inode));
        self.settled = ports.len() == 1;
        let current = self.chosen.as_ref().map(|port| port.address);
        let mut candidates: Vec<Candidate> = ports
            .iter()
            .map(|port| Candidate {
                address: port.reached_at(),
                inode: port.inode,
                speaks: self.answers.get(&port.inode).map(|(speaks, _)| *speaks),
            })
            .collect();
        candidates.sort_by_key(|candidate| Some(candidate.address) != current);
        candidates
    }

    /// Asks one after the other until one speaks HTTP.
    async fn ask(&mut self, candidates: &mut [Candidate]) {
        self.settled = true;
        for candidate in candidates {
            let (known, asked) =
                self.answers.get(&candidate.inode).copied().unwrap_or((Speaks::Silence, 0));
            let speaks = if known == Speaks::Silence && asked < PROBES {
                let speaks = probe(candidate.address).await;
                self.answers.insert(candidate.inode, (speaks, asked + 1));
                // One that may still answer keeps us looking.
                self.settled &= speaks != Speaks::Silence || asked + 1 == PROBES;
                speaks
            } else {
                known
            };
            candidate.speaks = Some(speaks);
            if speaks == Speaks::Http {
                self.settled = true;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
