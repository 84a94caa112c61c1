//! A server that is away, sealed, slow, or that says no.

use std::time::{Duration, Instant};

use pillion_secrets::bao::Trouble;
use pillion_testkit::OpenBao;
use serde_json::json;

use crate::bed::{Files, Ride, approle, root, server, text, token_file};
use crate::relay::Relay;

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
