//! Names are followed: their answers change, fail, take their time, and no request notices. Each
//! test has a network of its own, with a name server that it tells what to say.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use pillion_testkit::{
    NameAnswer, NameServer, Origin, Pillion, Wire, eventually, eventually_some, in_private_network,
};
use serde_json::Value;

use crate::{get, pillion};

const TWO: &str = "127.0.0.2:8080";
const THREE: &str = "127.0.0.3:8080";
const SIX: &str = "[::1]:8080";

const LOOKUPS: &str = "pillion_dns_lookups_total";
const FAILED: &str = "pillion_dns_lookups_total{result=\"failed\"}";

fn origin(address: &str) -> Origin {
    Origin::saying_its_address(address.parse().unwrap())
}

/// Pillion in front of what this name stands for.
fn in_front_of(name: &str) -> Pillion {
    let upstreams = format!("upstreams: {{origin: {{endpoints: [\"{name}\"]}}}}\n");
    pillion().config(format!("{upstreams}inbound: {{routes: [{{upstream: origin}}]}}\n")).start()
}

/// Which origin answers the next request; it must not fail.
fn ask(wire: &mut Wire) -> String {
    let response = wire.send(get("/")).response();
    assert_eq!(response.status, 200, "{}", response.head.line);
    response.text()
}

/// Which origins answer a few requests.
fn ask_often(wire: &mut Wire) -> BTreeSet<String> {
    (0..20).map(|_| ask(wire)).collect()
}

fn these<const N: usize>(addresses: [&str; N]) -> BTreeSet<String> {
    addresses.map(str::to_owned).into()
}

/// An upstream as admin shows it.
fn upstream(pillion: &Pillion, name: &str) -> Option<Value> {
    let all: Value = serde_json::from_str(&pillion.admin.get("/upstreams").1).unwrap();
    all.as_array().unwrap().iter().find(|upstream| upstream["name"] == name).cloned()
}

/// The endpoints of an upstream as admin shows them.
fn endpoints(pillion: &Pillion, name: &str) -> BTreeSet<String> {
    let upstream = upstream(pillion, name).unwrap();
    let all = upstream["endpoints"].as_array().unwrap();
    all.iter().map(|endpoint| endpoint["address"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn requests_spread_over_all_addresses_of_a_name() {
    in_private_network(|_| {
        let names = NameServer::start();
        names.say("app.test", NameAnswer::of(["127.0.0.2", "127.0.0.3", "::1"], 60));
        let _origins = [TWO, THREE, SIX].map(origin);
        let pillion = in_front_of("app.test:8080");
        let mut wire = pillion.connect_inbound();
        assert_eq!(ask_often(&mut wire), these([TWO, THREE, SIX]));
        assert_eq!(pillion.metric(LOOKUPS), 1.0, "the answer holds");
    });
}

#[test]
fn traffic_moves_when_the_answer_changes() {
    in_private_network(|_| {
        let names = NameServer::start();
        names.say("app.test", NameAnswer::of(["127.0.0.2"], 1));
        let [old, _new] = [TWO, THREE].map(origin);
        let pillion = in_front_of("app.test:8080");
        let mut wire = pillion.connect_inbound();
        assert_eq!(ask(&mut wire), TWO);
        names.say("app.test", NameAnswer::of(["127.0.0.3"], 1));
        // Requests go on all the while, and none of them fails.
        eventually("an answer of the new address", || ask(&mut wire) == THREE);
        let told = old.requests().len();
        assert_eq!(ask_often(&mut wire), these([THREE]));
        assert_eq!(old.requests().len(), told, "the old address gets nothing new");
        assert_eq!(endpoints(&pillion, "origin"), these([THREE]));
        let answered = pillion.metric("pillion_requests_total{code=\"200\"}");
        assert_eq!(pillion.metric("pillion_requests_total"), answered);
    });
}

#[test]
fn an_address_that_leaves_an_answer_leaves_the_others_their_connections() {
    in_private_network(|_| {
        let names = NameServer::start();
        names.say("app.test", NameAnswer::of(["127.0.0.2", "127.0.0.3"], 1));
        let [two, _three] = [TWO, THREE].map(origin);
        let pillion = in_front_of("app.test:8080");
        let mut wire = pillion.connect_inbound();
        assert_eq!(ask_often(&mut wire), these([TWO, THREE]));
        names.say("app.test", NameAnswer::of(["127.0.0.2"], 1));
        eventually("one endpoint", || endpoints(&pillion, "origin") == these([TWO]));
        assert_eq!(ask_often(&mut wire), these([TWO]));
        assert_eq!(two.connections(), 1, "the connection outlives the change");
        let connections = "pillion_upstream_connections{upstream=\"origin\"}";
        pillion.wait_for_metric(connections, 1.0);
    });
}

#[test]
fn the_last_good_answer_holds_whatever_goes_wrong_after_it() {
    for trouble in [NameAnswer::NoSuchName, NameAnswer::ServerFailure, NameAnswer::Silence] {
        in_private_network(|network| {
            let names = NameServer::start();
            names.say("app.test", NameAnswer::of(["127.0.0.2"], 1));
            let _origins = [TWO, THREE].map(origin);
            let pillion = in_front_of("app.test:8080");
            let mut wire = pillion.connect_inbound();
            assert_eq!(ask(&mut wire), TWO);
            network.expect_silence();
            names.say("app.test", trouble.clone());
            eventually(("failed lookups", &trouble), || {
                assert_eq!(ask(&mut wire), TWO);
                pillion.metric(FAILED) >= 1.0
            });
            let shown = upstream(&pillion, "origin").unwrap();
            let error = shown["lookup_error"].as_str().unwrap();
            assert!(error.starts_with("look up app.test: "), "{trouble:?}: {error}");
            assert_eq!(endpoints(&pillion, "origin"), these([TWO]));
            names.say("app.test", NameAnswer::of(["127.0.0.3"], 1));
            eventually(("the new address after", &trouble), || ask(&mut wire) == THREE);
            assert_eq!(upstream(&pillion, "origin").unwrap()["lookup_error"], Value::Null);
        });
    }
}

#[test]
fn a_name_that_never_resolved_is_a_dns_failure_until_it_does() {
    for trouble in [NameAnswer::NoSuchName, NameAnswer::ServerFailure, NameAnswer::Silence] {
        in_private_network(|network| {
            network.expect_silence();
            let names = NameServer::start();
            names.say("app.test", trouble.clone());
            let _origin = origin(TWO);
            let pillion = in_front_of("app.test:8080");
            let mut wire = pillion.connect_inbound();
            let refused = wire.send(get("/")).response();
            assert_eq!((refused.status, refused.reason()), (502, Some("dns_failure")));
            assert_eq!(pillion.logged("reason", "dns_failure")["status"], 502);
            let counted = "pillion_requests_total{code=\"502\",reason=\"dns_failure\"}";
            pillion.wait_for_metric(counted, 1.0);
            // The negative answer said that it holds for an hour.
            names.say("app.test", NameAnswer::of(["127.0.0.2"], 1));
            eventually(("an answer after", &trouble), || {
                wire.send(get("/")).response().status == 200
            });
            assert_eq!(ask(&mut wire), TWO);
        });
    }
}

#[test]
fn the_first_request_waits_for_the_first_answer() {
    in_private_network(|_| {
        let names = NameServer::start();
        names.say("app.test", NameAnswer::Later);
        let _origin = origin(TWO);
        let pillion = in_front_of("app.test:8080");
        let mut wire = pillion.connect_inbound();
        wire.send(get("/"));
        pillion.wait_for_metric("pillion_upstream_requests_in_flight{upstream=\"origin\"}", 1.0);
        names.say("app.test", NameAnswer::of(["127.0.0.2"], 60));
        let response = wire.response();
        assert_eq!((response.status, response.text()), (200, TWO.to_owned()));
    });
}

#[test]
fn one_of_two_name_servers_will_do() {
    in_private_network(|network| {
        network.write_resolv_conf(
            "nameserver 127.0.0.9\nnameserver 127.0.0.1\noptions timeout:20 attempts:1\n",
        );
        let (silent, names) = (NameServer::start_at([127, 0, 0, 9].into()), NameServer::start());
        silent.say("app.test", NameAnswer::Silence);
        names.say("app.test", NameAnswer::of(["127.0.0.2"], 60));
        let _origin = origin(TWO);
        let pillion = in_front_of("app.test:8080");
        assert_eq!(ask(&mut pillion.connect_inbound()), TWO);
    });
}

#[test]
fn lookups_keep_their_distance() {
    // The waits between lookups: answers that hold for no time are believed for a second, and
    // failures are followed by half a second, and then twice that.
    let cases = [
        (NameAnswer::of(["127.0.0.2"], 0), Duration::from_secs(2)),
        (NameAnswer::NoSuchName, Duration::from_millis(1500)),
    ];
    for (answer, at_least) in cases {
        in_private_network(|_| {
            let names = NameServer::start();
            names.say("app.test", answer.clone());
            let begun = Instant::now();
            let pillion = in_front_of("app.test:8080");
            eventually(("three lookups with", &answer), || pillion.metric(LOOKUPS) >= 3.0);
            assert!(begun.elapsed() >= at_least, "{answer:?}: after {:?}", begun.elapsed());
        });
    }
}

#[test]
fn names_of_one_family_alone_are_reached() {
    for (address, expected) in [("::1", SIX), ("127.0.0.2", TWO)] {
        in_private_network(|_| {
            let names = NameServer::start();
            names.say("app.test", NameAnswer::of([address], 60));
            let _origin = origin(expected);
            let pillion = in_front_of("app.test:8080");
            assert_eq!(ask(&mut pillion.connect_inbound()), expected);
            assert_eq!(endpoints(&pillion, "origin"), these([expected]));
        });
    }
}

#[test]
fn an_address_that_the_machine_has_no_way_to_is_left_out() {
    in_private_network(|_| {
        let names = NameServer::start();
        // Nothing leads out of this network: like a machine without IPv6 before a name with both.
        names.say("app.test", NameAnswer::of(["127.0.0.2", "2001:db8::1"], 60));
        let _origin = origin(TWO);
        let pillion = in_front_of("app.test:8080");
        assert_eq!(ask_often(&mut pillion.connect_inbound()), these([TWO]));
        assert_eq!(endpoints(&pillion, "origin"), these([TWO]));
        assert_eq!(pillion.metric("pillion_retries_total"), 0.0);
    });
}

#[test]
fn an_answer_too_large_for_a_datagram_is_read_whole() {
    in_private_network(|_| {
        let names = NameServer::start();
        let addresses = (1..=60).map(|last| [127, 0, 1, last].into()).collect();
        names.say("app.test", NameAnswer::Addresses(addresses, 60));
        let pillion = in_front_of("app.test:8080");
        let found = "pillion_upstream_endpoints{upstream=\"origin\"}";
        pillion.wait_for_metric(found, 60.0);
    });
}

/// Sends a request to the host that it names, through the outbound side.
fn ask_host(pillion: &Pillion, host: &str) -> (u16, String) {
    let sent = format!("GET http://{host}/ HTTP/1.1\r\nhost: {host}\r\n\r\n");
    let response = pillion.connect_outbound().send(sent).response();
    (response.status, response.text())
}

#[test]
fn the_outbound_side_finds_hosts_in_dns_in_the_hosts_file_and_by_address() {
    in_private_network(|network| {
        let names = NameServer::start();
        names.say("app.test", NameAnswer::of(["127.0.0.2"], 60));
        network.write_hosts("127.0.0.3 billing billing.internal\n::1 six.internal\n");
        let _origins = [TWO, THREE, SIX].map(origin);
        let pillion = pillion().start();
        let cases = [
            ("app.test:8080", TWO),
            ("App.Test:8080", TWO),
            ("app.test.:8080", TWO),
            ("billing:8080", THREE),
            ("BILLING.internal:8080", THREE),
            ("six.internal:8080", SIX),
            ("127.0.0.3:8080", THREE),
            ("[::1]:8080", SIX),
            ("[0:0:0:0:0:0:0:1]:8080", SIX),
        ];
        for (host, expected) in cases {
            assert_eq!(ask_host(&pillion, host), (200, expected.to_owned()), "{host}");
        }
        let (status, _) = ask_host(&pillion, "nobody.test:8080");
        assert_eq!(status, 502);
        pillion.logged("reason", "dns_failure");
    });
}

#[test]
fn a_host_that_nobody_uses_is_looked_up_no_longer() {
    in_private_network(|_| {
        let names = NameServer::start();
        names.say("once.test", NameAnswer::of(["127.0.0.2"], 1));
        names.say("often.test", NameAnswer::of(["127.0.0.3"], 1));
        let closing = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let _once = Origin::start_at(TWO.parse().unwrap(), move |mut conn| {
            if conn.request().is_some() {
                conn.send(closing);
            }
        });
        let _often = origin(THREE);
        let pillion = pillion().start();
        assert_eq!(ask_host(&pillion, "often.test:8080").0, 200);
        assert_eq!(ask_host(&pillion, "once.test:8080").0, 200);
        eventually("a host forgotten", || upstream(&pillion, "once.test:8080").is_none());
        // The other one is kept by an idle connection, and each of its lookups takes a second.
        let two_more_lookups = || {
            let before = pillion.metric(LOOKUPS);
            eventually("two more lookups", || pillion.metric(LOOKUPS) >= before + 2.0);
        };
        // A lookup that was under way has ended by then.
        two_more_lookups();
        let asked = names.queries("once.test");
        two_more_lookups();
        assert_eq!(names.queries("once.test"), asked);
        assert_eq!(ask_host(&pillion, "once.test:8080").0, 200, "found again when it is asked for");
    });
}

#[test]
fn requests_for_a_name_that_does_not_resolve_have_it_looked_up_soon() {
    in_private_network(|_| {
        let _names = NameServer::start();
        let pillion = in_front_of("app.test:8080");
        let mut wire = pillion.connect_inbound();
        let begun = Instant::now();
        // Left alone, the tenth lookup would come after 2 minutes and more.
        eventually("ten lookups", || {
            assert_eq!(wire.send(get("/")).response().reason(), Some("dns_failure"));
            pillion.metric(FAILED) >= 10.0
        });
        assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
    });
}

#[test]
fn what_the_hosts_file_says_is_not_asked_of_a_name_server() {
    in_private_network(|network| {
        let names = NameServer::start();
        // Another address in the family that the file is silent about.
        names.say("app.test", NameAnswer::of(["::1"], 60));
        network.write_hosts("127.0.0.2 app.test\n");
        let _origins = [TWO, SIX].map(origin);
        let pillion = in_front_of("app.test:8080");
        assert_eq!(ask_often(&mut pillion.connect_inbound()), these([TWO]));
        assert_eq!(names.queries("app.test"), 0);
    });
}

#[test]
fn the_hosts_file_alone_will_do() {
    in_private_network(|network| {
        network.write_resolv_conf("");
        network.write_hosts("127.0.0.2 app.test\n");
        let _origin = origin(TWO);
        let pillion = in_front_of("app.test:8080");
        assert_eq!(ask(&mut pillion.connect_inbound()), TWO);
    });
}

#[test]
fn another_name_server_is_asked_when_the_machine_gets_one() {
    in_private_network(|network| {
        network.write_resolv_conf("");
        let _origin = origin(TWO);
        let pillion = in_front_of("app.test:8080");
        let error = eventually_some("a failed lookup", || {
            upstream(&pillion, "origin")?["lookup_error"].as_str().map(str::to_owned)
        });
        assert!(error.contains("/etc/resolv.conf"), "{error}");
        let names = NameServer::start_at([127, 0, 0, 9].into());
        names.say("app.test", NameAnswer::of(["127.0.0.2"], 60));
        network.write_resolv_conf("nameserver 127.0.0.9\n");
        eventually("the address", || endpoints(&pillion, "origin") == these([TWO]));
        assert_eq!(ask(&mut pillion.connect_inbound()), TWO);
    });
}
