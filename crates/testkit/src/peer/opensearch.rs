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
        let address = free_address();
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
        let mut opensearch = Self { peer: Peer::spawn(java), _folder: folder, address };
        let port = opensearch.port();
        opensearch.address.set_port(port);
        opensearch.wait_until_ready();
        opensearch
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
    /// Kills it if it runs, and starts it again on the same address with what it had stored.
    pub fn restart(&mut self) {
        self.peer.restart();
        let port = self.port();
        assert_eq!(port, self.address.port(), "somebody came to listen on localhost:{port}");
        self.wait_until_ready();
    }

    /// The port that the runner has chosen: one that is free on `localhost`, and so for this node,
    /// which has a host of its own.
    fn port(&mut self) -> u16 {
        let find =
            |text: &str| text.lines().find_map(|line| line.strip_prefix(PORT)?.trim().parse().ok());
        self.peer.wait_until_ready(|peer| find(&peer.stdout.text()).is_some());
        find(&self.peer.stdout.text()).unwrap()
    }

    fn wait_until_ready(&mut self) {
        let rest = self.rest();
        self.peer.wait_until_ready(|_| {
            // Yellow: replicas have nowhere to go. Red: what was stored is not there yet.
            let health = rest.ask("GET", "/_cluster/health?wait_for_status=yellow&timeout=1s", "");
            health.is_ok_and(|answer| answer.status == 200)
        });
    }
}
