//! A new state of the configuration while connections are open.

use pillion_testkit::Origin;

use crate::{get, snapshot, start, to};

#[test]
fn an_idle_connection_follows_the_new_state() {
    let (old, new) = (Origin::saying("old"), Origin::saying("new"));
    let running = start(&to(old.address(), "", ""));
    let mut wire = running.connect();
    assert_eq!(wire.send(get("/")).response().text(), "old");
    running.proxy.apply(snapshot(&to(new.address(), "", "")));
    pillion_testkit::eventually("a new connection is served by the new state", || {
        running.connect().send(get("/")).response().text() == "new"
    });
    assert_eq!(wire.send(get("/")).response().text(), "new");
}

#[test]
fn a_name_that_was_taken_out_and_put_back_is_known_at_once() {
    let origin = Origin::saying("hello");
    let port = origin.address().port();
    let named = |endpoints: &str| {
        format!(
            "upstreams: {{origin: {{endpoints: [{endpoints}]}}}}\n\
             inbound: {{routes: [{{upstream: origin}}]}}\n"
        )
    };
    let name = format!("\"localhost:{port}\"");
    let running = start(&named(&name));
    assert_eq!(running.connect().send(get("/")).response().status, 200);
    for _ in 0..3 {
        running.proxy.apply(snapshot(&named("\"127.0.0.1:1\"")));
        running.proxy.apply(snapshot(&named(&name)));
        assert_eq!(running.connect().send(get("/")).response().status, 200);
    }
}
