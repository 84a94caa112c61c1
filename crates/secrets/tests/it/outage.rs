//! A server that is away, sealed, slow, or that says no.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use pillion_secrets::bao::Trouble;
use pillion_secrets::session::{Session, SessionId};
use pillion_testkit::{OpenBao, Relay};
use serde_json::json;
use tokio::task::JoinSet;

use crate::bed::{Files, Ride, approle, eventually, root, server, source, text, token_file};

#[tokio::test]
async fn a_server_that_is_sealed_or_killed_is_found_again() {
    let (mut bao, files) = (OpenBao::start(), Files::new());
    bao.put_secret("db", &json!({"password": "one"}));
    let ride = Ride::start(&server(&bao.url(), approle(&bao, &files, 600, 3600)));
    ride.fetch_eventually("secret/db").await;
    let session = ride.tokens.current().unwrap();
    bao.seal();
    let failure = ride.fetch("secret/db").await.unwrap_err();
    assert!(matches!(failure.error.trouble, Trouble::Sealed { .. }), "{failure}");
    bao.unseal();
    ride.fetch_eventually("secret/db").await;
    bao.peer.kill();
    let failure = ride.fetch("secret/db").await.unwrap_err();
    assert!(matches!(failure.error.trouble, Trouble::NoAnswer(_)), "{failure}");
    bao.restart();
    bao.unseal();
    let held = ride.fetch_eventually("secret/db").await;
    assert_eq!(text(&held.fetched, "password"), "one");
    assert_eq!(held.session, session.id, "the token survived, so it is used on");
}

#[tokio::test]
async fn a_token_that_is_lost_while_the_server_is_sealed_delays_nobody_after() {
    let (bao, files) = (OpenBao::start(), Files::new());
    bao.put_secret("db", &json!({"password": "one"}));
    let mut server = server(&bao.url(), approle(&bao, &files, 600, 3600));
    server.backoff = (Duration::from_millis(50), Duration::from_secs(3600));
    let ride = Ride::start(&server);
    let session = ride.fetch_eventually("secret/db").await.session;
    bao.seal();
    let wait = ride.fetch("secret/db").await.unwrap_err().wait;
    ride.tokens.lost(session).await;
    ride.sessions("no token", |now| now.current.is_none() && now.trouble.is_some()).await;
    tokio::time::sleep(wait).await;
    ride.fetch("secret/db").await.unwrap_err();
    bao.unseal();
    ride.fetch_eventually("secret/db").await;
}

#[tokio::test]
async fn a_start_without_the_server_ends_with_a_token_once_it_is_there() {
    let (mut bao, files) = (OpenBao::start(), Files::new());
    bao.put_secret("db", &json!({"password": "one"}));
    let auth = approle(&bao, &files, 600, 3600);
    bao.peer.kill();
    let ride = Ride::start(&server(&bao.url(), auth));
    let sessions = ride.sessions("a failed login", |now| now.trouble.is_some()).await;
    let trouble = sessions.trouble.unwrap().to_string();
    assert!(trouble.contains("cannot connect to http://"), "{trouble}");
    bao.restart();
    bao.unseal();
    assert_eq!(text(&ride.fetch_eventually("secret/db").await.fetched, "password"), "one");
    assert!(ride.tokens.watch().borrow().trouble.is_none());
}

#[tokio::test]
async fn a_path_that_is_forbidden_is_not_asked_for_again_and_again() {
    let (bao, files) = (OpenBao::start(), Files::new());
    let relay = Relay::before(bao.address());
    bao.put_policy("nothing", "path \"other/*\" { capabilities = [\"read\"] }");
    let path = files.write("token", &bao.token("nothing", 3600));
    let mut server = server(&relay.url(), token_file(&path));
    server.backoff = (Duration::from_secs(60), Duration::from_secs(60));
    let ride = Ride::start(&server);
    ride.session_after(None).await;
    relay.forget();
    for _ in 0..100 {
        let failure = ride.fetch("secret/data/db").await.unwrap_err();
        assert!(matches!(failure.error.trouble, Trouble::NotAllowed { .. }), "{failure}");
    }
    assert_eq!(
        relay.seen(),
        [
            "GET /v1/sys/internal/ui/mounts/secret/data/db",
            "GET /v1/secret/data/db",
            "GET /v1/auth/token/lookup-self",
        ]
    );
}

#[tokio::test]
async fn answers_of_failure_are_waited_out() {
    let (bao, files) = (OpenBao::start(), Files::new());
    let relay = Relay::before(bao.address());
    bao.put_secret("db", &json!({"password": "one"}));
    let ride = Ride::start(&server(&relay.url(), root(&bao, &files)));
    ride.fetch_eventually("secret/db").await;
    for (head, says) in [
        ("500 Oops", "status 500: the server failed"),
        ("502 Bad Gateway", "status 502: the server failed"),
        ("503 Unavailable", "no active server answers"),
        ("412 Behind", "has not seen yet"),
        ("473 Standby", "status 473: no active server"),
        ("200 OK", "cannot read secret/db"),
    ] {
        relay.answer("/v1/secret/data/db", head);
        relay.forget();
        let mut waits = Vec::new();
        for _ in 0..4 {
            let failure = ride.fetch("secret/db").await.unwrap_err();
            assert!(failure.to_string().contains(says), "{head}: {failure}");
            waits.push(failure.wait);
            tokio::time::sleep(failure.wait).await;
        }
        assert!(waits[3] > waits[0], "{head}: {waits:?}");
        assert_eq!(relay.count("/v1/secret/data/db"), 4, "{head}: {:?}", relay.seen());
        relay.pass();
        ride.fetch_eventually("secret/db").await;
    }
}

#[tokio::test]
async fn a_server_that_asks_for_time_gets_it_from_everyone() {
    let (bao, files) = (OpenBao::start(), Files::new());
    let relay = Relay::before(bao.address());
    for name in ["one", "two"] {
        bao.put_secret(name, &json!({"password": name}));
    }
    let ride = Ride::start(&server(&relay.url(), root(&bao, &files)));
    ride.session_after(None).await;
    relay.answer("/v1/secret/data/one", "429 Slow\r\nretry-after: 2");
    let since = Instant::now();
    let failure = ride.fetch("secret/one").await.unwrap_err();
    assert!(failure.to_string().contains("too many requests"), "{failure}");
    assert!(failure.wait >= Duration::from_secs(1), "{:?}", failure.wait);
    relay.pass();
    relay.forget();
    let failure = ride.fetch("secret/two").await.unwrap_err();
    assert!(failure.to_string().contains("too many requests"), "{failure}");
    assert!(relay.seen().is_empty(), "{:?}", relay.seen());
    ride.fetch_eventually("secret/two").await;
    assert!(since.elapsed() >= Duration::from_secs(2));
}

/// Takes requests and answers none before it may.
#[derive(Default)]
struct Slow {
    waiting: AtomicUsize,
    most: Mutex<usize>,
    may_answer: AtomicBool,
}

impl Slow {
    fn start(self: Arc<Self>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // It ends with the process of the test.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (slow, stream) = (self.clone(), stream.unwrap());
                thread::spawn(move || {
                    let mut lines = BufReader::new(&stream).lines();
                    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {
                    }
                    let waiting = slow.waiting.fetch_add(1, Ordering::SeqCst) + 1;
                    let mut most = slow.most.lock().unwrap();
                    *most = waiting.max(*most);
                    drop(most);
                    while !slow.may_answer.load(Ordering::SeqCst) {
                        thread::sleep(Duration::from_millis(2));
                    }
                    slow.waiting.fetch_sub(1, Ordering::SeqCst);
                    let head = "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0";
                    drop((&stream).write_all(format!("{head}\r\n\r\n").as_bytes()));
                });
            }
        });
        url
    }
}

#[tokio::test]
async fn a_slow_server_gets_four_requests_at_a_time() {
    let (slow, files) = (Arc::new(Slow::default()), Files::new());
    let path = files.write("token", "s.token");
    let session = Session {
        id: SessionId(7),
        token: "s.token".into(),
        accessor: String::new(),
        policies: Vec::new(),
        expires: None,
        renewable: false,
    };
    let server = server(&slow.clone().start(), token_file(&path));
    let ride = Ride::adopting(&server, Some(session));
    let mut all = JoinSet::new();
    for number in 0..12 {
        let (broker, source) = (ride.broker.clone(), source(&format!("mount{number}/x")));
        all.spawn(async move { broker.fetch(&source).await });
    }
    eventually("four requests", || slow.waiting.load(Ordering::SeqCst) == 4).await;
    slow.may_answer.store(true, Ordering::SeqCst);
    for held in all.join_all().await {
        let failure = held.unwrap_err();
        assert!(matches!(failure.error.trouble, Trouble::NotFound { .. }), "{failure}");
    }
    assert_eq!(*slow.most.lock().unwrap(), 4);
}
