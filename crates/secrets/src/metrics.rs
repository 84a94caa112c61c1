//! The metrics of the role.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use pillion_runtime::metrics::{Buckets, Counter, Desc, Histogram, Kind, Registry};

macro_rules! desc {
    ($name:ident, $kind:expr, $text:literal, $unit:literal, $labels:expr, $help:literal) => {
        pub(crate) static $name: Desc =
            Desc { name: $text, kind: $kind, unit: $unit, help: $help, labels: $labels };
    };
}

desc!(
    FETCHES,
    Kind::Counter,
    "pillion_secrets_fetches",
    "",
    &["secret", "result"],
    "Times that a secret was fetched or looked at, by result: ok, unchanged, or why it failed."
);
desc!(
    RENEWALS,
    Kind::Counter,
    "pillion_secrets_renewals",
    "",
    &["secret", "result"],
    "Times that a lease was to be extended, by result: ok, or why it failed."
);
desc!(
    REVOCATIONS,
    Kind::Counter,
    "pillion_secrets_revocations",
    "",
    &["secret", "result"],
    "Times that a lease was to be ended, by result: ok, or why it failed."
);
desc!(
    TRANSACTIONS,
    Kind::Counter,
    "pillion_secrets_transactions",
    "",
    &["set", "outcome"],
    "Transactions of a set, by outcome: settled, unchanged, refused, returned, standing, unrecorded, stuck."
);
desc!(
    STEPS,
    Kind::Histogram(&Buckets::LATENCY),
    "pillion_secrets_step_duration_seconds",
    "seconds",
    &["step"],
    "How long a step of a transaction took."
);
desc!(
    REQUESTS,
    Kind::Counter,
    "pillion_secrets_server_requests",
    "",
    &[],
    "Requests to the secrets server."
);
desc!(
    AGE,
    Kind::Gauge,
    "pillion_secrets_age_seconds",
    "seconds",
    &["secret"],
    "Time since the values of a secret were fetched."
);
desc!(
    STALENESS,
    Kind::Gauge,
    "pillion_secrets_staleness_seconds",
    "seconds",
    &["secret"],
    "For how long a secret, or a configuration source, could not be refreshed; 0 when the last try went well."
);
desc!(
    NEXT,
    Kind::Gauge,
    "pillion_secrets_next_step_seconds",
    "seconds",
    &["secret"],
    "Time until a secret is renewed, replaced or looked at again."
);
desc!(
    VERSION,
    Kind::Gauge,
    "pillion_secrets_version",
    "",
    &["secret"],
    "The version of a secret of the KV 2 engine."
);
desc!(
    SET_VERSION,
    Kind::Gauge,
    "pillion_secrets_set_version",
    "",
    &["set"],
    "The version of a set that its names lead to."
);
desc!(
    SET_CONFIRMED,
    Kind::Gauge,
    "pillion_secrets_set_confirmed_version",
    "",
    &["set"],
    "The version of a set that the app confirmed last."
);
desc!(
    API_REQUESTS,
    Kind::Counter,
    "pillion_secrets_api_requests",
    "",
    &["outcome"],
    "Requests to the local interface, by outcome: asked (the server answered), hit (a kept answer), stale (an old one, the server being away), failed (no answer), refused (by the guard), invalid."
);
desc!(
    API_JOINED,
    Kind::Counter,
    "pillion_secrets_api_joined",
    "",
    &[],
    "Requests to the local interface that waited for the same request under way."
);
desc!(
    API_IN_FLIGHT,
    Kind::Gauge,
    "pillion_secrets_api_in_flight",
    "",
    &[],
    "Requests that the local interface is answering."
);
desc!(
    API_KEPT,
    Kind::Gauge,
    "pillion_secrets_api_kept",
    "",
    &[],
    "Answers that the local interface keeps."
);
desc!(
    LIMIT_HITS,
    Kind::Counter,
    "pillion_secrets_limit_hits",
    "",
    &["limit"],
    "Times that a limit refused something, pushed a kept answer out or made a connection wait, by the key of the limit below secrets."
);
desc!(
    SESSION,
    Kind::Gauge,
    "pillion_secrets_session_expiry_seconds",
    "seconds",
    &[],
    "Time until our token ends, unless it is renewed; absent where it does not end."
);

/// Every metric of this crate, for the generated reference.
pub static METRICS: &[&Desc] = &[
    &FETCHES,
    &RENEWALS,
    &REVOCATIONS,
    &TRANSACTIONS,
    &STEPS,
    &REQUESTS,
    &AGE,
    &STALENESS,
    &NEXT,
    &VERSION,
    &SET_VERSION,
    &SET_CONFIRMED,
    &SESSION,
    &API_REQUESTS,
    &API_JOINED,
    &API_IN_FLIGHT,
    &API_KEPT,
    &LIMIT_HITS,
];

/// The counters of one run of the role. A handle is kept once it was used, so that its series stays.
pub(crate) struct Metrics {
    registry: Registry,
    counters: RefCell<BTreeMap<(&'static str, [String; 2]), Counter>>,
    steps: RefCell<BTreeMap<&'static str, Histogram>>,
}

impl Metrics {
    pub(crate) fn new(registry: Registry) -> Self {
        Self { registry, counters: RefCell::default(), steps: RefCell::default() }
    }

    /// Counts one more with these two labels.
    pub(crate) fn count(&self, desc: &'static Desc, name: &str, result: &str) {
        let key = (desc.name, [name.to_owned(), result.to_owned()]);
        let mut counters = self.counters.borrow_mut();
        counters.entry(key).or_insert_with(|| self.registry.counter(desc, &[name, result])).inc();
    }

    /// Records how long a step took.
    pub(crate) fn step(&self, step: &'static str, took: Duration) {
        let mut steps = self.steps.borrow_mut();
        let histogram =
            steps.entry(step).or_insert_with(|| self.registry.histogram(&STEPS, &[step]));
        histogram.record_us(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
