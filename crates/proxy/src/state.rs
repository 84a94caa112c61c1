//! A snapshot as one worker uses it: routes compiled, pools attached, counters at hand.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use pillion_model::Snapshot;
use pillion_model::snapshot::{Action, Direction, Listener, Route, Upstream};
use pillion_traffic::RouteTable;

use crate::metrics::StatsCell;
use crate::upstream::{Pool, SharedUpstream};

/// A snapshot with what all workers share of it.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) snapshot: Arc<Snapshot>,
    /// In the order of the snapshot's upstreams.
    pub(crate) upstreams: Vec<Arc<SharedUpstream>>,
    inbound: Arc<RouteTable>,
    outbound: Arc<RouteTable>,
}

impl Applied {
    pub(crate) fn new(snapshot: Arc<Snapshot>, upstreams: Vec<Arc<SharedUpstream>>) -> Self {
        let inbound = Arc::new(RouteTable::new(&snapshot.inbound.routes));
        let outbound = Arc::new(RouteTable::new(&snapshot.outbound.routes));
        Self { snapshot, upstreams, inbound, outbound }
    }
}

/// A snapshot as one worker uses it.
pub(crate) struct State {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) inbound: Rc<ListenerState>,
    pub(crate) outbound: Rc<ListenerState>,
    pub(crate) pools: Vec<Rc<Pool>>,
}

/// What one direction does with connections.
pub(crate) struct ListenerState {
    pub(crate) direction: Direction,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) table: Arc<RouteTable>,
    pub(crate) routes: Vec<RouteState>,
    /// Exchanges that no route took.
    pub(crate) unrouted: StatsCell,
    pub(crate) tcp: Option<(Rc<Pool>, Arc<Upstream>)>,
}

/// A route with its pool and its counters.
pub(crate) struct RouteState {
    pub(crate) config: Arc<Route>,
    /// `None` where the request itself names the host.
    pub(crate) upstream: Option<(Rc<Pool>, Arc<Upstream>)>,
    pub(crate) stats: StatsCell,
}

impl RouteState {
    pub(crate) fn upstream_name(&self) -> &str {
        self.upstream.as_ref().map_or("host", |(_, upstream)| &upstream.name)
    }
}

impl ListenerState {
    pub(crate) fn config(&self) -> &Listener {
        match self.direction {
            Direction::Inbound => &self.snapshot.inbound,
            Direction::Outbound => &self.snapshot.outbound,
        }
    }
}

impl State {
    /// Attaches `applied` to the pools that the worker has already, and to new ones.
    pub(crate) fn new(applied: &Applied, old: Option<&Self>) -> Self {
        let known: HashMap<*const SharedUpstream, &Rc<Pool>> = old
            .map(|old| old.pools.iter().map(|pool| (Arc::as_ptr(&pool.shared), pool)).collect())
            .unwrap_or_default();
        let pools: Vec<_> = applied
            .upstreams
            .iter()
            .map(|upstream| match known.get(&Arc::as_ptr(upstream)) {
                Some(pool) => Rc::clone(pool),
                None => Rc::new(Pool::new(Arc::clone(upstream))),
            })
            .collect();
        Self {
            inbound: listener(applied, Direction::Inbound, &pools),
            outbound: listener(applied, Direction::Outbound, &pools),
            snapshot: Arc::clone(&applied.snapshot),
            pools,
        }
    }

    pub(crate) fn listener(&self, direction: Direction) -> &Rc<ListenerState> {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }
}

fn listener(applied: &Applied, direction: Direction, pools: &[Rc<Pool>]) -> Rc<ListenerState> {
    let snapshot = &applied.snapshot;
    let (config, table) = match direction {
        Direction::Inbound => (&snapshot.inbound, &applied.inbound),
        Direction::Outbound => (&snapshot.outbound, &applied.outbound),
    };
    let attach = |at: usize| {
        let pool = pools.get(at).map(Rc::clone)?;
        Some((pool, Arc::clone(snapshot.upstreams.get(at)?)))
    };
    let routes = config.routes.iter().map(|route| RouteState {
        config: Arc::clone(route),
        upstream: match route.action {
            Action::Forward(at) => attach(at),
            Action::ForwardToHost => None,
        },
        stats: StatsCell::default(),
    });
    Rc::new(ListenerState {
        direction,
        snapshot: Arc::clone(snapshot),
        table: Arc::clone(table),
        routes: routes.collect(),
        unrouted: StatsCell::default(),
        tcp: config.tcp_upstream.and_then(attach),
    })
}
