//! etcd: a store of keys, and the memory of Kubernetes.

use std::net::SocketAddr;

use serde_json::Value;
use tempfile::TempDir;

use super::{Peer, tool};
use crate::{Rest, free_address};

/// A cluster of one, without passwords or TLS.
pub struct Etcd {
    /// The process.
    pub peer: Peer,
    _folder: TempDir,
    address: SocketAddr,
}

impl Etcd {
    /// Starts it with nothing in it.
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("pillion-etcd-").unwrap();
        let (address, members) = (free_address(), format!("http://{}", free_address()));
        let clients = format!("http://{address}");
        let mut peer = Peer::start(
            &tool("etcd"),
            [
                "--name=one",
                &format!("--data-dir={}", folder.path().display()),
                &format!("--listen-client-urls={clients}"),
                &format!("--advertise-client-urls={clients}"),
                &format!("--listen-peer-urls={members}"),
                &format!("--initial-advertise-peer-urls={members}"),
                &format!("--initial-cluster=one={members}"),
            ],
        );
        let rest = Rest::new(clients);
        peer.wait_until_ready(|_| {
            rest.ask("GET", "/health", "").is_ok_and(|answer| answer.status == 200)
        });
        Self { peer, _folder: folder, address }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A request to the JSON gateway, such as `/v3/kv/put`; keys and values are in Base64.
    pub fn call(&self, path: &str, body: &Value) -> Value {
        Rest::new(format!("http://{}", self.address)).post(path, body).json()
    }
}
