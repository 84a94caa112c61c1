//! The sidecar's own parts: listeners, data path, metrics and access log.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pillion_model::config::Loaded;
use pillion_model::settings::{Address, Listen, Settings};
use pillion_model::snapshot::Direction;
use pillion_proxy::{Bound, Config, Proxy};
use pillion_runtime::access_log::AccessLog;
use pillion_runtime::board::Board;
use pillion_runtime::cost::{self, Build};
use pillion_runtime::envelope::Envelope;
use pillion_runtime::lifecycle::Lifecycle;
use pillion_runtime::metrics::Registry;
use pillion_runtime::{admin, say};
use tokio::runtime::Handle;

use crate::failure::Failure;
use crate::metrics;

/// The condition that the sidecar listens.
pub(super) const LISTENERS: &str = "listeners";
/// The condition that the app is ready.
pub(super) const APP: &str = "app";
/// The last lines of the access log may take this long.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// What runs, whether there is an app or not.
pub(crate) struct Sidecar {
    /// The data path.
    pub(crate) proxy: Arc<Proxy>,
    /// One line for each exchange.
    pub(crate) access_log: AccessLog,
    /// Every metric.
    pub(crate) registry: Registry,
    /// What roles tell each other.
    pub(crate) board: Board,
    /// How far it is in its life.
    pub(crate) lifecycle: Lifecycle,
    /// Where it listens.
    pub(crate) addresses: Addresses,
    /// Where admin will be served.
    pub(super) admin: Option<admin::Bound>,
}

/// Where the sidecar listens; `None` for what is off.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    /// Traffic to the app.
    pub(crate) inbound: Option<Address>,
    /// Traffic from the app.
    pub(crate) outbound: Option<Address>,
    /// Health, metrics, state.
    pub(crate) admin: Option<Address>,
    /// Default addresses that were taken.
    pub(crate) taken: Vec<Address>,
}

impl Sidecar {
    /// Opens every address and starts the workers: when this returns, the sidecar serves.
    ///
    /// # Errors
    /// An address is taken or not permitted, the access log cannot be opened, or the system refuses
    /// a thread.
    pub(super) fn start(loaded: &Loaded, beside_app: bool) -> Result<Self, Failure> {
        let settings = &loaded.settings;
        let registry = Registry::new(metrics::SERIES_LIMIT);
        let board = Board::default();
        let build =
            Build { version: env!("CARGO_PKG_VERSION"), commit: option_env!("PILLION_COMMIT") };
        cost::register(&registry, build, SystemTime::now());
        let access_log = AccessLog::start(&loaded.snapshot.access_log, &registry)
            .map_err(|error| Failure::doing("cannot start the access log", &error))?;
        let inbound = bind(settings.inbound.as_ref(), Direction::Inbound)?;
        let outbound = bind(settings.outbound.as_ref(), Direction::Outbound)?;
        let admin = settings.admin.as_ref().map(admin::bind).transpose();
        let admin = admin.map_err(|error| Failure::because(&error))?;
        let addresses =
            Addresses::of(settings, inbound.as_ref(), outbound.as_ref(), admin.as_ref());
        let lifecycle = Lifecycle::new(&conditions(loaded, beside_app));
        metrics::collect(&registry, &lifecycle);
        let proxy = Proxy::start(Config {
            snapshot: Arc::new(loaded.snapshot.clone()),
            workers: workers(settings.workers),
            inbound,
            outbound,
            registry: registry.clone(),
            exchanges: board.exchanges.clone(),
            access_log: access_log.clone(),
            control: Handle::current(),
            app: settings.app.port.map(on_loopback),
            seed: chance(),
        })
        .map_err(|error| Failure::doing("cannot start the workers", &error))?;
        lifecycle.meet(LISTENERS);
        Ok(Self {
            proxy: Arc::new(proxy),
            access_log,
            registry,
            board,
            lifecycle,
            addresses,
            admin,
        })
    }

    /// Ends the workers, cuts what is still open, and writes the last lines of the access log.
    pub(super) fn stop(&self) {
        self.proxy.stop();
        if !self.access_log.flush(FLUSH_TIMEOUT) {
            say!(Warn, "the last lines of the access log are lost: its output does not take them");
        }
    }
}

impl Addresses {
    fn of(
        settings: &Settings,
        inbound: Option<&Bound>,
        outbound: Option<&Bound>,
        admin: Option<&admin::Bound>,
    ) -> Self {
        let mut addresses = Self {
            inbound: inbound.map(|bound| bound.address().clone()),
            outbound: outbound.map(|bound| bound.address().clone()),
            admin: admin.map(|bound| bound.address().clone()),
            taken: Vec::new(),
        };
        addresses.taken = [
            (&settings.inbound, &addresses.inbound),
            (&settings.outbound, &addresses.outbound),
            (&settings.admin, &addresses.admin),
        ]
        .into_iter()
        .filter_map(|(listen, real)| {
            let listen = listen.as_ref().filter(|listen| !listen.asked)?;
            (Some(&listen.address) != real.as_ref()).then(|| listen.address.clone())
        })
        .collect();
        addresses
    }

    /// The TCP ports that are ours.
    pub(super) fn ports(&self) -> Vec<u16> {
        let all = [&self.inbound, &self.outbound, &self.admin];
        all.into_iter()
            .filter_map(|address| match address {
                Some(Address::Tcp(address)) => Some(address.port()),
                Some(Address::Unix(_)) | None => None,
            })
            .collect()
    }
}

/// A number that nobody can foresee.
pub(super) fn chance() -> u64 {
    // Each state is keyed by the system's randomness.
    RandomState::new().hash_one(())
}

/// Where an app listens whose port was given.
pub(super) fn on_loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn bind(listen: Option<&Listen>, direction: Direction) -> Result<Option<Bound>, Failure> {
    let bound = listen.map(|listen| pillion_proxy::bind(listen, direction)).transpose();
    bound.map_err(|error| Failure::because(&error))
}

/// What has to be so before the sidecar is ready. Without a listener for it, nobody waits for the
/// app's port; and an app that somebody else starts may itself wait for the sidecar.
fn conditions(loaded: &Loaded, beside_app: bool) -> Vec<&'static str> {
    let waits_for_app = beside_app && loaded.settings.inbound.is_some();
    let secrets = loaded.roles.secrets.as_ref();
    let waits_for_secrets = secrets.is_some_and(|secrets| secrets.readiness.wait);
    [(LISTENERS, true), (APP, waits_for_app), (pillion_secrets::CONDITION, waits_for_secrets)]
        .into_iter()
        .filter_map(|(condition, waits)| waits.then_some(condition))
        .collect()
}

/// As many workers as the CPU quota has room for. Without a quota one is enough beside an app: it
/// carries more than most apps answer.
fn workers(asked: Option<usize>) -> usize {
    let envelope = Envelope::read();
    match (asked, envelope.cpu_quota) {
        (Some(asked), _) => envelope.workers(asked),
        (None, Some(_)) => envelope.parallelism(),
        (None, None) => 1,
    }
}
