//! Loki: log lines by stream.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Peer, tool};
use crate::{Rest, free_address};

/// All of Loki in one process, with storage in files, without tenants.
pub struct Loki {
    /// The process.
    pub peer: Peer,
    _folder: TempDir,
    address: SocketAddr,
}

impl Loki {
    /// Starts it with no line in it.
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("pillion-loki-").unwrap();
        let address = free_address();
        let file = folder.path().join("loki.yaml");
        // JSON is YAML.
        let config = configuration(&folder.path().join("data").display().to_string(), address);
        std::fs::write(&file, config.to_string()).unwrap();
        let peer = Peer::start(&tool("loki"), [format!("-config.file={}", file.display())]);
        let mut loki = Self { peer, _folder: folder, address };
        loki.wait_until_ready();
        loki
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

    /// The streams of the last hour that a selector such as `{app="web"}` finds: at most 5,000
    /// lines, oldest first.
    pub fn streams(&self, selector: &str) -> Vec<Value> {
        let path = "/loki/api/v1/query_range?since=1h&limit=5000&direction=forward&query=";
        let answer = self.rest().get(&format!("{path}{}", escaped(selector))).json();
        answer["data"]["result"].as_array().unwrap().clone()
    }

    /// The lines of [`Self::streams`], stream after stream.
    pub fn lines(&self, selector: &str) -> Vec<String> {
        let streams = self.streams(selector);
        let values = streams.iter().flat_map(|stream| stream["values"].as_array().unwrap());
        values.map(|value| value[1].as_str().unwrap().to_owned()).collect()
    }

    /// Kills it if it runs, and starts it again on the same address with what it had stored.
    pub fn restart(&mut self) {
        self.peer.restart();
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let rest = self.rest();
        self.peer.wait_until_ready(|_| {
            rest.ask("GET", "/ready", "").is_ok_and(|answer| answer.status == 200)
        });
    }
}

/// A text as part of a query.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// What makes it ready within half a second: no rings are waited for that it would be alone in.
fn configuration(folder: &str, address: SocketAddr) -> Value {
    let members = free_address();
    let host = address.ip();
    json!({
        "auth_enabled": false,
        "analytics": {"reporting_enabled": false},
        "server": {
            "http_listen_address": host,
            "http_listen_port": address.port(),
            "grpc_listen_address": members.ip(),
            "grpc_listen_port": members.port(),
        },
        "common": {
            "path_prefix": folder,
            "replication_factor": 1,
            "instance_addr": members.ip(),
            "ring": {"kvstore": {"store": "inmemory"}},
            "storage": {"filesystem": {
                "chunks_directory": format!("{folder}/chunks"),
                "rules_directory": format!("{folder}/rules"),
            }},
        },
        "ingester": {"lifecycler": {"min_ready_duration": "0s", "final_sleep": "0s"}},
        "query_scheduler": {"use_scheduler_ring": false},
        "frontend": {"scheduler_address": members},
        "frontend_worker": {"scheduler_address": members},
        "schema_config": {"configs": [{
            "from": "2024-01-01",
            "store": "tsdb",
            "object_store": "filesystem",
            "schema": "v13",
            "index": {"prefix": "index_", "period": "24h"},
        }]},
    })
}
