//! The data path in this process, between clients and origins that are exact to the byte.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of tests that cannot go on is a test that fails"
)]

mod bodies;
mod drain;
mod frames;
mod heads;
mod http2;
mod interim;
mod pool;
mod reload;
mod retries;
mod served;
mod silence;
mod stalls;
mod tunnels;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use pillion_model::config::{Overrides, parse};
use pillion_model::settings::{Address, Listen};
use pillion_model::snapshot::{Direction, LogOutput};
use pillion_model::{Snapshot, config};
use pillion_proxy::{Bound, Config, Proxy, bind};
use pillion_runtime::access_log::AccessLog;
use pillion_runtime::board::Exchanges;
use pillion_runtime::metrics::Registry;
use pillion_testkit::{Wire, eventually};
use tokio::runtime::{Builder, Runtime};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A proxy with both sides on free ports. Ends when dropped.
struct Running {
    proxy: Arc<Proxy>,
    registry: Registry,
    exchanges: Exchanges,
    inbound: SocketAddr,
    outbound: SocketAddr,
    control: Runtime,
}

/// Starts a proxy with one worker from the text of a configuration file.
fn start(text: &str) -> Running {
    start_with(text, 1)
}

fn start_with(text: &str, workers: usize) -> Running {
    let snapshot = snapshot(text);
    let registry = Registry::new(1000);
    let exchanges = Exchanges::default();
    let access_log = AccessLog::start(&snapshot.access_log, &registry).unwrap();
    let control = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (inbound, outbound) = (listen(Direction::Inbound), listen(Direction::Outbound));
    let addresses = [&inbound, &outbound].map(|bound| match bound.address() {
        Address::Tcp(address) => *address,
        Address::Unix(_) => panic!("asked for TCP"),
    });
    let config = Config {
        snapshot,
        workers,
        inbound: Some(inbound),
        outbound: Some(outbound),
        registry: registry.clone(),
        exchanges: exchanges.clone(),
        access_log,
        control: control.handle().clone(),
        app: None,
        seed: 1,
    };
    let proxy = Arc::new(Proxy::start(config).unwrap());
    let [inbound, outbound] = addresses;
    Running { proxy, registry, exchanges, inbound, outbound, control }
}

fn listen(direction: Direction) -> Bound {
    let address = Address::Tcp((Ipv4Addr::LOCALHOST, 0).into());
    bind(&Listen { address, asked: true }, direction).unwrap()
}

fn snapshot(text: &str) -> Arc<Snapshot> {
    let loaded: Result<config::Loaded, _> = parse("test.yaml", text, &Overrides::default());
    let mut snapshot = match loaded {
        Ok(loaded) => loaded.snapshot,
        Err(problems) => panic!("{problems:?}"),
    };
    snapshot.access_log.output = LogOutput::Off;
    Arc::new(snapshot)
}

impl Running {
    fn connect(&self) -> Wire {
        Wire::connect(self.inbound)
    }

    /// The value of one series of the metrics; 0 where it is not there.
    fn metric(&self, series: &str) -> f64 {
        let text = self.registry.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until every downstream connection has ended.
    fn wait_for_rest(&self) {
        eventually("no open connection", || self.proxy.connections(Direction::Inbound) == 0);
    }
}

/// Everything inbound to one endpoint, with these settings of the route and of the upstream.
fn to(endpoint: SocketAddr, route: &str, upstream: &str) -> String {
    let comma = |text: &str| if text.is_empty() { String::new() } else { format!(", {text}") };
    format!(
        "upstreams: {{origin: {{endpoints: [\"{endpoint}\"]{}}}}}\n\
         inbound: {{routes: [{{upstream: origin{}}}]}}\n",
        comma(upstream),
        comma(route)
    )
}

/// A request without a body.
fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: app\r\n\r\n")
}

/// A POST with this body.
fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: app\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
