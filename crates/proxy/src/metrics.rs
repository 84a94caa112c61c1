//! The metrics of the data path, and each worker's handles on them.

use std::cell::{OnceCell, RefCell};
use std::sync::{Mutex, PoisonError};

use pillion_model::Reason;
use pillion_model::snapshot::Direction;
use pillion_runtime::access_log::Protocol;
use pillion_runtime::metrics::{Buckets, Counter, Desc, Gauge, Histogram, Kind, Registry, Samples};

use crate::state::RouteState;
use crate::upstream::UpstreamStatus;
use crate::worker::Worker;

const ROUTED: &[&str] = &["direction", "route", "upstream"];

static REQUESTS: Desc = Desc {
    name: "pillion_requests",
    kind: Kind::Counter,
    unit: "",
    help: "HTTP exchanges that ended, by status and by Pillion's own reason (empty where it had none).",
    labels: &["direction", "route", "upstream", "code", "reason"],
};
static DURATION: Desc = Desc {
    name: "pillion_request_duration_seconds",
    kind: Kind::Histogram(&Buckets::LATENCY),
    unit: "seconds",
    help: "From the request head to the end of the exchange.",
    labels: ROUTED,
};
static REQUEST_BYTES: Desc = Desc {
    name: "pillion_request_body_bytes",
    kind: Kind::Counter,
    unit: "bytes",
    help: "Body bytes received from clients.",
    labels: ROUTED,
};
static RESPONSE_BYTES: Desc = Desc {
    name: "pillion_response_body_bytes",
    kind: Kind::Counter,
    unit: "bytes",
    help: "Body bytes sent to clients.",
    labels: ROUTED,
};
static TAX: Desc = Desc {
    name: "pillion_tax_seconds",
    kind: Kind::Histogram(&Buckets::TAX),
    unit: "seconds",
    help: "Time that an exchange spent inside Pillion until its response head was sent, waiting for others not counted.",
    labels: &["direction"],
};
static CONNECTIONS: Desc = Desc {
    name: "pillion_connections",
    kind: Kind::Gauge,
    unit: "",
    help: "Open downstream connections.",
    labels: &["direction"],
};
static CONNECTIONS_OPENED: Desc = Desc {
    name: "pillion_connections_opened",
    kind: Kind::Counter,
    unit: "",
    help: "Downstream connections by what they speak.",
    labels: &["direction", "protocol"],
};
static CONNECTIONS_REFUSED: Desc = Desc {
    name: "pillion_connections_refused",
    kind: Kind::Counter,
    unit: "",
    help: "Downstream connections that were closed unserved.",
    labels: &["direction", "reason"],
};
static TCP_ENDED: Desc = Desc {
    name: "pillion_tcp_connections_ended",
    kind: Kind::Counter,
    unit: "",
    help: "Raw TCP connections that ended, by Pillion's own reason (empty where it had none).",
    labels: &["direction", "reason"],
};
static TCP_BYTES: Desc = Desc {
    name: "pillion_tcp_bytes",
    kind: Kind::Counter,
    unit: "bytes",
    help: "Bytes relayed on raw TCP connections, from the client (up) and to it (down).",
    labels: &["direction", "way"],
};
static RETRIES: Desc = Desc {
    name: "pillion_retries",
    kind: Kind::Counter,
    unit: "",
    help: "Further attempts, by what failed before; budget_spent counts those that were not made.",
    labels: &["upstream", "cause"],
};
static UPSTREAM_CONNECTIONS: Desc = Desc {
    name: "pillion_upstream_connections",
    kind: Kind::Gauge,
    unit: "",
    help: "Open connections to an upstream.",
    labels: &["upstream"],
};
static UPSTREAM_REQUESTS: Desc = Desc {
    name: "pillion_upstream_requests_in_flight",
    kind: Kind::Gauge,
    unit: "",
    help: "Requests in flight to an upstream.",
    labels: &["upstream"],
};
static UPSTREAM_PENDING: Desc = Desc {
    name: "pillion_upstream_requests_pending",
    kind: Kind::Gauge,
    unit: "",
    help: "Requests that wait for a connection to an upstream.",
    labels: &["upstream"],
};
static UPSTREAM_ENDPOINTS: Desc = Desc {
    name: "pillion_upstream_endpoints",
    kind: Kind::Gauge,
    unit: "",
    help: "Known endpoints of an upstream.",
    labels: &["upstream"],
};
static DNS_LOOKUPS: Desc = Desc {
    name: "pillion_dns_lookups",
    kind: Kind::Counter,
    unit: "",
    help: "Lookups of host names.",
    labels: &["result"],
};

pub(crate) static RESTARTS: Desc = Desc {
    name: "pillion_worker_restarts",
    kind: Kind::Counter,
    unit: "",
    help: "Starts of a worker after it failed, which cut its connections.",
    labels: &[],
};

/// Every metric of the data path, for the generated reference.
pub static ALL: &[&Desc] = &[
    &REQUESTS,
    &DURATION,
    &REQUEST_BYTES,
    &RESPONSE_BYTES,
    &TAX,
    &CONNECTIONS,
    &CONNECTIONS_OPENED,
    &CONNECTIONS_REFUSED,
    &TCP_ENDED,
    &TCP_BYTES,
    &RETRIES,
    &UPSTREAM_CONNECTIONS,
    &UPSTREAM_REQUESTS,
    &UPSTREAM_PENDING,
    &UPSTREAM_ENDPOINTS,
    &DNS_LOOKUPS,
    &RESTARTS,
];

/// A worker's handles for one route.
pub(crate) struct RouteStats {
    labels: [Box<str>; 3],
    /// By status and reason; a route has few of them, so a walk is the fastest look-up.
    counts: RefCell<Vec<(u16, Option<Reason>, Counter)>>,
    pub(crate) duration: Histogram,
    pub(crate) request_bytes: Counter,
    pub(crate) response_bytes: Counter,
}

impl RouteStats {
    fn new(registry: &Registry, direction: Direction, route: Option<&RouteState>) -> Self {
        let name = route.map_or("", |route| &route.config.name);
        let upstream = route.map_or("", RouteState::upstream_name);
        let labels = [direction.label(), name, upstream];
        Self {
            duration: registry.histogram(&DURATION, &labels),
            request_bytes: registry.counter(&REQUEST_BYTES, &labels),
            response_bytes: registry.counter(&RESPONSE_BYTES, &labels),
            counts: RefCell::default(),
            labels: labels.map(Into::into),
        }
    }

    /// Counts an exchange that ended.
    pub(crate) fn count(&self, registry: &Registry, status: u16, reason: Option<Reason>) {
        let mut counts = self.counts.borrow_mut();
        if let Some((.., count)) = counts.iter().find(|(s, r, _)| *s == status && *r == reason) {
            count.inc();
            return;
        }
        let [direction, route, upstream] = &self.labels;
        let code = itoa::Buffer::new().format(status).to_owned();
        let reason_label = reason.map_or("", Reason::label);
        let count = registry.counter(&REQUESTS, &[direction, route, upstream, &code, reason_label]);
        count.inc();
        counts.push((status, reason, count));
    }
}

/// The handles of one route, made at its first exchange: a route that nobody uses costs nothing.
#[derive(Default)]
pub(crate) struct StatsCell(OnceCell<Box<RouteStats>>);

impl StatsCell {
    pub(crate) fn get(
        &self,
        worker: &Worker,
        direction: Direction,
        route: Option<&RouteState>,
    ) -> &RouteStats {
        self.0.get_or_init(|| Box::new(RouteStats::new(&worker.registry, direction, route)))
    }
}

/// A worker's handles that belong to no route.
pub(crate) struct WorkerStats {
    inbound: DirectionStats,
    outbound: DirectionStats,
    retries: RefCell<Vec<(Box<str>, &'static str, Counter)>>,
}

struct DirectionStats {
    label: &'static str,
    tax: Histogram,
    connections: Gauge,
    opened: [Counter; 3],
    tcp_up: Counter,
    tcp_down: Counter,
    tcp_ended: RefCell<Vec<(Option<Reason>, Counter)>>,
    refused: RefCell<Vec<(Reason, Counter)>>,
}

impl DirectionStats {
    fn new(registry: &Registry, direction: Direction) -> Self {
        let label = direction.label();
        Self {
            label,
            tax: registry.histogram(&TAX, &[label]),
            connections: registry.gauge(&CONNECTIONS, &[label]),
            opened: ["http/1", "http/2", "tcp"]
                .map(|protocol| registry.counter(&CONNECTIONS_OPENED, &[label, protocol])),
            tcp_up: registry.counter(&TCP_BYTES, &[label, "up"]),
            tcp_down: registry.counter(&TCP_BYTES, &[label, "down"]),
            tcp_ended: RefCell::default(),
            refused: RefCell::default(),
        }
    }
}

impl WorkerStats {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            inbound: DirectionStats::new(registry, Direction::Inbound),
            outbound: DirectionStats::new(registry, Direction::Outbound),
            retries: RefCell::default(),
        }
    }

    fn of(&self, direction: Direction) -> &DirectionStats {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }

    pub(crate) fn tax(&self, direction: Direction) -> &Histogram {
        &self.of(direction).tax
    }

    pub(crate) fn connections(&self, direction: Direction, by: i64) {
        self.of(direction).connections.add(by);
    }

    pub(crate) fn opened(&self, direction: Direction, protocol: Protocol) {
        let [h1, h2, tcp] = &self.of(direction).opened;
        match protocol {
            Protocol::Http10 | Protocol::Http11 => h1.inc(),
            Protocol::Http2 => h2.inc(),
            Protocol::Tcp => tcp.inc(),
        }
    }

    pub(crate) fn refused(&self, registry: &Registry, direction: Direction, reason: Reason) {
        let stats = self.of(direction);
        let mut refused = stats.refused.borrow_mut();
        if let Some((_, count)) = refused.iter().find(|(known, _)| *known == reason) {
            count.inc();
            return;
        }
        let count = registry.counter(&CONNECTIONS_REFUSED, &[stats.label, reason.label()]);
        count.inc();
        refused.push((reason, count));
    }

    pub(crate) fn tcp_ended(
        &self,
        registry: &Registry,
        direction: Direction,
        reason: Option<Reason>,
        (up, down): (u64, u64),
    ) {
        let stats = self.of(direction);
        stats.tcp_up.add(up);
        stats.tcp_down.add(down);
        let mut ended = stats.tcp_ended.borrow_mut();
        if let Some((_, count)) = ended.iter().find(|(known, _)| *known == reason) {
            count.inc();
            return;
        }
        let label = reason.map_or("", Reason::label);
        let count = registry.counter(&TCP_ENDED, &[stats.label, label]);
        count.inc();
        ended.push((reason, count));
    }

    pub(crate) fn retried(&self, registry: &Registry, upstream: &str, cause: &'static str) {
        let mut retries = self.retries.borrow_mut();
        if let Some((.., count)) =
            retries.iter().find(|(name, known, _)| **name == *upstream && *known == cause)
        {
            count.inc();
            return;
        }
        let count = registry.counter(&RETRIES, &[upstream, cause]);
        count.inc();
        retries.push((upstream.into(), cause, count));
    }
}

/// Counts lookups; shared by the tasks that make them.
#[derive(Debug)]
pub(crate) struct DnsStats(Mutex<(Counter, Counter)>);

impl DnsStats {
    pub(crate) fn new(registry: &Registry) -> Self {
        let of = |result| registry.counter(&DNS_LOOKUPS, &[result]);
        Self(Mutex::new((of("answered"), of("failed"))))
    }

    pub(crate) fn answered(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.inc();
    }

    pub(crate) fn failed(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.inc();
    }
}

/// Adds the live state of upstreams to a scrape. Hosts that requests named share one series.
pub(crate) fn collect(upstreams: &[UpstreamStatus], samples: &mut Samples) {
    for upstream in upstreams {
        let labels = [upstream.name.as_str()];
        samples.put(&UPSTREAM_CONNECTIONS, &labels, f64::from(upstream.connections));
        samples.put(&UPSTREAM_REQUESTS, &labels, f64::from(upstream.requests));
        samples.put(&UPSTREAM_PENDING, &labels, f64::from(upstream.pending));
        let endpoints = u32::try_from(upstream.endpoints.len()).unwrap_or(u32::MAX);
        samples.put(&UPSTREAM_ENDPOINTS, &labels, f64::from(endpoints));
    }
}
