//! The admin interface of the sidecar: which paths there are.

mod health;
mod orders;
mod state;

use std::sync::Arc;
use std::time::Instant;

use pillion_logs::status::StatusBoard;
use pillion_proxy::Proxy;
use pillion_runtime::admin::{self, Bound, Routes};
use pillion_runtime::lifecycle::{Lifecycle, Phase};
use pillion_runtime::metrics::Registry;
use pillion_runtime::say;
use tokio::sync::{mpsc, watch};

use crate::run::{Addresses, AppView, ConfigView, Order, Sidecar};

/// Everything that the admin interface shows, and the way to what it can ask for.
pub(crate) struct View {
    /// What the sidecar is made of.
    pub(crate) sidecar: Shared,
    /// The configuration in force.
    pub(crate) config: watch::Receiver<ConfigView>,
    /// The app.
    pub(crate) app: watch::Receiver<AppView>,
    /// The secrets role.
    pub(crate) secrets: pillion_secrets::Status,
    /// To the life of the process.
    pub(crate) orders: mpsc::Sender<Order>,
}

/// The parts of the sidecar that are looked at.
pub(crate) struct Shared {
    proxy: Arc<Proxy>,
    lifecycle: Lifecycle,
    pub(crate) logs: StatusBoard,
    registry: Registry,
    addresses: Addresses,
    started: Instant,
}

impl Shared {
    /// Those of this one, which has just started.
    pub(crate) fn of(sidecar: &Sidecar) -> Self {
        Self {
            proxy: Arc::clone(&sidecar.proxy),
            lifecycle: sidecar.lifecycle.clone(),
            logs: sidecar.logs.clone(),
            registry: sidecar.registry.clone(),
            addresses: sidecar.addresses.clone(),
            started: Instant::now(),
        }
    }
}

/// Serves admin until everything is finished.
pub(crate) async fn serve(bound: Bound, view: View) {
    let lifecycle = view.sidecar.lifecycle.clone();
    let over = async move { lifecycle.reached(Phase::Stopped).await };
    if let Err(error) = admin::serve(bound, routes(view), over).await {
        say!(Error, "the admin interface cannot be served", error = error);
    }
}

fn routes(view: View) -> Routes {
    let routes = admin::metrics(Routes::new(), &view.sidecar.registry);
    let routes = admin::logging(routes);
    let view = Arc::new(view);
    let routes = health::add(routes, &view);
    let routes = state::add(routes, &view);
    orders::add(routes, &view)
}
