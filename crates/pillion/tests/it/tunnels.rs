//! What is not request and response over TCP: CONNECT, upgrades, WebSocket, raw TCP, Unix sockets.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};

use pillion_testkit::{End, Gate, Origin, Peer, Wire, python, tool};

use crate::{get, in_front_of, inbound_to, peer, pillion};

/// Sends back every byte until the client says that it has sent all.
fn byte_echo() -> Origin {
    Origin::start(|mut conn| {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = conn.try_read(&mut buffer) {
            conn.send(&buffer[..count]);
        }
        conn.half_close();
    })
}

/// Bytes pass both ways, and each way ends by itself.
fn use_as_echo(wire: &mut Wire) {
    for word in ["ping", "\0\r\n\r\n", "pong"] {
        wire.send(word);
        assert_eq!(wire.read_exact(word.len()), word.as_bytes());
    }
    wire.send("the last");
    wire.half_close();
    assert_eq!(wire.read_to_end(), (b"the last".to_vec(), End::Closed));
}

#[test]
fn connect_opens_a_tunnel_that_ends_one_way_at_a_time() {
    let origin = byte_echo();
    let pillion = pillion().start();
    let mut wire = pillion.connect_outbound();
    let address = origin.address();
    wire.send(format!("CONNECT {address} HTTP/1.1\r\nhost: {address}\r\n\r\n"));
    assert_eq!(wire.response_to("CONNECT").status, 200);
    use_as_echo(&mut wire);
    let line = pillion.logged("method", "CONNECT");
    assert_eq!((&line["status"], &line["reason"]), (&200.into(), &serde_json::Value::Null));
}

#[test]
fn connect_is_not_for_inbound_traffic() {
    let origin = Origin::saying("hello");
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    let response = wire.send("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n").response();
    assert_eq!((response.status, response.reason()), (501, Some("downstream_unsupported")));
}

#[test]
fn an_upgrade_that_the_app_accepts_becomes_a_tunnel() {
    let origin = Origin::start(|mut conn| {
        let head = conn.head().unwrap();
        assert_eq!(head.field("upgrade"), Some("echo/1"));
        assert_eq!(head.field("connection"), Some("upgrade"));
        // The first bytes of the new protocol come along with the head.
        conn.send("HTTP/1.1 101 Switching Protocols\r\nupgrade: echo/1\r\nconnection: upgrade\r\n\r\nhello");
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = conn.try_read(&mut buffer) {
            conn.send(&buffer[..count]);
        }
        conn.half_close();
    });
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    wire.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: echo/1\r\n\r\n");
    let response = wire.response();
    assert_eq!((response.status, response.header("upgrade")), (101, Some("echo/1")));
    assert_eq!(wire.read_exact(5), b"hello");
    use_as_echo(&mut wire);
    assert_eq!(pillion.logged("status", 101)["reason"], serde_json::Value::Null);
}

#[test]
fn an_upgrade_that_the_app_declines_is_a_plain_response() {
    let origin = Origin::saying("no");
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    for _ in 0..2 {
        wire.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo/1\r\n\r\n");
        assert_eq!(wire.response().text(), "no");
    }
}

#[test]
fn an_upgrade_to_cleartext_http_2_is_not_offered_to_the_app() {
    let origin = Origin::saying("hello");
    let pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    wire.send(
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
         http2-settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert_eq!(wire.response().status, 200);
    let (seen, _) = origin.request();
    assert_eq!((seen.field("upgrade"), seen.field("http2-settings")), (None, None));
}

#[test]
fn a_tunnel_that_falls_silent_is_ended() {
    let gate = Gate::new();
    let served = gate.clone();
    let origin = Origin::start(move |mut conn| {
        conn.head();
        conn.send("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n");
        conn.wait_for_end();
        served.open();
    });
    let config = inbound_to(origin.address())
        .replace("{upstream: origin}", "{upstream: origin, stream_idle_timeout: 200ms}");
    let pillion = pillion().config(config).start();
    let mut wire = pillion.connect_inbound();
    wire.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    assert_eq!(wire.response().status, 101);
    wire.read_to_end();
    gate.wait();
    pillion.logged("reason", "upstream_idle_timeout");
}

#[test]
fn bytes_that_are_not_http_go_to_the_tcp_upstream() {
    let origin = byte_echo();
    let config =
        inbound_to(origin.address()).replace("inbound: {", "inbound: {tcp_upstream: origin, ");
    let pillion = pillion().config(config).start();
    let mut wire = pillion.connect_inbound();
    wire.send("\x16\x03\x01 not http at all\n");
    assert_eq!(wire.read_exact(20), b"\x16\x03\x01 not http at all\n");
    use_as_echo(&mut wire);
    assert_eq!(pillion.logged("protocol", "TCP")["request_bytes"], 20 + 4 + 5 + 4 + 8);
}

#[test]
fn a_tcp_listener_looks_at_nothing() {
    // A server that speaks first, as a database does.
    let origin = Origin::start(|mut conn| {
        conn.send("welcome");
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = conn.try_read(&mut buffer) {
            conn.send(&buffer[..count]);
        }
        conn.half_close();
    });
    let config = inbound_to(origin.address())
        .replace("inbound: {", "inbound: {protocol: tcp, tcp_upstream: origin, ");
    let pillion = pillion().config(config.replace("routes: [{upstream: origin}]", "")).start();
    let mut wire = pillion.connect_inbound();
    assert_eq!(wire.read_exact(7), b"welcome");
    wire.send(get("/"));
    assert_eq!(wire.read_exact(get("/").len()), get("/").as_bytes());
    use_as_echo(&mut wire);
}

#[test]
fn bytes_that_are_not_http_are_closed_where_nobody_takes_them() {
    let pillion = pillion().start();
    let mut wire = pillion.connect_outbound();
    wire.send("\x16\x03\x01 not http at all");
    assert_eq!(wire.read_to_end().0, b"");
    pillion.logged("reason", "downstream_protocol");
}

fn websocket(arguments: &[&str]) -> (Peer, SocketAddr) {
    Peer::python(&peer("websocket.py"), arguments)
}

/// Lets a real client talk to a real server, and says what the client said of it.
fn websocket_client(arguments: &[&str]) -> String {
    let output = std::process::Command::new(python())
        .arg(peer("websocket.py"))
        .args(arguments)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    told
}

#[test]
fn websocket_works_inbound_and_outbound() {
    let (_server, server) = websocket(&["serve"]);
    let pillion = pillion().config(inbound_to(server)).start();
    let inbound = format!("ws://{}/chat", pillion.inbound());
    assert_eq!(websocket_client(&["talk", &inbound]), "ok 5 messages\n");
    // Once as a proxy that opens tunnels, once by the name of the host.
    let (outbound, direct) = (pillion.outbound().to_string(), format!("ws://{server}/chat"));
    assert_eq!(websocket_client(&["talk", &direct, "--proxy", &outbound]), "ok 5 messages\n");
    assert_eq!(websocket_client(&["talk", &direct, "--via", &outbound]), "ok 5 messages\n");
    assert_eq!(pillion.logged("method", "CONNECT")["direction"], "outbound");
    assert_eq!(pillion.logged("direction", "inbound")["status"], 101);
}

#[test]
fn an_ordinary_client_uses_the_outbound_side_as_its_proxy() {
    let origin = Origin::saying("hello");
    let pillion = pillion().start();
    let output = std::process::Command::new(tool("curl"))
        .env("http_proxy", format!("http://{}", pillion.outbound()))
        .args(["--silent", "--show-error", "--max-time", "15"])
        .arg(format!("http://{}/x", origin.address()))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello", "{output:?}");
}

#[test]
fn unix_sockets_serve_on_both_sides() {
    let builder = pillion();
    let (front, back) = (builder.folder().join("front"), builder.folder().join("back"));
    let listener = UnixListener::bind(&back).unwrap();
    let app = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut seen = [0; 4096];
        let count = stream.read(&mut seen).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
        String::from_utf8_lossy(&seen[..count]).into_owned()
    });
    let config = format!(
        "upstreams: {{origin: {{endpoints: [\"unix:{}\"]}}}}\n\
         inbound: {{routes: [{{upstream: origin}}]}}\n",
        back.display()
    );
    let listen = format!("unix:{}", front.display());
    let pillion = builder.config(config).arg("--inbound").arg(listen).start();
    let mut client = UnixStream::connect(&front).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok"), "{answer}");
    let seen = app.join().unwrap();
    assert!(!seen.contains("x-forwarded-for"), "a Unix socket has no address to tell: {seen}");
    assert_eq!(pillion.logged("status", 200)["endpoint"], format!("unix:{}", back.display()));
}
