//! OpenSearch: documents by index, as the runner for its tests starts it.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::{HOW_TO_GET_IT, Peer, cache, tool};
use crate::{Rest, free_address};

/// What its runner writes before the port that it has chosen.
const PORT: &str = "HTTP Port:";

/// A cluster of one node, without passwords or TLS, with at most 512 MiB of heap.
///
/// It takes 3 s and 330 MB, so that each test can have its own.
pub struct OpenSearch {
    /// The process.
    pub peer: Peer,
    _folder: TempDir,
    address: SocketAddr,
}

impl OpenSearch {
    /// Starts it with no index.
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("pillion-opensearch-").unwrap();
        let jars = cache().join("opensearch/lib");
        assert!(jars.is_dir(), "{} is missing: {HOW_TO_GET_IT}", jars.display());
        let mut address = free_address();
        let config = format!(
            "network.host: {}\ndiscovery.type: single-node\n\
             cluster.routing.allocation.disk.threshold_enabled: false\n",
            address.ip()
        );
        std::fs::write(folder.path().join("opensearch.yml"), config).unwrap();
        let mut java = Command::new(tool("java"));
        // Quick to start is worth more here than quick after an hour.
        java.args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]);
        java.arg(jars.join("*")).arg("org.codelibs.opensearch.runner.OpenSearchRunner");
        java.arg("-basePath").arg(folder.path().join("node"));
        java.arg("-confPath").arg(folder.path());
        java.args(["-numOfNode", "1", "-clusterName", "test", "-printOnFailure"]);
        let mut peer = Peer::spawn(java);
        peer.wait_until_ready(|peer| match port(&peer.stdout.text()) {
            Some(port) => {
                // The runner looks for a free port on `localhost`; the node is alone on its host.
                address.set_port(port);
                answers(address)
            }
            None => false,
        });
        Self { peer, _folder: folder, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client.
    pub fn rest(&self) -> Rest {
        Rest::new(self.url())
    }

    /// The documents of an index, or of a pattern such as `logs-*`, that were written so far: at
    /// most 10,000, in no order.
    pub fn documents(&self, index: &str) -> Vec<Value> {
        let rest = self.rest();
        // What was written can be found after a refresh only.
        rest.call("POST", &format!("/{index}/_refresh?ignore_unavailable=true"), "");
        let path = format!("/{index}/_search?size=10000&ignore_unavailable=true");
        let found = rest.get(&path).json();
        let hits = found["hits"]["hits"].as_array().unwrap();
        hits.iter().map(|hit| hit["_source"].clone()).collect()
    }
}

fn port(text: &str) -> Option<u16> {
    text.lines().find_map(|line| line.strip_prefix(PORT)?.trim().parse().ok())
}

fn answers(address: SocketAddr) -> bool {
    let health = Rest::new(format!("http://{address}")).ask("GET", "/_cluster/health", "");
    health.is_ok_and(|answer| answer.status == 200)
}
