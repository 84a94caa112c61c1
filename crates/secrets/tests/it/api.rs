//! The local interface between a client and a server that says what it is told to say.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use pillion_client::{Client, Options};
use pillion_model::secrets::{Api, Auth};
use pillion_model::settings::{Address, Listen};
use pillion_runtime::admin::{Purpose, Room, bind_for, serve_with};
use pillion_runtime::board::Secret;
use pillion_secrets::api::{ApiError, Counters, LocalApi, bind};
use pillion_secrets::bao::Bao;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};

/// The most bytes of a request.
const BODY: usize = 1000;
const HOME: &str = "127.0.0.1:0";

/// A server with leases at `creds`, a value at `kv`, and a token in each answer's header.
#[derive(Default)]
struct Server {
    asked: AtomicUsize,
    away: AtomicBool,
    /// Answers wait for it while it is set.
    gate: Option<Notify>,
    heads: Mutex<Vec<HeaderMap>>,
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.heads.lock().unwrap().push(request.headers().clone());
        if let Some(gate) = &self.gate {
            gate.notified().await;
        }
        let body = match request.uri().path() {
            "/v1/creds" => format!(
                r#"{{"lease_id":"creds/{number}","lease_duration":3600,"data":{{"n":{number}}},"wrap_info":null}}"#
            ),
            "/v1/wrapped" => {
                r#"{"lease_id":"w/1","lease_duration":60,"wrap_info":{"token":"t"}}"#.to_owned()
            }
            path if path.starts_with("/v1/sized/") => "x".repeat(number_in(path)),
            path if path.starts_with("/v1/json/") => {
                let json = r#"{"data":{}}"#;
                format!("{json:0$}", number_in(path))
            }
            _ => format!(r#"{{"lease_id":"","data":{{"n":{number}}}}}"#),
        };
        let away = self.away.load(Ordering::SeqCst);
        let status = if away { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        Response::builder().status(status).body(Full::new(body.into())).unwrap()
    }
}

fn number_in(path: &str) -> usize {
    path.rsplit('/').next().unwrap().parse().unwrap()
}

struct Home {
    numbers: Arc<Counters>,
    address: Address,
    client: Client,
    server: Arc<Server>,
    ours: watch::Sender<Option<Secret>>,
}

fn settings(address: Address, auto_auth: bool) -> Api {
    Api { address, auto_auth, entries: 4, kept_bytes: 200, body_bytes: BODY, connections: 16 }
}

fn client(address: &Address) -> Client {
    let target = match address {
        Address::Tcp(address) => format!("http://{address}"),
        Address::Unix(path) => format!("unix:{}", path.display()),
    };
    let options = Options { body_limit: 4096, ..Options::default() };
    Client::new(target.parse().unwrap(), &options).unwrap()
}

fn start(server: Server, address: Address, auto_auth: bool) -> Home {
    start_as(server, &settings(address, auto_auth))
}

fn start_as(server: Server, settings: &Api) -> Home {
    let server = Arc::new(server);
    let listen = Listen { address: Address::Tcp(HOME.parse().unwrap()), asked: true };
    let upstream = bind_for(Purpose { what: "test", key: "" }, &listen).unwrap();
    let there = client(upstream.address());
    let answering = server.clone();
    let respond = move |request| {
        let server = answering.clone();
        async move { server.answer(request).await }
    };
    let room = Room { connections: 64, waits: Box::new(|| {}) };
    tokio::spawn(serve_with(upstream, room, respond, std::future::pending()));
    let (ours, token) = watch::channel(Some(Secret::from("our-token")));
    let bound = bind(settings).unwrap();
    let client = client(bound.address());
    let (numbers, address) = (Arc::<Counters>::default(), bound.address().clone());
    let api = Arc::new(LocalApi::new(settings, there, Some("team"), token, numbers.clone()));
    tokio::spawn(api.serve(bound, std::future::pending()));
    Home { numbers, address, client, server, ours }
}

fn home() -> Home {
    start(Server::default(), Address::Tcp(HOME.parse().unwrap()), true)
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Bytes> {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in [("x-vault-request", "true")].iter().chain(headers) {
        request = request.header(*name, *value);
    }
    request.body(Bytes::new()).unwrap()
}

async fn ask(home: &Home, method: &str, path: &str) -> (Response<()>, String) {
    let answer = home.client.send(request(method, path, &[])).await.unwrap();
    let (head, body) = answer.into_parts();
    (Response::from_parts(head, ()), String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn requests_without_a_token_get_ours_and_others_keep_theirs() {
    let home = home();
    ask(&home, "GET", "/v1/kv").await;
    home.client.send(request("GET", "/v1/kv", &[("x-vault-token", "theirs")])).await.unwrap();
    home.client.send(request("GET", "/v1/kv", &[("authorization", "Bearer x")])).await.unwrap();
    home.ours.send_replace(Some(Secret::from("renewed")));
    ask(&home, "GET", "/v1/kv").await;
    let heads = home.server.heads.lock().unwrap();
    let tokens: Vec<_> = heads.iter().map(|head| head.get("x-vault-token").cloned()).collect();
    let texts: Vec<_> = tokens.iter().flatten().map(|token| token.to_str().unwrap()).collect();
    assert_eq!(texts, ["our-token", "theirs", "renewed"]);
    assert_eq!(heads[2].get("authorization").unwrap(), "Bearer x");
    assert!(heads.iter().all(|head| head.get("x-vault-namespace").unwrap() == "team"));
}

#[tokio::test]
async fn without_auto_auth_no_token_is_added() {
    let home = start(Server::default(), Address::Tcp(HOME.parse().unwrap()), false);
    ask(&home, "GET", "/v1/kv").await;
    assert!(!home.server.heads.lock().unwrap()[0].contains_key("x-vault-token"));
}

#[tokio::test]
async fn what_a_tricked_app_or_a_browser_sends_is_refused() {
    let home = home();
    for (headers, status) in [
        (&[("x-forwarded-for", "10.0.0.1")][..], 403),
        (&[("origin", "http://localhost")], 403),
        (&[("sec-fetch-site", "none")], 403),
        (&[("host", "evil.test")], 403),
        (&[("host", "localhost")], 200),
    ] {
        let answer = home.client.send(request("GET", "/v1/kv", headers)).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{headers:?}");
    }
    let plain = Request::get("/v1/kv").body(Bytes::new()).unwrap();
    assert_eq!(home.client.send(plain).await.unwrap().status(), 412);
    assert_eq!(ask(&home, "GET", "/ui/").await.0.status(), 404);
    let numbers = home.numbers.numbers();
    assert_eq!((numbers.refused, numbers.invalid, numbers.asked), (5, 1, 1));
    assert_eq!(home.server.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_with_a_lease_is_kept_until_the_lease_is_revoked() {
    let home = home();
    let (first, body) = ask(&home, "GET", "/v1/creds").await;
    let (second, again) = ask(&home, "GET", "/v1/creds").await;
    assert_eq!(
        (first.headers()["x-cache"].as_bytes(), second.headers()["x-cache"].as_bytes()),
        (&b"MISS"[..], &b"HIT"[..])
    );
    assert_eq!(body, again);
    let theirs = request("GET", "/v1/creds", &[("x-vault-token", "theirs")]);
    let other = home.client.send(theirs).await.unwrap();
    assert!(other.body().starts_with(br#"{"lease_id":"creds/2""#));
    ask(&home, "PUT", "/v1/sys/leases/revoke/creds/1").await;
    assert!(ask(&home, "GET", "/v1/creds").await.1.contains("creds/4"));
    ask(&home, "PUT", "/v1/sys/leases/revoke-prefix/creds/").await;
    assert!(ask(&home, "GET", "/v1/creds").await.1.contains("creds/6"));
    ask(&home, "POST", "/v1/auth/token/revoke-self").await;
    assert!(ask(&home, "GET", "/v1/creds").await.1.contains("creds/8"));
}

#[tokio::test]
async fn values_without_a_lease_and_wrapped_answers_are_asked_for_each_time() {
    let home = home();
    for path in ["/v1/kv", "/v1/wrapped", "/v1/sys/health"] {
        let before = home.server.asked.load(Ordering::SeqCst);
        ask(&home, "GET", path).await;
        assert_eq!(ask(&home, "GET", path).await.0.headers()["x-cache"], "MISS");
        assert_eq!(home.server.asked.load(Ordering::SeqCst), before + 2);
    }
}

#[tokio::test]
async fn one_request_is_sent_for_many_that_are_the_same() {
    let server = Server { gate: Some(Notify::new()), ..Server::default() };
    let home = Arc::new(start(server, Address::Tcp(HOME.parse().unwrap()), true));
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let home = home.clone();
            tokio::spawn(async move { ask(&home, "GET", "/v1/creds").await.1 })
        })
        .collect();
    while home.numbers.numbers().in_flight < 8 {
        tokio::task::yield_now().await;
    }
    home.server.gate.as_ref().unwrap().notify_one();
    for answer in asking {
        assert!(answer.await.unwrap().contains("creds/1"));
    }
    assert_eq!(home.server.asked.load(Ordering::SeqCst), 1);
    let numbers = home.numbers.numbers();
    assert_eq!((numbers.asked, numbers.hits, numbers.joined), (1, 7, 7));
}

#[tokio::test]
async fn old_answers_are_given_while_the_server_is_away() {
    let home = home();
    let (_, body) = ask(&home, "GET", "/v1/kv").await;
    ask(&home, "GET", "/v1/sys/health").await;
    home.server.away.store(true, Ordering::SeqCst);
    let (stale, again) = ask(&home, "GET", "/v1/kv").await;
    assert_eq!((stale.status().as_u16(), again), (200, body));
    assert_eq!(stale.headers()["x-pillion-stale"], "0");
    // The state of the server is never made up, and what was not read before is not there.
    assert_eq!(ask(&home, "GET", "/v1/sys/health").await.0.status(), 503);
    assert_eq!(ask(&home, "GET", "/v1/kv/other").await.0.status(), 503);
    assert_eq!(ask(&home, "PUT", "/v1/kv").await.0.status(), 503);
    home.server.away.store(false, Ordering::SeqCst);
    ask(&home, "PUT", "/v1/kv").await;
    home.server.away.store(true, Ordering::SeqCst);
    // What was written since is not answered with what was before.
    assert_eq!(ask(&home, "GET", "/v1/kv").await.0.status(), 503);
    assert_eq!(home.numbers.numbers().stale, 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_that_says_so() {
    let (_ours, token) = watch::channel(None);
    let settings = settings(Address::Tcp(HOME.parse().unwrap()), true);
    let bound = bind(&settings).unwrap();
    let here = client(bound.address());
    // Nobody can listen there.
    let there = client(&Address::Unix("/nowhere/server.sock".into()));
    let numbers = Arc::<Counters>::default();
    let api = Arc::new(LocalApi::new(&settings, there, None, token, numbers.clone()));
    tokio::spawn(api.serve(bound, std::future::pending()));
    let answer = here.send(request("GET", "/v1/kv", &[])).await.unwrap();
    assert_eq!(answer.status(), 502);
    let text = String::from_utf8(answer.body().to_vec()).unwrap();
    assert!(text.starts_with(r#"{"errors":["pillion: cannot connect to unix:/nowhere"#), "{text}");
    assert_eq!(numbers.numbers().failed, 1);
}

#[tokio::test]
async fn limits_hold_at_their_edge() {
    let home = home();
    for (length, status) in [(BODY, 200), (BODY + 1, 413)] {
        let mut request = request("PUT", "/v1/kv", &[]);
        *request.body_mut() = vec![b'x'; length].into();
        let answer = home.client.send(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        let text = String::from_utf8_lossy(answer.body());
        assert_eq!(
            text.contains("longer than secrets.api.body_bytes, 1000"),
            status == 413,
            "{text}"
        );
    }
    assert_eq!(ask(&home, "GET", "/v1/sized/4096").await.0.status(), 200);
    let (answer, text) = ask(&home, "GET", "/v1/sized/4097").await;
    assert_eq!(answer.status(), 502, "{text}");
    assert!(text.contains("larger than 4096 bytes; raise secrets.server.answer_bytes"), "{text}");
    let hits = home.numbers.numbers().limit_hits;
    assert_eq!(hits.map(|(_, hits)| hits), [1, 0, 0, 0, 1], "{hits:?}");
}

#[tokio::test]
async fn the_oldest_of_too_many_kept_answers_go_first() {
    let home = home();
    for number in 0..6 {
        ask(&home, "GET", &format!("/v1/kv/{number}")).await;
    }
    let numbers = home.numbers.numbers();
    assert_eq!((numbers.kept, numbers.limit_hits[2]), (4, ("api.entries", 2)));
    home.server.away.store(true, Ordering::SeqCst);
    for (number, status) in [(1, 503), (2, 200), (5, 200)] {
        assert_eq!(ask(&home, "GET", &format!("/v1/kv/{number}")).await.0.status(), status);
    }
}

#[tokio::test]
async fn kept_answers_have_no_more_bytes_than_they_may() {
    let home = home();
    for (length, kept, pushed_out) in
        [(100, 1, 0), (99, 2, 0), (12, 2, 1), (201, 2, 2), (200, 1, 4)]
    {
        ask(&home, "GET", &format!("/v1/json/{length}")).await;
        let numbers = home.numbers.numbers();
        let found = (numbers.kept, numbers.limit_hits[3]);
        assert_eq!(found, (kept, ("api.kept_bytes", pushed_out)), "{length}");
    }
}

#[tokio::test]
async fn a_connection_more_than_are_served_waits_and_is_counted() {
    let settings = Api { connections: 2, ..settings(Address::Tcp(HOME.parse().unwrap()), true) };
    let home = start_as(Server::default(), &settings);
    let Address::Tcp(address) = home.address else { unreachable!() };
    let connect = || TcpStream::connect(address);
    let (mut first, mut second) = (connect().await.unwrap(), connect().await.unwrap());
    for stream in [&mut first, &mut second] {
        assert_eq!(status(stream).await, 200);
    }
    let waits = || home.numbers.numbers().limit_hits[1];
    assert_eq!(waits(), ("api.connections", 0), "as many as may be");
    let mut third = connect().await.unwrap();
    let mut waiting = Box::pin(status(&mut third));
    tokio::select! {
        biased;
        _ = &mut waiting => unreachable!("there are two already"),
        other = status(&mut second) => assert_eq!(other, 200),
    }
    crate::bed::eventually("the count", || waits().1 == 1).await;
    drop(first);
    assert_eq!(waiting.await, 200);
    assert_eq!(waits().1, 1);
}

/// The status that a raw request on this connection is answered with.
async fn status(stream: &mut TcpStream) -> u16 {
    let head = "GET /v1/kv HTTP/1.1\r\nhost: localhost\r\nx-vault-request: true\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}}") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{answer:?}");
    }
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_answer_for_us_is_bounded_too() {
    let server = start(Server::default(), Address::Tcp(HOME.parse().unwrap()), true);
    let url = match &server.address {
        Address::Tcp(address) => format!("http://{address}"),
        Address::Unix(_) => unreachable!(),
    };
    for (most, fits) in [(2000, true), (1999, false)] {
        let auth = Auth::TokenFile { path: "/nowhere".into(), wrapped: false };
        let settings = settings_of_server(&url, auth, most);
        let read = Bao::new(&settings).unwrap().read(&Secret::from("t"), "json/2000").await;
        match read {
            Ok(_) => assert!(fits),
            Err(error) => {
                let text = error.to_string();
                assert!(
                    !fits
                        && text
                            .ends_with("larger than 1999 bytes; raise secrets.server.answer_bytes"),
                    "{text}"
                );
            }
        }
    }
}

fn settings_of_server(
    url: &str,
    auth: Auth,
    answer_bytes: usize,
) -> pillion_model::secrets::Server {
    pillion_model::secrets::Server { answer_bytes, ..crate::bed::server(url, auth) }
}

#[tokio::test]
async fn a_unix_socket_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.sock");
    let home = start(Server::default(), Address::Unix(path.clone()), true);
    assert_eq!(ask(&home, "GET", "/v1/kv").await.0.status(), 200);
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_address_that_others_reach_is_refused() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8200"] {
        let error = bind(&settings(Address::Tcp(address.parse().unwrap()), true)).unwrap_err();
        assert!(matches!(error, ApiError::NotLocal(_)), "{error}");
        assert!(error.to_string().contains("use a loopback address"), "{error}");
    }
}
