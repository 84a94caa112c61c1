//! The OpenTelemetry Collector: receives OTLP and Fluentd's forward protocol, and shows what it got.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Peer, tool};
use crate::free_address;

/// A collector that takes logs, traces and metrics, over gRPC and HTTP, in the clear.
pub struct Collector {
    /// The process.
    pub peer: Peer,
    folder: TempDir,
    grpc: SocketAddr,
    http: SocketAddr,
    forward: SocketAddr,
}

/// How a collector sends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otlp {
    /// Over gRPC.
    Grpc,
    /// Over HTTP, with protobuf.
    Http,
}

impl Collector {
    /// Starts it.
    pub fn start() -> Self {
        Self::start_with(&json!({}))
    }

    /// Starts one that sends all logs on to an OTLP receiver too, with gzip as is its default.
    pub fn sending_to(address: SocketAddr, how: Otlp) -> Self {
        Self::start_with(&match how {
            Otlp::Grpc => json!({"otlp_grpc": {"endpoint": address, "tls": {"insecure": true}}}),
            Otlp::Http => json!({"otlp_http": {"endpoint": format!("http://{address}")}}),
        })
    }

    fn start_with(further: &Value) -> Self {
        let folder = TempDir::with_prefix("pillion-collector-").unwrap();
        let (grpc, http, forward) = (free_address(), free_address(), free_address());
        let pipeline = json!({"receivers": ["otlp"], "exporters": ["file"]});
        let mut exporters = json!({"file": {
            "path": received(&folder),
            "append": true,
            "flush_interval": "10ms",
        }});
        exporters.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        let logs = json!({
            "receivers": ["otlp", "fluent_forward"],
            "exporters": exporters.as_object().unwrap().keys().collect::<Vec<_>>(),
        });
        let config = json!({
            "receivers": {
                "otlp": {"protocols": {"grpc": {"endpoint": grpc}, "http": {"endpoint": http}}},
                "fluent_forward": {"endpoint": forward},
            },
            "exporters": exporters,
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"logs": logs, "traces": pipeline, "metrics": pipeline},
            },
        });
        let file = folder.path().join("collector.yaml");
        // JSON is YAML.
        std::fs::write(&file, config.to_string()).unwrap();
        let peer = Peer::start(&tool("otelcol"), [format!("--config={}", file.display())]);
        let mut collector = Self { peer, folder, grpc, http, forward };
        collector.wait_until_ready();
        collector
    }

    /// Where it takes OTLP over gRPC.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Where it takes OTLP over HTTP, at `/v1/logs`, `/v1/traces` and `/v1/metrics`.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it takes Fluentd's forward protocol.
    pub fn forward(&self) -> SocketAddr {
        self.forward
    }

    /// Every request that it took so far, in the JSON form of OTLP.
    pub fn received(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(received(&self.folder)).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The log records of all requests, without their resources and scopes.
    pub fn log_records(&self) -> Vec<Value> {
        let requests = self.received();
        let resources = requests.iter().flat_map(|request| list(&request["resourceLogs"]));
        let scopes = resources.flat_map(|resource| list(&resource["scopeLogs"]));
        scopes.flat_map(|scope| list(&scope["logRecords"])).cloned().collect()
    }

    /// Kills it if it runs, and starts it again on the same addresses; what it received stays.
    pub fn restart(&mut self) {
        self.peer.restart();
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let addresses = [self.grpc, self.http, self.forward];
        self.peer.wait_until_ready(|_| addresses.iter().all(|at| TcpStream::connect(at).is_ok()));
    }
}

fn received(folder: &TempDir) -> PathBuf {
    folder.path().join("received.json")
}

/// The elements of a list, which OTLP leaves out where it is empty.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
