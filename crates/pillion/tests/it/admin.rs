//! The admin interface of a running Pillion.

use std::os::unix::fs::PermissionsExt;

use pillion_testkit::{Origin, Pillion, Signal, eventually};

use crate::{assert_promtool_takes, get, in_front_of, pillion};

fn json(pillion: &Pillion, path: &str) -> serde_json::Value {
    let (status, body) = pillion.admin.get(path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

#[test]
fn the_index_names_every_path_and_each_of_them_answers() {
    let origin = Origin::saying("hello");
    let pillion = in_front_of(origin.address());
    let (_, index) = pillion.admin.get("/");
    for path in ["/live", "/ready", "/metrics", "/config", "/upstreams", "/routes", "/logging"] {
        assert!(index.contains(path), "{path} in {index}");
        let (status, body) = pillion.admin.get(path);
        assert!(status == 200 && !body.is_empty(), "{path}: {status} {body}");
    }
    for path in ["/drain", "/reload", "/quit"] {
        assert!(index.contains(path), "{path} in {index}");
        assert_eq!(pillion.admin.get(path).0, 405, "{path} changes something: POST alone");
    }
    assert_eq!(pillion.admin.get("/nowhere").0, 404);
}

#[test]
fn envoys_paths_are_understood() {
    let origin = Origin::saying("hello");
    let mut pillion = in_front_of(origin.address());
    for path in ["/stats/prometheus", "/server_info", "/config_dump", "/clusters", "/listeners"] {
        assert_eq!(pillion.admin.get(path).0, 200, "{path}");
    }
    assert_eq!(pillion.admin.post("/healthcheck/fail").0, 200);
    eventually("it is not ready any more", || pillion.admin.get("/ready").0 == 503);
    assert_eq!(pillion.admin.post("/quitquitquit").0, 200);
    assert_eq!(pillion.wait().code(), Some(0));
}

#[test]
fn upstreams_and_routes_are_shown_as_they_are() {
    let origin = Origin::saying("hello");
    let pillion = in_front_of(origin.address());
    pillion.connect_inbound().send(get("/")).response();
    let upstreams = json(&pillion, "/upstreams").to_string();
    for text in ["origin", &origin.address().to_string()] {
        assert!(upstreams.contains(text), "{text} in {upstreams}");
    }
    let routes = json(&pillion, "/routes").to_string();
    assert!(routes.contains("route-1") && routes.contains("inbound"), "{routes}");
    let (_, config) = pillion.admin.get("/config");
    assert!(config.contains("head_bytes") && config.contains("origin"), "{config}");
}

#[test]
fn metrics_are_openmetrics_that_others_accept() {
    let origin = Origin::saying("hello");
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    wire.send(get("/")).response();
    wire.send("BROKEN\r\n\r\n").response();
    let page = pillion.admin.get("/metrics").1;
    for name in [
        "pillion_requests_total",
        "pillion_request_duration_seconds_bucket",
        "pillion_connections",
        "pillion_connections_opened_total",
        "pillion_upstream_connections",
        "pillion_tax_seconds_bucket",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
    ] {
        assert!(page.lines().any(|line| line.starts_with(name)), "{name} in {page}");
    }
    assert_promtool_takes(&pillion, &page);
}

#[test]
fn the_cost_of_pillion_itself_is_counted() {
    let origin = Origin::saying("hello");
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    for _ in 0..50 {
        wire.send(get("/")).response();
    }
    pillion.wait_for_metric("pillion_tax_seconds_count", 50.0);
    let tax = pillion.metric("pillion_tax_seconds_sum");
    let whole = pillion.metric("pillion_request_duration_seconds_sum");
    assert!(tax > 0.0 && tax <= whole, "{tax} of {whole} seconds");
    assert!(pillion.logged("path", "/")["pillion_us"].as_u64().is_some());
}

#[test]
fn the_level_of_messages_is_changed_while_it_runs() {
    let pillion = pillion().start();
    assert_eq!(pillion.admin.get("/logging").1, "level: info\n");
    assert_eq!(pillion.admin.post("/logging?level=debug").1, "level: debug\n");
    assert_eq!(pillion.admin.get("/logging").1, "level: debug\n");
    assert_eq!(pillion.admin.post("/logging?level=loud").0, 400);
}

#[test]
fn drain_takes_it_out_of_service_and_quit_ends_it() {
    let origin = Origin::saying("hello");
    let mut pillion = in_front_of(origin.address());
    assert_eq!(pillion.admin.get("/ready").0, 200);
    assert_eq!(pillion.admin.post("/drain").0 / 100, 2);
    eventually("it is not ready any more", || pillion.admin.get("/ready").0 == 503);
    assert_eq!(pillion.admin.get("/live").0, 200);
    assert_eq!(pillion.admin.post("/quit").0 / 100, 2);
    assert_eq!(pillion.wait().code(), Some(0));
}

#[test]
fn a_kept_alive_connection_is_told_to_go_elsewhere_by_a_drain() {
    let origin = Origin::saying("hello");
    let pillion = in_front_of(origin.address());
    let mut idle = pillion.connect_inbound();
    idle.send(get("/")).response();
    pillion.signal(Signal::SIGTERM);
    let (rest, _) = idle.read_to_end();
    assert_eq!(rest, b"", "an idle connection is closed, nothing is lost");
}

#[test]
fn the_admin_socket_is_for_its_owner_alone_and_goes_with_the_process() {
    let mut pillion = pillion().start();
    let socket = pillion.admin.socket().clone();
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    pillion.signal(Signal::SIGTERM);
    pillion.wait();
    assert!(!socket.exists());
}
