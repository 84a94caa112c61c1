//! Drains lose no request that was sent before they began.

use std::time::Duration;

use pillion_model::snapshot::Direction;
use pillion_testkit::{Gate, Origin, eventually};

use crate::{OK, get, start, start_with, to};

const PATIENCE: Duration = Duration::from_secs(15);

#[test]
fn what_was_sent_before_the_drain_is_answered() {
    for workers in [1, 2] {
        for round in 0..40 {
            let origin = Origin::saying("hello");
            let running = start_with(&to(origin.address(), "", ""), workers);
            let mut idle = running.connect();
            assert_eq!(idle.send(get("/")).response().status, 200);
            idle.send(get("/"));
            let mut wires = vec![idle];
            for _ in 0..3 {
                wires.push(running.connect());
                wires.last_mut().unwrap().send(get("/"));
            }
            let drained =
                running.control.block_on(running.proxy.drain(Direction::Inbound, PATIENCE));
            assert_eq!(drained.cut, 0);
            for (number, wire) in wires.iter_mut().enumerate() {
                let head = wire.try_read_head();
                let line = head.map(|head| head.line);
                assert!(
                    line.as_ref().is_ok_and(|line| line.contains("200")),
                    "{workers} workers, round {round}, wire {number}: {line:?}"
                );
            }
        }
    }
}

#[test]
fn silent_connections_do_not_hold_a_drain() {
    let origin = Origin::saying("hello");
    let running = start(&to(origin.address(), "", ""));
    let mut used = running.connect();
    assert_eq!(used.send(get("/")).response().status, 200);
    let mut fresh = running.connect();
    eventually("both are open", || running.proxy.connections(Direction::Inbound) == 2);
    let drained = running.control.block_on(running.proxy.drain(Direction::Inbound, PATIENCE));
    assert_eq!(drained.cut, 0);
    assert_eq!(used.read_to_end().0, b"");
    assert_eq!(fresh.read_to_end().0, b"");
}

#[test]
fn an_exchange_that_is_cut_off_is_counted_so() {
    let gate = Gate::new();
    let inside = gate.clone();
    let origin = Origin::start(move |mut conn| {
        if conn.request().is_some() {
            conn.send(&OK[..OK.len() - 1]);
            inside.wait();
        }
    });
    let running = start(&to(origin.address(), "", ""));
    let mut wire = running.connect();
    wire.send(get("/"));
    wire.read_exact(1);
    running.proxy.stop();
    gate.open();
    let cut = "pillion_requests_total{direction=\"inbound\",route=\"route-1\",upstream=\"origin\",\
               code=\"200\",reason=\"drain_deadline\"}";
    assert!(running.metric(cut) > 0.0, "{}", running.registry.render());
}
