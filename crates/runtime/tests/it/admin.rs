//! The admin interface over real sockets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use pillion_model::settings::{Address, Listen};
use pillion_runtime::admin::{self, Bound, MAX_BODY, MAX_CONNECTIONS, Response, Routes};
use pillion_runtime::metrics::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc, oneshot};

fn loopback() -> Listen {
    Listen { address: Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))), asked: true }
}

fn tcp(bound: &Bound) -> SocketAddr {
    match bound.address() {
        Address::Tcp(address) => *address,
        Address::Unix(path) => panic!("bound to {}", path.display()),
    }
}

fn routes() -> Routes {
    let routes = Routes::new()
        .get("/echo", "says the query", async |request| {
            Response::text(StatusCode::OK, request.parameter("say").unwrap_or_default())
        })
        .post("/size", "counts the body", async |request| {
            Response::text(StatusCode::OK, request.body.len().to_string())
        });
    admin::logging(admin::metrics(routes, &Registry::new(10)))
}

/// An admin interface on a thread of its own; ends with the test.
struct Served {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

fn serve() -> Served {
    let bound = admin::bind(&loopback()).unwrap();
    let address = tcp(&bound);
    let (stop, stopped) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stopped = async { drop(stopped.await) };
        runtime.block_on(admin::serve(bound, routes(), stopped)).unwrap();
    });
    Served { address, _stop: stop }
}

impl Served {
    /// Sends these bytes and reads until the server closes.
    fn exchange(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    /// One request with these header lines beside `Connection: close`.
    fn request(&self, line: &str, headers: &str) -> String {
        let head = format!("{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        self.exchange(head.as_bytes())
    }

    fn get(&self, path: &str) -> String {
        self.request(&format!("GET {path}"), "Host: localhost\r\n")
    }
}

fn status(response: &str) -> u16 {
    response.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[test]
fn paths_methods_and_parameters_lead_to_the_right_answer() {
    let served = serve();
    for (line, expected_status, expected_text) in [
        ("GET /echo?x=1&say=a%20b+c%zz", 200, "a b c%zz"),
        ("GET /", 200, "GET, HEAD /echo"),
        ("GET /", 200, "POST /size"),
        ("GET /nothing", 404, "GET, HEAD /metrics"),
        ("POST /", 405, "GET, HEAD"),
        ("POST /echo", 405, "allow: GET, HEAD\r\n"),
        ("DELETE /size", 405, "allow: POST\r\n"),
        ("GET /metrics", 200, "text/plain; version=0.0.4"),
        ("GET /stats/prometheus", 200, "text/plain; version=0.0.4"),
        ("GET /logging", 200, "level: "),
        ("POST /logging?level=loud", 400, "it must be error, warn, info or debug"),
        ("PUT /logging?level=info", 200, "level: info"),
    ] {
        let response = served.request(line, "Host: localhost\r\n");
        assert_eq!(status(&response), expected_status, "{line}: {response}");
        assert!(response.contains(expected_text), "{line}: {response}");
    }
}

#[test]
fn a_scraper_that_accepts_openmetrics_gets_it() {
    let headers = "Host: localhost\r\nAccept: application/openmetrics-text;version=1.0.0\r\n";
    let response = serve().request("GET /metrics", headers);
    assert!(response.contains("content-type: application/openmetrics-text"), "{response}");
    assert!(body(&response).ends_with("# EOF\n"), "{response}");
}

#[test]
fn head_is_answered_like_get_without_the_body() {
    let served = serve();
    let response = served.request("HEAD /echo?say=four", "Host: localhost\r\n");
    assert_eq!(status(&response), 200);
    assert!(response.contains("content-length: 4\r\n"), "{response}");
    assert_eq!(body(&response), "");
}

#[test]
fn only_names_that_nobody_else_can_own_are_served() {
    let served = serve();
    let port = served.address.port();
    for (host, expected) in [
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("app.localhost", 200),
        ("localhost.", 200),
        ("127.0.0.1", 200),
        ("127.9.9.9:80", 200),
        ("[::1]:9", 200),
        (&format!("127.0.0.1:{port}"), 200),
        ("attacker.example", 403),
        ("localhost.attacker.example", 403),
        ("127.0.0.1.attacker.example", 403),
        ("notlocalhost", 403),
        ("10.0.0.1", 403),
        ("", 400),
        ("a b", 400),
    ] {
        let response = served.request("GET /echo", &format!("Host: {host}\r\n"));
        assert_eq!(status(&response), expected, "{host}: {response}");
    }
    let twice = "Host: localhost\r\nHost: attacker.example\r\n";
    assert_eq!(status(&served.request("GET /echo", twice)), 400);
    assert_eq!(status(&served.request("GET /echo", "")), 400);
    assert_eq!(status(&served.exchange(b"GET /echo HTTP/1.0\r\n\r\n")), 200);
}

#[test]
fn a_web_page_of_another_origin_changes_nothing() {
    let served = serve();
    for (line, origin, expected) in [
        ("POST /size", "http://localhost:80", 200),
        ("POST /size", "http://attacker.example", 403),
        ("POST /size", "http://localhost:81", 403),
        ("POST /size", "null", 403),
        ("GET /echo", "http://attacker.example", 200),
    ] {
        let headers = format!("Host: localhost:80\r\nOrigin: {origin}\r\nContent-Length: 0\r\n");
        let response = served.request(line, &headers);
        assert_eq!(status(&response), expected, "{line} from {origin}: {response}");
        assert!(!response.contains("access-control-allow-origin"), "{response}");
    }
}

#[test]
fn a_body_is_taken_up_to_its_limit() {
    let served = serve();
    for (size, expected) in [(0, 200), (MAX_BODY, 200), (MAX_BODY + 1, 413)] {
        let head = "POST /size HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
        let mut with_length = format!("{head}Content-Length: {size}\r\n\r\n").into_bytes();
        with_length.resize(with_length.len() + size, b'x');
        let response = served.exchange(&with_length);
        assert_eq!(status(&response), expected, "{size}: {response}");
        if expected == 200 {
            assert_eq!(body(&response), size.to_string());
        }

        let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        if size > 0 {
            chunked.extend_from_slice(format!("{size:x}\r\n").as_bytes());
            chunked.resize(chunked.len() + size, b'x');
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        assert_eq!(status(&served.exchange(&chunked)), expected, "{size} chunked");
    }
}

#[test]
fn garbage_is_answered_and_the_next_client_is_served() {
    let served = serve();
    let mut long = b"GET /".to_vec();
    long.resize(1 << 20, b'a');
    // What is sent after the answer may reset the connection: only the next client matters.
    let mut stream = TcpStream::connect(served.address).unwrap();
    drop(stream.write_all(&long));
    assert_eq!(status(&served.exchange(b"\x16\x03\x01\x00\x05hello\r\n\r\n")), 400);
    assert_eq!(status(&served.get("/echo")), 200);
}

#[test]
fn no_more_than_the_limit_of_connections_is_served_at_a_time() {
    let clients = MAX_CONNECTIONS + 16;
    let gate = Arc::new(Semaphore::new(0));
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (entered, mut entries) = mpsc::channel(clients);
    let (opened, seen) = (gate.clone(), most.clone());
    let hold = move |_| {
        let (gate, inside, most) = (gate.clone(), inside.clone(), most.clone());
        let entered = entered.clone();
        async move {
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            entered.send(()).await.unwrap();
            gate.acquire().await.unwrap().forget();
            inside.fetch_sub(1, Ordering::SeqCst);
            Response::text(StatusCode::OK, "held")
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bound = admin::bind(&loopback()).unwrap();
        let address = tcp(&bound);
        let routes = Routes::new().get("/hold", "holds", hold);
        tokio::spawn(admin::serve(bound, routes, std::future::pending()));
        let mut streams = Vec::new();
        for _ in 0..clients {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let request = b"GET /hold HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            stream.write_all(request).await.unwrap();
            streams.push(stream);
        }
        for _ in 0..MAX_CONNECTIONS {
            entries.recv().await.unwrap();
        }
        for mut stream in streams {
            opened.add_permits(1);
            let mut response = String::new();
            stream.read_to_string(&mut response).await.unwrap();
            assert_eq!(body(&response), "held");
        }
    });
    assert_eq!(seen.load(Ordering::SeqCst), MAX_CONNECTIONS);
}

#[test]
fn a_client_that_says_nothing_is_sent_away() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let bound = admin::bind(&loopback()).unwrap();
        let address = tcp(&bound);
        tokio::spawn(admin::serve(bound, routes(), std::future::pending()));
        let kept = b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n";
        for sent in [&b""[..], b"GET /echo HTTP/1.1\r\nHost:", kept] {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(sent).await.unwrap();
            let mut response = Vec::new();
            stream.read_to_end(&mut response).await.unwrap();
        }
    });
}

#[test]
fn an_answer_under_way_is_completed_when_the_interface_closes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bound = admin::bind(&loopback()).unwrap();
        let address = tcp(&bound);
        let (stop, stopped) = oneshot::channel::<()>();
        let stop = Arc::new(std::sync::Mutex::new(Some(stop)));
        let routes = Routes::new().post("/quit", "ends", move |_| {
            let stop = stop.lock().unwrap().take();
            async move {
                drop(stop);
                Response::text(StatusCode::OK, "ending")
            }
        });
        let serving = tokio::spawn(admin::serve(bound, routes, async { drop(stopped.await) }));
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"POST /quit HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        assert_eq!(body(&response), "ending");
        serving.await.unwrap().unwrap();
        tokio::net::TcpStream::connect(address).await.unwrap_err();
    });
}

#[test]
fn a_default_address_that_is_taken_gives_way_and_one_that_was_asked_for_does_not() {
    let taken = admin::bind(&loopback()).unwrap();
    let address = taken.address().clone();
    let error = admin::bind(&Listen { address: address.clone(), asked: true }).unwrap_err();
    let expected = format!("cannot listen on admin address {address}: it is in use; ");
    assert!(error.to_string().starts_with(&expected), "{error}");
    let other = admin::bind(&Listen { address: address.clone(), asked: false }).unwrap();
    assert_ne!(*other.address(), address);
}

fn unix(path: &Path) -> Listen {
    Listen { address: Address::Unix(path.to_owned()), asked: true }
}

#[test]
fn a_unix_socket_is_for_its_owner_alone_and_goes_with_the_listener() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let bound = admin::bind(&unix(&path)).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stopped = async { drop(stopped.await) };
        runtime.block_on(admin::serve(bound, routes(), stopped)).unwrap();
    });
    let mut stream = UnixStream::connect(&path).unwrap();
    let request = b"GET /echo?say=hi HTTP/1.1\r\nHost: anything\r\nConnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert_eq!(body(&response), "hi");
    drop(stop);
    serving.join().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_unix_socket_replaces_one_that_is_dead_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    // Ended by a shutdown too: a child that another test forks just now holds a copy of the
    // descriptor until its exec, and through that copy the socket would still take connections.
    let dead = UnixListener::bind(&path).unwrap();
    nix::sys::socket::shutdown(dead.as_raw_fd(), nix::sys::socket::Shutdown::Both).unwrap();
    drop(dead);
    assert!(path.exists());
    let bound = admin::bind(&unix(&path)).unwrap();

    let error = admin::bind(&unix(&path)).unwrap_err();
    assert!(error.to_string().contains("it is in use"), "{error}");
    UnixStream::connect(&path).unwrap();
    drop(bound);

    std::fs::write(&path, "precious").unwrap();
    admin::bind(&unix(&path)).unwrap_err();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");

    let error = admin::bind(&unix(&folder.path().join("no/such/admin.sock"))).unwrap_err();
    assert!(error.to_string().contains("the folder does not exist"), "{error}");
}
