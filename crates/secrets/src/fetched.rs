//! What the server answered: values, and how long they hold.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use pillion_runtime::board::Secret;

/// One answer of the server.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The data, by key. What is no string in the answer is its JSON text.
    pub data: BTreeMap<String, Secret>,
    /// How long it holds, where the server says so.
    pub lease: Option<Lease>,
    /// The version of a KV 2 secret.
    pub version: Option<u64>,
    /// When it was fetched.
    pub at: SystemTime,
}

/// How long an answer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The server's name for it; empty for what cannot be renewed or revoked, as a certificate.
    pub id: String,
    /// From the answer on.
    pub duration: Duration,
    /// Whether its life can be extended.
    pub renewable: bool,
}
