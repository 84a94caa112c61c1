//! What the sidecar is made of at this moment: configuration, routes, upstreams, listeners.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use pillion_model::config::explain;
use pillion_model::snapshot::Direction;
use pillion_proxy::UpstreamStatus;
use pillion_runtime::admin::{Request, Response, Routes};
use pillion_runtime::lifecycle::Phase;
use serde_json::{Value, json};

use super::View;
use crate::run::ConfigView;

/// A page of JSON, made anew for each request.
type Page = fn(&View) -> Value;

/// Path, line on the index page, page. Envoy's names are there for the tools that know them.
const PAGES: [(&str, &str, Page); 9] = [
    ("/logs", "where each source and sink of the logs role stands", logs),
    ("/upstreams", "upstreams and their endpoints with live state", upstreams),
    ("/clusters", "the same as /upstreams", upstreams),
    ("/routes", "the routes in force, in order", routes),
    ("/listeners", "where the sidecar listens", listeners),
    ("/connections", "open connections of clients", connections),
    ("/secrets", "secrets, sets and session of the secrets role, without values", secrets),
    ("/server_info", "version, phase, time since the start", server_info),
    ("/config_dump", "the configuration in force as JSON", config_dump),
];

pub(super) fn add(mut routes: Routes, view: &Arc<View>) -> Routes {
    for (path, help, page) in PAGES {
        let view = Arc::clone(view);
        routes = routes.get(path, help, move |_| {
            let page = page(&view);
            async move { Response::json(format!("{page:#}\n")) }
        });
    }
    let config = view.config.clone();
    let help = "the configuration in force with all defaults, and what came of the last reload";
    routes.get("/config", help, move |request| {
        let view = config.borrow().clone();
        async move { config_page(&request, &view) }
    })
}

fn logs(view: &View) -> Value {
    serde_json::to_value(view.sidecar.logs.current()).unwrap_or_default()
}

fn upstreams(view: &View) -> Value {
    view.sidecar.proxy.upstreams().iter().map(upstream).collect()
}

fn upstream(status: &UpstreamStatus) -> Value {
    let endpoints: Vec<Value> = status
        .endpoints
        .iter()
        .map(|endpoint| {
            json!({
                "address": endpoint.address,
                "in_flight": endpoint.in_flight,
                "exchanges": endpoint.exchanges,
                "failures": endpoint.failures,
            })
        })
        .collect();
    json!({
        "name": status.name,
        "requests": status.requests,
        "connections": status.connections,
        "pending": status.pending,
        "lookup_error": status.lookup_error,
        "endpoints": endpoints,
    })
}

fn routes(view: &View) -> Value {
    let effective = view.config.borrow().loaded.effective();
    json!({"inbound": effective.inbound.routes, "outbound": effective.outbound.routes})
}

fn listeners(view: &View) -> Value {
    let addresses = &view.sidecar.addresses;
    let listeners = [
        ("inbound", &addresses.inbound),
        ("outbound", &addresses.outbound),
        ("admin", &addresses.admin),
    ];
    let there = listeners.into_iter().filter_map(|(name, address)| {
        Some(json!({"name": name, "address": address.as_ref()?.to_string()}))
    });
    there.collect()
}

fn connections(view: &View) -> Value {
    let count = |direction| view.sidecar.proxy.connections(direction);
    json!({"inbound": count(Direction::Inbound), "outbound": count(Direction::Outbound)})
}

fn secrets(view: &View) -> Value {
    view.secrets.page(SystemTime::now())
}

fn server_info(view: &View) -> Value {
    let phase = view.sidecar.lifecycle.phase();
    // The words that Envoy's tools look for.
    let state = match phase {
        Phase::Starting => "INITIALIZING",
        Phase::Ready => "LIVE",
        Phase::Draining | Phase::Stopped => "DRAINING",
    };
    let app = view.app.borrow();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "state": state,
        "phase": phase.name(),
        "pid": std::process::id(),
        "uptime_seconds": view.sidecar.started.elapsed().as_secs(),
        "uptime_current_epoch": format!("{}s", view.sidecar.started.elapsed().as_secs()),
        "app": {
            "pid": app.pid,
            "address": app.place.as_ref().map(|place| place.address.to_string()),
        },
    })
}

fn config_dump(view: &View) -> Value {
    let config = view.config.borrow();
    json!({
        "file": config.file,
        "applied_at": unix_seconds(config.applied_at),
        "wait_for_restart": config.restart,
        "last_reload": config.last.as_ref().map(|(reloaded, at)| {
            json!({"result": reloaded.to_string(), "at": unix_seconds(*at)})
        }),
        "config": config.loaded.effective(),
    })
}

/// YAML that can be read again; what is said about it stands in comments.
fn config_page(request: &Request, view: &ConfigView) -> Response {
    if request.header("accept").is_some_and(|accept| accept.contains("application/json")) {
        return Response::json(format!("{:#}\n", json!(view.loaded.effective())));
    }
    let file = view.file.as_deref().unwrap_or("the command line and defaults alone");
    let mut page = format!("from: {file}\n");
    if !view.restart.is_empty() {
        page.push_str(&format!("waits for a restart: {}\n", view.restart.join(", ")));
    }
    if let Some((reloaded, at)) = &view.last {
        page.push_str(&format!("last reload, {} s ago: {reloaded}\n", seconds_since(*at)));
    }
    let comments: String = page.lines().map(|line| format!("# {line}\n")).collect();
    Response {
        content_type: "text/yaml; charset=utf-8",
        ..Response::text(http::StatusCode::OK, comments + "\n" + &explain(&view.loaded))
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn seconds_since(time: SystemTime) -> u64 {
    time.elapsed().unwrap_or_default().as_secs()
}
