//! Connections to upstreams, where they are few.

use pillion_testkit::{Gate, Origin, Wire, eventually};

use crate::{OK, get, start, start_with, to};

#[test]
fn an_idle_connection_to_one_endpoint_does_not_keep_another_from_being_used() {
    let origins = [Origin::saying("a"), Origin::saying("b")];
    let [a, b] = [&origins[0], &origins[1]].map(Origin::address);
    let running = start(&format!(
        "upstreams: {{origin: {{endpoints: [\"{a}\", \"{b}\"], balance: round_robin, \
         limits: {{connections: 1}}}}}}\n\
         inbound: {{routes: [{{upstream: origin, retry: {{retries: 0}}}}]}}\n"
    ));
    let mut wire = running.connect();
    for round in 0..4 {
        let response = wire.send(get("/")).response();
        assert_eq!(response.status, 200, "round {round}: {:?}", response.reason());
    }
}

#[test]
fn an_idle_connection_of_one_worker_does_not_keep_another_from_being_served() {
    let origin = Origin::saying("hello");
    let running =
        start_with(&to(origin.address(), "retry: {retries: 0}", "limits: {connections: 1}"), 4);
    // One after another, so that only an idle connection can be in the way.
    for round in 0..12 {
        let response = running.connect().send(get("/")).response();
        assert_eq!(response.status, 200, "round {round}: {:?}", response.reason());
    }
}

#[test]
fn nothing_is_counted_once_all_is_over() {
    let origin = Origin::start(|mut conn| {
        while let Some(head) = conn.head() {
            match head.line.split(' ').nth(1) {
                Some("/ok") => conn.send(OK),
                Some("/cut") => return conn.send(&OK[..OK.len() - 1]),
                Some("/reset") => return conn.reset(),
                _ => return,
            }
        }
    });
    let running = start(&to(origin.address(), "", ""));
    for path in ["/ok", "/cut", "/reset", "/close", "/ok", "/ok"] {
        let mut wire = running.connect();
        wire.send(get(path));
        drop(wire.try_read_head());
    }
    running.wait_for_rest();
    eventually("nothing in flight", || {
        let upstreams = running.proxy.upstreams();
        let status = upstreams.iter().find(|upstream| upstream.name == "origin").unwrap();
        let busy: u32 = status.endpoints.iter().map(|endpoint| endpoint.in_flight).sum();
        (status.requests, status.pending, busy) == (0, 0, 0) && status.connections <= 1
    });
}

#[test]
fn raw_bytes_never_go_to_a_connection_that_has_served_http() {
    let origin = Origin::start(|mut conn| {
        if conn.number == 0 {
            while conn.request().is_some() {
                conn.send(OK);
            }
            return;
        }
        let bytes = conn.try_read_exact(3).unwrap();
        conn.send(bytes);
    });
    let text = to(origin.address(), "", "limits: {connections: 1}");
    let running = start(&text.replace("inbound: {", "inbound: {tcp_upstream: origin, "));
    assert_eq!(running.connect().send(get("/")).response().status, 200);
    let mut raw = running.connect();
    raw.send(b"\x01\x02\x03");
    assert_eq!(raw.read_exact(3), b"\x01\x02\x03");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn connections_that_come_back_go_to_those_who_wait() {
    const MANY: usize = 20;
    for (workers, endpoints) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let gate = Gate::new();
        let origins: Vec<_> = (0..endpoints)
            .map(|_| {
                let gate = gate.clone();
                Origin::answering(move |_, _| {
                    gate.wait();
                    OK.into()
                })
            })
            .collect();
        let addresses: Vec<_> =
            origins.iter().map(|origin| format!("\"{}\"", origin.address())).collect();
        let running = start_with(
            &format!(
                "upstreams: {{origin: {{endpoints: [{}], limits: {{connections: 2}}}}}}\n\
                 inbound: {{routes: [{{upstream: origin, retry: {{retries: 0}}}}]}}\n",
                addresses.join(", ")
            ),
            workers,
        );
        let mut wires: Vec<Wire> = (0..MANY).map(|_| running.connect()).collect();
        for wire in &mut wires {
            wire.send(get("/"));
        }
        let pending = "pillion_upstream_requests_pending{upstream=\"origin\"}";
        eventually("all but two wait", || running.metric(pending) > MANY as f64 - 2.5);
        gate.open();
        for wire in &mut wires {
            let response = wire.response();
            assert_eq!(
                response.status,
                200,
                "{workers} workers, {endpoints} endpoints: {:?}",
                response.reason()
            );
        }
        assert!(running.metric(pending) < 0.5);
    }
}
