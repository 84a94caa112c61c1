//! The real program from outside, one file per topic.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of tests that cannot go on is a test that fails"
)]

mod admin;
mod cli;
mod complaints;
mod dns;
mod faults;
mod http1_requests;
mod http2;
mod life;
mod limits;
mod logs;
mod reference;
mod reload;
mod retries;
mod run;
mod secrets;
mod senders;
mod smuggling;
mod stream;
mod tunnels;
mod url_credentials;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use pillion_testkit::{Builder, Pillion, tool};

/// The program, not started yet.
fn pillion() -> Builder {
    Builder::new(env!("CARGO_BIN_EXE_pillion"))
}

/// Configuration that sends everything inbound to one endpoint.
fn inbound_to(endpoint: SocketAddr) -> String {
    format!("{}inbound: {{routes: [{{upstream: origin}}]}}\n", origin_at(endpoint))
}

/// Configuration of an upstream called `origin`.
fn origin_at(endpoint: SocketAddr) -> String {
    format!("upstreams: {{origin: {{endpoints: [\"{endpoint}\"]}}}}\n")
}

/// Pillion without an app, before this endpoint.
fn in_front_of(endpoint: SocketAddr) -> Pillion {
    pillion().config(inbound_to(endpoint)).start()
}

/// A script of the folder `peers`.
fn peer(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name)
}

/// A request without a body.
fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: app\r\n\r\n")
}

/// A POST with this body.
fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: app\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// Has Prometheus's own tool look at a page of metrics.
fn assert_promtool_takes(pillion: &Pillion, page: &str) {
    let file = pillion.folder().join("metrics");
    std::fs::write(&file, page).unwrap();
    let output = Command::new(tool("promtool"))
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
