//! What the app is serving is known to whoever ties its log lines to requests.

use std::sync::mpsc::channel;

use pillion_runtime::board::ExchangeIds;
use pillion_testkit::{Gate, Origin, Wire, eventually};

use crate::{OK, start};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn a_request_is_noted_while_the_app_serves_it() {
    let gate = Gate::new();
    let opened = gate.clone();
    let (sender, receiver) = channel();
    let origin = Origin::start(move |mut conn| {
        let (head, _) = conn.request().unwrap();
        sender.send(head.field("traceparent").unwrap().to_owned()).unwrap();
        opened.wait();
        conn.send(OK);
    });
    let running = start("");
    running.proxy.set_app(Some(origin.address()));
    running.exchanges.follow();
    let before = running.exchanges.look();
    let mut wire = Wire::connect(running.inbound);
    wire.send(format!("GET / HTTP/1.1\r\nhost: shop\r\ntraceparent: {TRACE}\r\n\r\n"));
    let told = receiver.recv().unwrap();
    let [_, trace, span, _] = told.split('-').collect::<Vec<_>>()[..] else { panic!("{told}") };
    let ids = ExchangeIds::from_hex(
        trace.as_bytes().try_into().unwrap(),
        span.as_bytes().try_into().unwrap(),
    );
    // The ids that the app itself was told.
    assert_eq!(running.exchanges.look().only_since(&before), ids);
    gate.open();
    assert!(wire.head().line.contains("200"));
    eventually("it is no longer served", || {
        let now = running.exchanges.look();
        now.only_since(&now).is_none()
    });
}
