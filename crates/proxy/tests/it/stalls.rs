//! Peers that do not take what they are sent, and who is blamed for it.

use std::io::Write;
use std::time::{Duration, Instant};

use pillion_testkit::{ClosedPort, Gate, Origin, Wire};

use crate::{get, start, to};

#[test]
fn an_endpoint_that_does_not_read_a_body_is_the_one_to_blame() {
    let gate = Gate::new();
    let inside = gate.clone();
    let origin = Origin::start(move |mut conn| {
        if conn.head().is_some() {
            inside.wait();
        }
    });
    let running = start(&to(origin.address(), "stream_idle_timeout: 1s", ""));
    let mut wire = running.connect();
    wire.send("POST / HTTP/1.1\r\nhost: app\r\ncontent-length: 1000000000\r\n\r\n");
    let mut body = wire.socket().try_clone().unwrap();
    // Ends with an error once the connection is closed.
    let sending = std::thread::spawn(move || {
        let piece = vec![0; 1 << 20];
        while body.write_all(&piece).is_ok() {}
    });
    let response = wire.response();
    assert_eq!((response.status, response.reason()), (504, Some("upstream_timeout")));
    drop(wire);
    sending.join().unwrap();
    gate.open();
}

#[test]
fn a_client_that_stops_inside_its_body_is_the_one_to_blame() {
    for protocol in ["protocol: http1", "protocol: http2"] {
        let origin = Origin::start(|mut conn| conn.wait_for_end());
        let running = start(&to(origin.address(), "stream_idle_timeout: 1s", protocol));
        let mut wire = running.connect();
        wire.send("POST / HTTP/1.1\r\nhost: app\r\ncontent-length: 10\r\n\r\nhalf");
        let response = wire.response();
        assert_eq!((response.status, response.reason()), (408, Some("downstream_body_timeout")));
    }
}

#[test]
fn those_who_wait_for_the_same_http_2_connection_wait_no_longer_than_one_does() {
    const MANY: u32 = 10;
    let port = ClosedPort::new();
    port.listen(0);
    // The backlog of 0 holds one connection; the next one waits for its SYN to be answered.
    let filler = Wire::connect(port.address());
    let upstream = "protocol: http2, connect_timeout: 1s";
    let running = start(&to(port.address(), "retry: {retries: 0}", upstream));
    let began = Instant::now();
    let mut wires: Vec<_> = (0..MANY).map(|_| running.connect()).collect();
    for wire in &mut wires {
        wire.send(get("/"));
    }
    for wire in &mut wires {
        assert_eq!(wire.response().reason(), Some("upstream_connect_timeout"));
    }
    let patience = Duration::from_secs(1) * MANY / 2;
    assert!(began.elapsed() < patience, "{:?}: one after another", began.elapsed());
    drop(filler);
}
