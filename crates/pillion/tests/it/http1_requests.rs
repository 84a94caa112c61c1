//! HTTP/1 requests and responses, relayed as they should be.

use pillion_testkit::{End, Gate, Head, Origin};

use crate::{get, in_front_of, inbound_to, pillion, post};

#[test]
fn a_request_reaches_the_app_with_its_spelling_and_its_order() {
    let origin = Origin::echo();
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    let sent = "PUT /a%20b/../c?q=1&&x HTTP/1.1\r\nHOST: App.example:81\r\nX-CaSe: a  b\r\n\
                x-second: 2\r\nX-CaSe: c\r\nContent-Length: 3\r\n\r\nabc";
    let response = wire.send(sent).response();
    assert_eq!(response.status, 200);
    let (seen, body) = origin.request();
    assert_eq!(seen.line, "PUT /a%20b/../c?q=1&&x HTTP/1.1");
    let expected = [
        ("HOST", "App.example:81"),
        ("X-CaSe", "a  b"),
        ("x-second", "2"),
        ("X-CaSe", "c"),
        ("Content-Length", "3"),
    ];
    let as_sent: Vec<_> =
        seen.fields.iter().take(5).map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(as_sent, expected);
    assert_eq!(body.data, b"abc");
    let mut added: Vec<_> = seen.fields.iter().skip(5).map(|(name, _)| name.as_str()).collect();
    added.sort_unstable();
    let ours = ["traceparent", "via", "x-forwarded-for", "x-forwarded-proto", "x-request-id"];
    assert_eq!(added, ours);
}

#[test]
fn a_response_reaches_the_client_with_its_spelling_and_its_order() {
    let origin = Origin::once(
        "HTTP/1.1 299 Quite Fine\r\nX-FIRST: 1\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n\
         Content-LENGTH: 2\r\n\r\nhi",
    );
    let pillion = in_front_of(origin.address());
    let response = pillion.connect_inbound().send(get("/")).response();
    assert_eq!(response.head.line, "HTTP/1.1 299 Quite Fine");
    let as_sent: Vec<_> =
        response.head.fields.iter().take(4).map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let expected =
        [("X-FIRST", "1"), ("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("Content-LENGTH", "2")];
    assert_eq!(as_sent, expected);
    assert_eq!(response.text(), "hi");
    assert_eq!(response.header("proxy-status"), None, "it is not Pillion's own");
}

#[test]
fn the_hop_is_named_and_its_own_fields_end_here() {
    let origin = Origin::answering(|_, _| {
        b"HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\n\
          content-length: 0\r\n\r\n"
            .to_vec()
    });
    let pillion = in_front_of(origin.address());
    let response = pillion
        .connect_inbound()
        .send(
            "GET / HTTP/1.1\r\nhost: app\r\nconnection: keep-alive, x-mine\r\nx-mine: 1\r\n\
             keep-alive: 5\r\nproxy-connection: keep-alive\r\nte: gzip\r\nx-kept: 1\r\n\r\n",
        )
        .response();
    let (seen, _) = origin.request();
    for hop in ["connection", "x-mine", "keep-alive", "proxy-connection", "te"] {
        assert_eq!(seen.field(hop), None, "{hop} upstream");
    }
    assert_eq!(seen.field("x-kept"), Some("1"));
    for hop in ["connection", "x-hop", "keep-alive"] {
        assert_eq!(response.header(hop), None, "{hop} downstream");
    }
    assert!(seen.field("via").is_some_and(|via| via.starts_with("1.1 ")), "{seen:?}");
    // A gateway need not say to clients that it was there; a proxy has to.
    assert_eq!(response.header("via"), None);
    let request = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", origin.address());
    let response = pillion.connect_outbound().send(request).response();
    assert!(response.header("via").is_some_and(|via| via.starts_with("1.1 ")), "{response:?}");
}

#[test]
fn ids_of_a_trusted_client_are_continued() {
    let origin = Origin::echo();
    let pillion = in_front_of(origin.address());
    let response = pillion
        .connect_inbound()
        .send(
            "GET / HTTP/1.1\r\nhost: app\r\nx-request-id: mine-1\r\ntracestate: a=1\r\n\
             traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
        )
        .response();
    let (seen, _) = origin.request();
    assert_eq!(seen.all("x-request-id"), ["mine-1"]);
    assert_eq!(seen.all("tracestate"), ["a=1"]);
    let [trace] = seen.all("traceparent")[..] else { panic!("one traceparent: {seen:?}") };
    assert!(trace.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{trace}");
    assert!(!trace.contains("b7ad6b7169203331"), "the hop is a span of its own: {trace}");
    assert_eq!(response.header("x-request-id"), Some("mine-1"));
    let line = pillion.logged("request_id", "mine-1");
    assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
}

#[test]
fn ids_and_origins_of_a_stranger_are_replaced() {
    let origin = Origin::echo();
    let config = format!("{}trust: {{trace: false}}\n", inbound_to(origin.address()));
    let pillion = pillion().config(config).start();
    pillion
        .connect_inbound()
        .send(
            "GET / HTTP/1.1\r\nhost: app\r\nx-request-id: forged\r\ntracestate: a=1\r\n\
             traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
             x-forwarded-for: 8.8.8.8\r\nx-forwarded-proto: https\r\nforwarded: for=8.8.8.8\r\n\r\n",
        )
        .response();
    let (seen, _) = origin.request();
    let text = String::from_utf8_lossy(&seen.raw).into_owned();
    for forged in ["forged", "0af7651916cd43dd8448eb211c80319c", "8.8.8.8", "https", "tracestate"] {
        assert!(!text.contains(forged), "{forged} in {text}");
    }
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.field("x-request-id").map(str::len), Some(36));
}

#[test]
fn a_believed_hop_keeps_its_place_in_the_chain() {
    let origin = Origin::echo();
    let config = format!("{}trust: {{hops: 1}}\n", inbound_to(origin.address()));
    let pillion = pillion().config(config).start();
    pillion
        .connect_inbound()
        .send("GET / HTTP/1.1\r\nhost: app\r\nx-forwarded-for: 1.1.1.1, 2.2.2.2\r\n\r\n")
        .response();
    assert_eq!(origin.request().0.all("x-forwarded-for"), ["2.2.2.2, 127.0.0.1"]);
}

#[test]
fn chunks_and_trailers_pass_both_ways() {
    let origin = Origin::answering(|_, _| {
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: X-Sum\r\n\r\n\
          3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n"
            .to_vec()
    });
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    for _ in 0..2 {
        let response = wire
            .send(
                "POST / HTTP/1.1\r\nhost: app\r\ntransfer-encoding: chunked\r\nte: trailers\r\n\r\n\
                 4\r\nwxyz\r\n0\r\nX-Check: ok\r\n\r\n",
            )
            .response();
        assert_eq!(response.text(), "abcde");
        assert_eq!(response.body.trailers, [("X-Sum".to_owned(), "5".to_owned())]);
    }
    for (head, body) in origin.requests() {
        assert_eq!(head.field("te"), Some("trailers"));
        assert_eq!(body.data, b"wxyz");
        assert_eq!(body.trailers, [("X-Check".to_owned(), "ok".to_owned())]);
    }
}

#[test]
fn a_chunk_is_passed_on_before_the_next_one_comes() {
    let gate = Gate::new();
    let served = gate.clone();
    let origin = Origin::start(move |mut conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
        served.wait();
        conn.send("0\r\n\r\n");
    });
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    wire.send(get("/")).head();
    assert_eq!(wire.read_exact(8), b"3\r\nabc\r\n");
    gate.open();
    assert_eq!(wire.read_exact(5), b"0\r\n\r\n");
}

#[test]
fn a_client_of_http_1_0_gets_what_it_understands() {
    let origin = Origin::answering(|_, _| {
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
            .to_vec()
    });
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    let head = wire.send("GET / HTTP/1.0\r\n\r\n").head();
    assert_eq!(head.field("transfer-encoding"), None);
    assert_eq!(wire.read_to_end(), (b"abcde".to_vec(), End::Closed));
    assert!(origin.request().0.line.ends_with(" HTTP/1.1"));
    pillion.logged("protocol", "HTTP/1.0");
}

#[test]
fn a_client_of_http_1_0_may_keep_its_connection() {
    let origin = Origin::saying("hello");
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    for _ in 0..3 {
        let sent = "GET / HTTP/1.0\r\nhost: app\r\nconnection: keep-alive\r\n\r\n";
        let response = wire.send(sent).response();
        assert_eq!(response.text(), "hello");
        assert_eq!(response.header("connection"), Some("keep-alive"));
    }
}

#[test]
fn an_app_of_http_1_0_ends_its_response_with_the_connection() {
    let origin = Origin::once("HTTP/1.0 200 OK\r\nserver: old\r\n\r\nto the end");
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    for _ in 0..2 {
        // A client of HTTP/1.1 can be told where it ends, and keeps its connection.
        assert_eq!(wire.send(get("/")).response().text(), "to the end");
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let origin = Origin::answering(|head, body| {
        let text = format!("{} {}", head.line, body.data.len());
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()).into_bytes()
    });
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    wire.send([get("/1"), post("/2", "four"), get("/3")].concat());
    for expected in ["GET /1 HTTP/1.1 0", "POST /2 HTTP/1.1 4", "GET /3 HTTP/1.1 0"] {
        assert_eq!(wire.response().text(), expected);
    }
}

#[test]
fn responses_without_a_body_leave_the_connection_usable() {
    let cases = [
        ("HEAD", "200 OK", "content-length: 1000\r\n", Some("1000")),
        ("HEAD", "200 OK", "transfer-encoding: chunked\r\n", None),
        ("GET", "204 No Content", "", None),
        ("GET", "304 Not Modified", "content-length: 77\r\n", Some("77")),
        ("GET", "200 OK", "content-length: 0\r\n", Some("0")),
    ];
    for (method, status, field, length) in cases {
        let answer = format!("HTTP/1.1 {status}\r\n{field}\r\n");
        let origin = Origin::answering(move |_, _| answer.clone().into_bytes());
        let pillion = in_front_of(origin.address());
        let mut wire = pillion.connect_inbound();
        for _ in 0..2 {
            wire.send(format!("{method} / HTTP/1.1\r\nhost: app\r\n\r\n"));
            let response = wire.response_to(method);
            assert_eq!(response.head.line, format!("HTTP/1.1 {status}"));
            assert_eq!(response.header("content-length"), length, "{method} {status}");
        }
        assert_eq!(origin.connections(), 1, "{method} {status}: the app's connection is kept");
    }
}

#[test]
fn a_body_is_sent_once_the_app_says_100_continue() {
    let origin = Origin::start(|mut conn| {
        let head = conn.head().unwrap();
        assert_eq!(head.field("expect"), Some("100-continue"));
        conn.send("HTTP/1.1 100 Continue\r\n\r\n");
        let body = conn.try_read_exact(5).unwrap();
        let text = String::from_utf8(body).unwrap();
        conn.send(format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{text}"));
    });
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    wire.send("POST / HTTP/1.1\r\nhost: app\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(wire.head().line, "HTTP/1.1 100 Continue");
    assert_eq!(wire.send("abcde").response().text(), "abcde");
}

#[test]
fn other_interim_responses_pass() {
    let origin = Origin::once(
        "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let pillion = in_front_of(origin.address());
    let response = pillion.connect_inbound().send(get("/")).response();
    let hints: Vec<_> = response.interim.iter().map(|head| head.field("link")).collect();
    assert_eq!((hints, response.status), (vec![Some("</a.css>")], 200));
}

#[test]
fn an_answer_that_comes_before_the_body_was_sent_is_passed_on() {
    let origin = Origin::start(|mut conn| {
        conn.head();
        conn.send(
            "HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig",
        );
        conn.wait_for_end();
    });
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    wire.send("POST / HTTP/1.1\r\nhost: app\r\ncontent-length: 1000000\r\n\r\nbegun");
    let response = wire.response();
    assert_eq!((response.status, response.text().as_str()), (413, "big"));
    wire.half_close();
    wire.read_to_end();
}

#[test]
fn a_client_that_sends_on_after_an_early_answer_can_still_read_it() {
    let origin = Origin::start(|mut conn| {
        conn.head();
        conn.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
        conn.wait_for_end();
    });
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    wire.send("POST / HTTP/1.1\r\nhost: app\r\ncontent-length: 1000000\r\n\r\n");
    for _ in 0..100 {
        // It is not told at once, but it is not reset under its own answer either.
        wire.send([b'x'; 10_000]);
    }
    assert_eq!(wire.response().status, 403);
}

#[test]
fn an_app_that_declines_a_body_is_heard_before_it_is_sent() {
    let origin = Origin::start(|mut conn| {
        conn.head();
        conn.send("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno");
        conn.wait_for_end();
    });
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    wire.send("PUT / HTTP/1.1\r\nhost: app\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    let response = wire.response();
    assert_eq!((response.status, response.interim.len()), (401, 0));
}

#[test]
fn every_form_of_target_reaches_the_app_in_its_own_form() {
    let origin = Origin::echo();
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    let cases = [
        ("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", "OPTIONS * HTTP/1.1", "a"),
        ("OPTIONS http://b HTTP/1.1\r\nhost: a\r\n\r\n", "OPTIONS * HTTP/1.1", "b"),
        ("GET http://b/c?d HTTP/1.1\r\nhost: a\r\n\r\n", "GET /c?d HTTP/1.1", "b"),
        ("GET http://b HTTP/1.1\r\nhost: a\r\n\r\n", "GET / HTTP/1.1", "b"),
        ("GET /?q HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n", "GET /?q HTTP/1.1", "a"),
    ];
    for (sent, line, host) in cases {
        assert_eq!(wire.send(sent).response().status, 200, "{sent}");
        let (seen, _) = origin.requests().pop().unwrap();
        assert_eq!((seen.line.as_str(), seen.all("host")), (line, vec![host]), "{sent}");
    }
}

#[test]
fn one_empty_line_before_a_request_is_forgiven() {
    let origin = Origin::saying("hello");
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    wire.send(get("/"));
    wire.response();
    assert_eq!(wire.send(format!("\r\n{}", get("/"))).response().status, 200);
}

#[test]
fn a_request_that_comes_byte_by_byte_is_the_same_request() {
    let origin = Origin::echo();
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    for byte in post("/slow", "body").into_bytes() {
        wire.send([byte]);
    }
    assert_eq!(wire.response().status, 200);
    let (head, body) = origin.request();
    assert_eq!((head.line.as_str(), &body.data[..]), ("POST /slow HTTP/1.1", &b"body"[..]));
}

#[test]
fn headers_are_changed_as_the_route_says() {
    let origin = Origin::answering(|_, _| {
        b"HTTP/1.1 200 OK\r\nserver: app\r\nx-old: 1\r\ncontent-length: 0\r\n\r\n".to_vec()
    });
    let config = format!(
        "upstreams: {{origin: {{endpoints: [\"{}\"]}}}}\n\
         inbound:\n  routes:\n  - upstream: origin\n    request_headers:\n      \
         remove: [x-drop]\n      set: {{host: inner.example, x-set: new}}\n      add: {{x-add: two}}\n    \
         response_headers:\n      remove: [server]\n      set: {{x-old: \"2\"}}\n",
        origin.address()
    );
    let pillion = pillion().config(config).start();
    let response = pillion
        .connect_inbound()
        .send("GET / HTTP/1.1\r\nhost: app\r\nX-Drop: 1\r\nX-Set: old\r\nx-add: one\r\n\r\n")
        .response();
    let (seen, _) = origin.request();
    let values = |head: &Head, name: &str| -> Vec<String> {
        head.all(name).into_iter().map(str::to_owned).collect()
    };
    assert_eq!(values(&seen, "x-drop"), [""; 0]);
    assert_eq!(values(&seen, "host"), ["inner.example"]);
    assert_eq!(values(&seen, "x-set"), ["new"]);
    assert_eq!(values(&seen, "x-add"), ["one", "two"]);
    assert_eq!(values(&response.head, "server"), [""; 0]);
    assert_eq!(values(&response.head, "x-old"), ["2"]);
}

#[test]
fn the_first_route_that_matches_decides() {
    let (a, b, c) = (Origin::saying("a"), Origin::saying("b"), Origin::saying("c"));
    let config = format!(
        "upstreams:\n  a: {{endpoints: [\"{}\"]}}\n  b: {{endpoints: [\"{}\"]}}\n  c: {{endpoints: [\"{}\"]}}\n\
         inbound:\n  routes:\n  \
         - {{name: host, match: {{host: \"*.example.com\"}}, upstream: a}}\n  \
         - {{name: path, match: {{path_prefix: /b}}, upstream: b}}\n  \
         - {{name: method, match: {{method: DELETE}}, upstream: c}}\n  \
         - {{name: header, match: {{headers: {{x-to: c}}}}, upstream: c}}\n",
        a.address(),
        b.address(),
        c.address()
    );
    let pillion = pillion().config(config).start();
    let cases = [
        ("GET / HTTP/1.1\r\nhost: x.Example.com:80\r\n\r\n", 200, "a", "host"),
        ("GET /b?x HTTP/1.1\r\nhost: x\r\n\r\n", 200, "b", "path"),
        ("GET /b/c HTTP/1.1\r\nhost: x\r\n\r\n", 200, "b", "path"),
        ("DELETE /bc HTTP/1.1\r\nhost: x\r\n\r\n", 200, "c", "method"),
        ("GET /bc HTTP/1.1\r\nhost: example.com\r\nX-To: c\r\n\r\n", 200, "c", "header"),
    ];
    let mut wire = pillion.connect_inbound();
    for (request, status, text, route) in cases {
        let response = wire.send(request).response();
        assert_eq!((response.status, response.text().as_str()), (status, text), "{request}");
        pillion.logged("route", route);
    }
    let response = wire.send(get("/nowhere")).response();
    assert_eq!((response.status, response.reason()), (404, Some("no_route")));
    assert_eq!(wire.send(get("/b")).response().text(), "b", "the connection is still good");
}

#[test]
fn the_outbound_side_goes_to_the_host_that_the_request_names() {
    let origin = Origin::echo();
    let pillion = pillion().start();
    let address = origin.address();
    for (target, host) in [
        (format!("http://{address}/a?b"), "ignored.example"),
        ("/a?b".to_owned(), address.to_string().as_str()),
    ] {
        let sent = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let response = pillion.connect_outbound().send(sent).response();
        assert_eq!(response.status, 200, "{target}");
        let (seen, _) = origin.requests().pop().unwrap();
        assert_eq!(seen.line, "GET /a?b HTTP/1.1");
        assert_eq!(seen.all("host"), [address.to_string()]);
        assert_eq!(seen.field("x-forwarded-for"), None, "the app's address is nobody's business");
    }
    pillion.logged("direction", "outbound");
}

#[test]
fn an_exchange_is_logged_and_counted_with_its_facts() {
    let origin = Origin::saying("hello");
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    let sent = "POST /p?q=1 HTTP/1.1\r\nhost: app.example\r\nuser-agent: \"t\\\"\r\n\
                content-length: 4\r\n\r\nbody";
    wire.send(sent).response();
    let line = pillion.logged("path", "/p?q=1");
    let expected = [
        ("direction", "inbound".into()),
        ("method", "POST".into()),
        ("authority", "app.example".into()),
        ("protocol", "HTTP/1.1".into()),
        ("status", 200.into()),
        ("reason", serde_json::Value::Null),
        ("route", "route-1".into()),
        ("upstream", "origin".into()),
        ("endpoint", origin.address().to_string().into()),
        ("downstream", wire.local().to_string().into()),
        ("request_bytes", 4.into()),
        ("response_bytes", 5.into()),
        ("attempts", 1.into()),
        ("user_agent", "\"t\\\"".into()),
    ];
    for (field, value) in expected {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    pillion
        .wait_for_metric("pillion_requests_total{direction=\"inbound\",upstream=\"origin\"}", 1.0);
    pillion.wait_for_metric("pillion_connections{direction=\"inbound\"}", 1.0);
    drop(wire);
    pillion.wait_for_metric("pillion_connections{direction=\"inbound\"}", 0.0);
}
