//! HTTP/2 with prior knowledge: with real clients, to HTTP/1 and HTTP/2 apps, and gRPC.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use pillion_testkit::{
    ClosedPort, Gate, Origin, Peer, Pillion, Signal, eventually, peak_memory_kib, python, tool,
};

use crate::{get, in_front_of, inbound_to, peer, pillion};

/// Runs curl over HTTP/2 and returns what it wrote.
fn curl(arguments: &[&str]) -> String {
    let mut command = Command::new(tool("curl"));
    command.args(["--http2-prior-knowledge", "--silent", "--show-error", "--max-time", "15"]);
    run(command.args(arguments))
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}\n{stderr}", output.status);
    text
}

/// Pillion before an app that is known to speak HTTP/1.1.
fn before_http1(endpoint: SocketAddr) -> Pillion {
    let config = inbound_to(endpoint).replace("endpoints:", "protocol: http1, endpoints:");
    pillion().config(config).start()
}

fn url(pillion: &Pillion, path: &str) -> String {
    format!("http://{}{path}", pillion.inbound())
}

/// nginx that speaks HTTP/2 in the clear; its state goes into this folder.
fn nginx(folder: &Path) -> (Peer, SocketAddr) {
    let free = ClosedPort::new().address();
    let config = format!(
        "daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log stderr;\n\
         events {{}}\nhttp {{\n access_log off;\n client_body_temp_path {folder}/a;\n \
         proxy_temp_path {folder}/b;\n fastcgi_temp_path {folder}/c;\n uwsgi_temp_path {folder}/d;\n \
         scgi_temp_path {folder}/e;\n server {{\n  listen {free} http2;\n  location / {{\n   \
         return 200 \"$server_protocol $request_method $http_x_test\";\n  }}\n }}\n}}\n",
        folder = folder.display()
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let arguments = [Path::new("-p"), folder, Path::new("-c"), &file];
    let peer = Peer::start(&tool("nginx"), arguments);
    eventually("nginx listens", || std::net::TcpStream::connect(free).is_ok());
    (peer, free)
}

#[test]
fn a_client_of_http_2_reaches_an_app_of_http_1() {
    let origin = Origin::echo();
    let pillion = in_front_of(origin.address());
    let sent = curl(&[
        "--data-binary",
        "body",
        "--header",
        "X-Test: 1",
        "--header",
        "cookie: a=1; b=2",
        "--write-out",
        " %{http_version} %{http_code}",
        &url(&pillion, "/p?q=1"),
    ]);
    assert!(sent.ends_with(" 2 200"), "{sent}");
    // The app was asked first whether it speaks HTTP/2.
    let (head, body) = origin.requests().pop().unwrap();
    assert_eq!(head.line, "POST /p?q=1 HTTP/1.1");
    assert_eq!(head.field("host"), Some(pillion.inbound().to_string().as_str()));
    assert_eq!((head.field("x-test"), body.data.as_slice()), (Some("1"), &b"body"[..]));
    assert_eq!(head.all("cookie"), ["a=1; b=2"]);
    assert_eq!(pillion.logged("protocol", "HTTP/2")["status"], 200);
}

#[test]
fn an_app_that_does_not_understand_http_2_at_all_is_spoken_to_in_http_1() {
    for deaf in [Deaf::Silent, Deaf::Closes] {
        let origin = Origin::start(move |mut conn| {
            while let Some((head, _)) = conn.request() {
                match (head.line.starts_with("PRI "), deaf) {
                    (true, Deaf::Silent) => return conn.wait_for_end(),
                    (true, Deaf::Closes) => return,
                    (false, _) => conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
                }
            }
        });
        let pillion = in_front_of(origin.address());
        for _ in 0..3 {
            assert_eq!(curl(&[&url(&pillion, "/")]), "ok", "{deaf:?}");
        }
        let asked =
            origin.requests().iter().filter(|(head, _)| head.line.starts_with("PRI ")).count();
        assert_eq!(asked, 1, "{deaf:?}: it is asked once");
    }
}

/// What an app of HTTP/1 does with the greeting of HTTP/2.
#[derive(Clone, Copy, Debug)]
enum Deaf {
    Silent,
    Closes,
}

#[test]
fn a_client_of_http_2_reaches_an_app_of_http_2() {
    let folder = tempfile::TempDir::new().unwrap();
    let (_nginx, address) = nginx(folder.path());
    let pillion = in_front_of(address);
    let arguments = ["--header", "x-test: yes", &url(&pillion, "/")];
    assert_eq!(curl(&arguments), "HTTP/2.0 GET yes");
}

#[test]
fn a_client_of_http_1_reaches_an_app_of_http_2() {
    let folder = tempfile::TempDir::new().unwrap();
    let (_nginx, address) = nginx(folder.path());
    let config = inbound_to(address).replace("endpoints:", "protocol: http2, endpoints:");
    let pillion = pillion().config(config).start();
    let mut wire = pillion.connect_inbound();
    for _ in 0..3 {
        assert_eq!(wire.send(get("/")).response().text(), "HTTP/2.0 GET ");
    }
}

#[test]
fn trailers_resets_and_goaways_of_an_app_of_http_2() {
    let (_server, address) = Peer::python(&peer("h2_peer.py"), &["serve"]);
    let config = inbound_to(address).replace("endpoints:", "protocol: http2, endpoints:");
    let config = config
        .replace("{upstream: origin}", "{upstream: origin, retry: {backoff: 1ms, retries: 1}}");
    let pillion = pillion().config(config).start();
    let mut wire = pillion.connect_inbound();
    let response =
        wire.send("GET /trailers HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n").response();
    assert_eq!(response.text(), "hello");
    assert_eq!(response.body.trailers, [("x-sum".to_owned(), "5".to_owned())]);
    // The app says that it has not begun: even a POST is sent again.
    let response = wire.send(crate::post("/refused", "body")).response();
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    assert_eq!(pillion.logged("path", "/refused")["attempts"], 2);
    let response = wire.send(crate::post("/reset", "body")).response();
    assert_eq!((response.status, response.reason()), (502, Some("upstream_reset")));
    for _ in 0..5 {
        assert_eq!(wire.send(get("/goaway")).response().status, 200);
    }
    assert!(wire.send(get("/cut")).head().line.contains("200"));
    wire.read_to_end();
    pillion.logged("path", "/cut");
    pillion.wait_for_metric("pillion_requests_total{reason=\"upstream_truncated\"}", 1.0);
}

#[test]
fn refusals_are_told_in_http_2_too() {
    let closed = ClosedPort::new();
    let pillion = in_front_of(closed.address());
    let told = curl(&["--include", &url(&pillion, "/")]);
    assert!(told.starts_with("HTTP/2 502"), "{told}");
    assert!(
        told.contains(
            "proxy-status: pillion; error=connection_refused; reason=upstream_connect_refused"
        ),
        "{told}"
    );
    assert_eq!(pillion.logged("reason", "upstream_connect_refused")["protocol"], "HTTP/2");
}

#[test]
fn a_client_that_cancels_a_stream_frees_the_app() {
    let (working, left) = (Gate::new(), Gate::new());
    let (began, ended) = (working.clone(), left.clone());
    let origin = Origin::start(move |mut conn| {
        conn.request();
        began.open();
        conn.wait_for_end();
        ended.open();
    });
    let pillion = before_http1(origin.address());
    let target = url(&pillion, "/");
    let client = Peer::start(&tool("curl"), ["--http2-prior-knowledge", "--silent", &target]);
    working.wait();
    drop(client);
    left.wait();
    assert_eq!(pillion.logged("reason", "downstream_abort")["status"], 499);
}

#[test]
fn a_response_that_is_cut_off_is_a_stream_that_is_reset() {
    let origin = Origin::once("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789");
    let pillion = before_http1(origin.address());
    let mut command = Command::new(tool("curl"));
    command.args(["--http2-prior-knowledge", "--silent", "--max-time", "15", &url(&pillion, "/")]);
    let output = command.output().unwrap();
    // CURLE_HTTP2_STREAM; what was not on its way yet goes with the stream.
    assert_eq!(output.status.code(), Some(92));
    assert!(b"0123456789".starts_with(&output.stdout));
    assert_eq!(pillion.logged("reason", "upstream_truncated")["protocol"], "HTTP/2");
}

#[test]
fn a_head_that_is_too_large_is_answered_431() {
    let origin = Origin::saying("hello");
    let pillion = before_http1(origin.address());
    let big = |bytes: usize| format!("x-big: {}", "a".repeat(bytes));
    let status = |header: &str| {
        curl(&[
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
            "--header",
            header,
            &url(&pillion, "/"),
        ])
    };
    assert_eq!(status(&big(30_000)), "200");
    assert_eq!(status(&big(40_000)), "431");
    assert_eq!(status(&big(100)), "200");
    pillion.logged("reason", "downstream_head_too_large");
}

#[test]
fn what_is_in_flight_when_the_drain_begins_is_completed() {
    let (working, gate) = (Gate::new(), Gate::new());
    let (began, held) = (working.clone(), gate.clone());
    let origin = Origin::answering(move |_, _| {
        began.open();
        held.wait();
        b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\ncomplete".to_vec()
    });
    let mut pillion = before_http1(origin.address());
    let target = url(&pillion, "/");
    let client = Peer::start(&tool("curl"), ["--http2-prior-knowledge", "--silent", &target]);
    working.wait();
    pillion.signal(Signal::SIGTERM);
    eventually("it is not ready any more", || pillion.admin.get("/ready").0 == 503);
    gate.open();
    assert_eq!(client.stdout.whole(), "complete");
    assert_eq!(pillion.wait().code(), Some(0));
}

#[test]
fn many_streams_at_once_are_all_answered() {
    let origin = Origin::saying("hello");
    let pillion = before_http1(origin.address());
    let target = url(&pillion, "/");
    let arguments =
        ["--requests", "5000", "--clients", "10", "--max-concurrent-streams", "20", &target];
    let report = run(Command::new(tool("h2load")).args(arguments));
    assert!(report.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout"), "{report}");
    pillion.wait_for_metric("pillion_requests_total{code=\"200\"}", 5000.0);
    pillion.wait_for_metric("pillion_connections{direction=\"inbound\"}", 0.0);
}

#[test]
fn floods_cost_a_connection_and_no_more() {
    let origin = Origin::saying("hello");
    let pillion = in_front_of(origin.address());
    pillion.connect_inbound().send(get("/")).response();
    let before = peak_memory_kib(pillion.pid());
    for kind in ["rapid-resets", "continuations", "pings", "settings"] {
        let script = peer("h2_peer.py");
        let address = pillion.inbound().to_string();
        let told = run(Command::new(python()).arg(script).args(["flood", kind, &address]));
        if kind == "rapid-resets" || kind == "continuations" {
            assert_eq!(told, "stopped\n", "{kind}");
        }
        assert_eq!(pillion.connect_inbound().send(get("/")).response().status, 200, "after {kind}");
    }
    // The kernel counts the pages of each thread in batches: a later reading may be a little lower.
    let growth = peak_memory_kib(pillion.pid()).saturating_sub(before);
    assert!(growth < 32 << 10, "memory grew by {growth} KiB");
    pillion.wait_for_metric("pillion_connections{direction=\"inbound\"}", 0.0);
}

fn grpc(arguments: &[&str]) -> String {
    run(Command::new(python()).arg(peer("grpc_peer.py")).args(arguments))
}

const GRPC_CALLS: usize = 12;

#[test]
fn every_kind_of_grpc_call_works_inbound_and_outbound() {
    let (_server, server) = Peer::python(&peer("grpc_peer.py"), &["serve"]);
    let pillion = pillion().config(inbound_to(server)).start();
    let told = grpc(&["call", &pillion.inbound().to_string()]);
    assert_eq!(told.matches(" ok\n").count(), GRPC_CALLS, "{told}");
    let (outbound, authority) = (pillion.outbound().to_string(), server.to_string());
    let told = grpc(&["call", &outbound, "--authority", &authority]);
    assert_eq!(told.matches(" ok\n").count(), GRPC_CALLS, "{told}");
    for direction in ["inbound", "outbound"] {
        assert_eq!(pillion.logged("direction", direction)["protocol"], "HTTP/2");
    }
}

#[test]
fn a_grpc_client_is_told_in_its_own_way_why_there_is_no_answer() {
    let closed = ClosedPort::new();
    let pillion = in_front_of(closed.address());
    let told = grpc(&["refused", &pillion.inbound().to_string()]);
    assert!(told.starts_with("UNAVAILABLE pillion: upstream_connect_refused:"), "{told}");
}
