//! What Pillion changes in heads.

use pillion_testkit::{Head, Origin};

use crate::{get, start, to};

/// What reaches the app of a request with these fields.
fn forwarded(route: &str, global: &str, fields: &str) -> Head {
    let origin = Origin::saying("hello");
    let running = start(&format!("{global}\n{}", to(origin.address(), route, "")));
    let request = format!("GET / HTTP/1.1\r\nhost: app\r\n{fields}\r\n");
    assert_eq!(running.connect().send(request).response().status, 200);
    origin.request().0
}

#[test]
fn what_a_route_sets_replaces_what_pillion_adds() {
    let route = "request_headers: {set: {x-forwarded-proto: https, x-request-id: mine}, \
                 remove: [x-forwarded-for]}";
    let head = forwarded(route, "", "x-request-id: theirs\r\n");
    assert_eq!(head.all("x-forwarded-proto"), ["https"]);
    assert_eq!(head.all("x-request-id"), ["mine"]);
    assert_eq!(head.all("x-forwarded-for"), Vec::<&str>::new());
}

#[test]
fn what_a_route_sets_in_a_response_replaces_what_pillion_adds() {
    let origin = Origin::saying("hello");
    let route = "response_headers: {set: {x-request-id: mine}, remove: [via]}";
    let running = start(&to(origin.address(), route, ""));
    let response = running.connect().send(get("/")).response();
    assert_eq!(response.head.all("x-request-id"), ["mine"]);
    assert_eq!(response.head.all("via"), Vec::<&str>::new());
}

#[test]
fn ids_that_are_given_twice_are_replaced() {
    let trace = |digit: &str| format!("00-{}-{}-01", digit.repeat(32), digit.repeat(16));
    let fields = format!(
        "traceparent: {}\r\ntraceparent: {}\r\nx-request-id: one\r\nx-request-id: two\r\n\
         tracestate: a=b\r\n",
        trace("1"),
        trace("2")
    );
    let head = forwarded("", "trust: {trace: true}", &fields);
    let parents = head.all("traceparent");
    assert!(
        matches!(parents[..], [one] if !one.contains("1111") && !one.contains("2222")),
        "{parents:?}"
    );
    assert_eq!(head.all("tracestate"), Vec::<&str>::new());
    assert!(matches!(head.all("x-request-id")[..], [id] if id.len() == 36));
}

#[test]
fn a_body_that_breaks_a_rule_at_once_is_one_exchange() {
    let origin = Origin::saying("hello");
    let running = start(&to(origin.address(), "", ""));
    let request = "POST / HTTP/1.1\r\nhost: app\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    let response = running.connect().send(request).response();
    assert_eq!((response.status, response.reason()), (400, Some("downstream_malformed")));
    // The answer may be read before the exchange is recorded.
    let counted = pillion_testkit::eventually_some("the exchange is counted", || {
        let text = running.registry.render();
        let counted = text.lines().filter(|line| line.starts_with("pillion_requests_total{"));
        let counted: Vec<_> = counted.map(ToOwned::to_owned).collect();
        (!counted.is_empty()).then_some(counted)
    });
    assert!(
        matches!(&counted[..], [one] if one.contains("downstream_malformed") && one.ends_with(" 1")),
        "{counted:?}"
    );
}
