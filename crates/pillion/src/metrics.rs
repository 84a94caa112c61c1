//! The metrics of the process itself: its phase, its configuration, the app's restarts.

use pillion_runtime::lifecycle::{Lifecycle, Phase};
use pillion_runtime::metrics::{Desc, Kind, Registry};

use crate::panics;

/// Series that one metric may have.
pub(crate) const SERIES_LIMIT: usize = pillion_runtime::metrics::DEFAULT_SERIES_LIMIT;

pub(crate) static RELOADS: Desc = Desc {
    name: "pillion_config_reloads",
    kind: Kind::Counter,
    unit: "",
    help: "Times that the configuration was read again, by what came of it: applied, refused, unchanged.",
    labels: &["result"],
};
pub(crate) static RELOAD_SUCCESS: Desc = Desc {
    name: "pillion_config_last_reload_success",
    kind: Kind::Gauge,
    unit: "",
    help: "0 when the configuration was refused at the last reload, else 1.",
    labels: &[],
};
pub(crate) static APPLIED_AT: Desc = Desc {
    name: "pillion_config_last_applied_timestamp_seconds",
    kind: Kind::Gauge,
    unit: "seconds",
    help: "When the configuration in force was taken, in seconds since 1970.",
    labels: &[],
};
pub(crate) static APP_RESTARTS: Desc = Desc {
    name: "pillion_app_restarts",
    kind: Kind::Counter,
    unit: "",
    help: "Times that the app was started again after it had failed.",
    labels: &[],
};
static READY: Desc = Desc {
    name: "pillion_ready",
    kind: Kind::Gauge,
    unit: "",
    help: "1 while the sidecar is ready for traffic, as GET /ready says, else 0.",
    labels: &[],
};
static PANICS: Desc = Desc {
    name: "pillion_panics",
    kind: Kind::Counter,
    unit: "",
    help: "Bugs of Pillion that ended a task or a thread: each is said on standard error.",
    labels: &[],
};

/// Every metric of this crate, for the generated reference.
pub(crate) static ALL: &[&Desc] =
    &[&RELOADS, &RELOAD_SUCCESS, &APPLIED_AT, &APP_RESTARTS, &READY, &PANICS];

/// Adds what is read at every scrape.
pub(crate) fn collect(registry: &Registry, lifecycle: &Lifecycle) {
    let lifecycle = lifecycle.clone();
    registry.collector(Box::new(move |samples| {
        samples.put(&READY, &[], f64::from(u8::from(lifecycle.phase() == Phase::Ready)));
        samples.put(&PANICS, &[], panics::count() as f64);
    }));
}
