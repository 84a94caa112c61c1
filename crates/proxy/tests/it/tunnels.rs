//! Tunnels: what was sent before an end arrives, and what they cost is not Pillion's own time.

use std::time::{Duration, Instant};

use pillion_testkit::{Origin, Wire, eventually};

use crate::start;

fn raw(origin: &Origin) -> String {
    let address = origin.address();
    format!(
        "upstreams: {{raw: {{endpoints: [\"{address}\"]}}}}\n\
         inbound: {{protocol: tcp, tcp_upstream: raw}}\n"
    )
}

#[test]
fn the_last_words_of_an_endpoint_that_does_not_listen_any_more_arrive() {
    // Few enough to be at the proxy before the reset, which would overtake more.
    const WORDS: usize = 16 << 10;
    for round in 0..20 {
        let origin = Origin::start(|mut conn| {
            conn.try_read_exact(1).unwrap();
            conn.send(vec![b'w'; WORDS]);
            // Closed with bytes unread: a reset follows the last words.
        });
        let running = start(&raw(&origin));
        let mut wire = running.connect();
        wire.send(vec![b'x'; 4096]);
        let mut received = wire.read_exact(1).len();
        // Written towards an endpoint that has reset the connection.
        drop(wire.try_send("more"));
        let mut buffer = [0; 16 << 10];
        while let Ok(count @ 1..) = wire.try_read(&mut buffer) {
            received += count;
        }
        assert_eq!(received, WORDS, "round {round}");
    }
}

#[test]
fn the_life_of_a_tunnel_is_not_pillions_own_time() {
    let origin = Origin::start(|mut conn| {
        while let Ok(bytes) = conn.try_read_exact(1) {
            conn.send(bytes);
        }
    });
    let running = start("inbound: {routes: [{upstream: app}]}\n");
    let mut wire = Wire::connect(running.outbound);
    let address = origin.address();
    let asked = Instant::now();
    wire.send(format!("CONNECT {address} HTTP/1.1\r\nhost: {address}\r\n\r\n"));
    assert!(wire.head().line.contains("200"));
    // All that can be Pillion's own; the tunnel lives longer, however slow this machine is.
    let opening = asked.elapsed();
    let began = Instant::now();
    eventually("a while", || began.elapsed() > opening + Duration::from_millis(100));
    wire.send("x");
    assert_eq!(wire.read_exact(1), b"x");
    drop(wire);
    drop(origin);
    let series = "pillion_tax_seconds_count{direction=\"outbound\"}";
    eventually("the exchange is counted", || running.metric(series) > 0.0);
    let sum = running.metric("pillion_tax_seconds_sum{direction=\"outbound\"}");
    assert!(sum <= opening.as_secs_f64(), "{sum} s of {opening:?}");
}
