//! A worker that fails is started again; for how long it is not there, and when not at all.

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use pillion_model::config::{Overrides, parse};
use pillion_model::settings::{Address, Listen};
use pillion_model::snapshot::{LogOutput, Snapshot};
use pillion_testkit::{Origin, Wire, eventually};

use super::*;
use crate::listener::{Bound, bind};
use crate::state::Applied;
use crate::{Config, Proxy};

fn snapshot(text: &str) -> Arc<Snapshot> {
    let mut snapshot = parse("test.yaml", text, &Overrides::default()).unwrap().snapshot;
    snapshot.access_log.output = LogOutput::Off;
    Arc::new(snapshot)
}

fn orders() -> watch::Sender<Orders> {
    let applied = Arc::new(Applied::new(snapshot(""), Vec::new()));
    watch::Sender::new(Orders { applied, inbound: Phase::Serving, outbound: Phase::Serving })
}

/// Keeps a worker that ends like this, one time after another; waits take no time.
fn keep(
    orders: &watch::Sender<Orders>,
    registry: &Registry,
    mut run: impl FnMut() -> io::Result<()>,
) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let restarts = registry.counter(&RESTARTS, &[]);
    let lasting = Lasting { number: 0, orders: orders.subscribe(), restarts };
    lasting.keep(&runtime, || {
        let ended = run();
        async { ended }
    });
}

fn restarts(registry: &Registry) -> Option<String> {
    let text = registry.render();
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix("pillion_worker_restarts_total ")).map(str::to_owned)
}

#[test]
fn a_worker_is_started_again_after_each_failure_and_not_after_its_end() {
    let registry = Registry::new(10);
    let mut run = 0;
    keep(&orders(), &registry, || {
        run += 1;
        match run {
            1 => panic!("a fault of ours"),
            2 => Err(io::ErrorKind::OutOfMemory.into()),
            _ => Ok(()),
        }
    });
    assert_eq!(run, 3);
    assert_eq!(restarts(&registry).as_deref(), Some("2"));
}

#[test]
fn a_worker_that_is_to_stop_is_not_started_again() {
    let (orders, registry) = (orders(), Registry::new(10));
    keep(&orders, &registry, || {
        orders.send_modify(|orders| orders.inbound = Phase::Stopping);
        panic!("a fault of ours")
    });
    assert_eq!(restarts(&registry).as_deref(), Some("0"));
}

#[test]
fn the_panic_of_a_task_that_the_worker_cannot_be_without_is_its_own() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let failed = |ends: fn() -> io::Result<()>| {
        catch_unwind(|| {
            LocalSet::new().block_on(&runtime, async {
                let mut vital = JoinSet::new();
                vital.spawn_local(async { Ok(()) });
                vital.spawn_local(async move { ends() });
                failure(&mut vital).await.kind()
            })
        })
    };
    assert!(failed(|| panic!("a fault of ours")).is_err());
    let error = failed(|| Err(io::ErrorKind::OutOfMemory.into()));
    assert_eq!(error.unwrap(), io::ErrorKind::OutOfMemory);
}

#[test]
fn a_worker_that_was_started_again_serves() {
    let origin = Origin::saying("hello");
    let text = format!(
        "upstreams: {{origin: {{endpoints: [\"{}\"]}}}}\ninbound: {{routes: [{{upstream: origin}}]}}\n",
        origin.address()
    );
    let snapshot = snapshot(&text);
    let listen = Listen { address: Address::Tcp(([127, 0, 0, 1], 0).into()), asked: true };
    let bound = bind(&listen, Direction::Inbound).unwrap();
    let Address::Tcp(address) = bound.address().clone() else { panic!("asked for TCP") };
    let (whole, _) = bound.into_share(Direction::Inbound);
    // A file is no socket: whoever waits for it fails.
    let broken = TcpListener::from(OwnedFd::from(File::open("/dev/null").unwrap()));
    let registry = Registry::new(1000);
    let control = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let proxy = Proxy::start(Config {
        workers: 1,
        inbound: Some(Bound::of(broken)),
        outbound: None,
        registry: registry.clone(),
        exchanges: Exchanges::default(),
        access_log: AccessLog::start(&snapshot.access_log, &registry).unwrap(),
        control: control.handle().clone(),
        app: None,
        seed: 1,
        snapshot,
    })
    .unwrap();
    eventually("the worker has failed", || restarts(&registry).is_some_and(|count| count != "0"));
    *proxy.shared.sockets() = vec![whole];
    let response = Wire::connect(address).send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").response();
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
}
