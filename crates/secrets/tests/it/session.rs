//! The life of our tokens, and what it costs the server.

use std::time::SystemTime;

use pillion_testkit::{OpenBao, Relay};
use serde_json::json;
use tokio::task::JoinSet;

use crate::bed::{Files, Ride, approle, eventually, post, server, source, text};

const RENEWAL: &str = "POST /v1/auth/token/renew-self";

#[tokio::test]
async fn a_token_at_its_greatest_age_is_replaced_and_kept_for_its_leases() {
    let (bao, files) = (OpenBao::start(), Files::new());
    let mut server = server(&bao.url(), approle(&bao, &files, 30, 30));
    server.renew_at = 0.1;
    let ride = Ride::start(&server);
    let first = ride.session_after(None).await;
    assert!(first.renewable);
    let second = ride.session_after(Some(&first)).await;
    let sessions = ride.tokens.watch().borrow().clone();
    let old = sessions.find(first.id).expect("it lives as long as it can").clone();
    let now = SystemTime::now();
    assert!(!old.renewable && old.expires.unwrap() > now, "{old:?}");
    assert_eq!(sessions.end_of(first.id, now), old.expires, "its leases end when it does");
    assert_eq!(sessions.end_of(second.id, now), None);
    let lookup = |token: &str| bao.rest_with(token).get("/v1/auth/token/lookup-self").status;
    let first_token = first.token.reveal_text().unwrap();
    assert_eq!(lookup(first_token), 200);
    ride.tokens.release(first.id).await;
    ride.sessions("no trace of the first", |now| now.find(first.id).is_none()).await;
    eventually("its end on the server", || lookup(first_token) == 403).await;
}

#[tokio::test]
async fn a_token_that_nobody_releases_leaves_when_it_ends() {
    let (bao, files) = (OpenBao::start(), Files::new());
    let mut server = server(&bao.url(), approle(&bao, &files, 5, 5));
    server.renew_at = 0.1;
    let ride = Ride::start(&server);
    let first = ride.session_after(None).await;
    ride.sessions("two at once", |now| now.old.iter().any(|old| old.id == first.id)).await;
    let after = ride.sessions("its end", |now| now.find(first.id).is_none()).await;
    let now = SystemTime::now();
    assert_eq!(after.end_of(first.id, now), Some(now), "its leases are dead");
}

#[tokio::test]
async fn a_token_that_is_revoked_under_us_is_replaced() {
    let (bao, files) = (OpenBao::start(), Files::new());
    bao.put_secret("db", &json!({"password": "one"}));
    // By a request that is refused …
    let ride = Ride::start(&server(&bao.url(), approle(&bao, &files, 600, 3600)));
    ride.fetch_eventually("secret/db").await;
    let first = ride.tokens.current().unwrap();
    post(&bao, "/v1/auth/token/revoke-accessor", &json!({"accessor": first.accessor}));
    let failure = ride.fetch("secret/db").await.unwrap_err().to_string();
    assert!(failure.contains("the server does not know our token"), "{failure}");
    let again = ride.fetch_eventually("secret/db").await;
    assert!(again.session > first.id);
    assert!(ride.tokens.watch().borrow().find(first.id).is_none(), "its leases are dead");

    // … or by its own renewal.
    let role = json!({"token_policies": "app", "token_ttl": 3, "token_max_ttl": 600});
    post(&bao, "/v1/auth/approle/role/app", &role);
    let second = ride.tokens.current().unwrap();
    post(&bao, "/v1/auth/token/revoke-accessor", &json!({"accessor": second.accessor}));
    ride.tokens.lost(second.id).await;
    let third = ride.session_after(Some(&second)).await;
    post(&bao, "/v1/auth/token/revoke-accessor", &json!({"accessor": third.accessor}));
    ride.session_after(Some(&third)).await;
}

#[tokio::test]
async fn a_session_of_an_earlier_life_goes_on() {
    let (bao, files) = (OpenBao::start(), Files::new());
    let relay = Relay::before(bao.address());
    bao.put_secret("db", &json!({"password": "one"}));
    let server = server(&relay.url(), approle(&bao, &files, 600, 3600));
    let ride = Ride::start(&server);
    let session = ride.session_after(None).await;
    drop(ride);
    relay.forget();
    let ride = Ride::adopting(&server, Some((*session).clone()));
    assert_eq!(ride.fetch_eventually("secret/db").await.session, session.id);
    eventually("its renewal", || relay.count("renew-self") == 1).await;
    assert_eq!(relay.count("/login"), 0, "{:?}", relay.seen());
}

#[tokio::test]
async fn a_quiet_system_asks_only_what_its_leases_require() {
    let (bao, files) = (OpenBao::start(), Files::new());
    let relay = Relay::before(bao.address());
    bao.put_secret("db", &json!({"password": "one"}));
    let mut server = server(&relay.url(), approle(&bao, &files, 10, 3600));
    server.renew_at = 0.1;
    let ride = Ride::start(&server);
    ride.session_after(None).await;
    let mut all = JoinSet::new();
    for _ in 0..20 {
        let broker = ride.broker.clone();
        all.spawn(async move { broker.fetch(&source("secret/db")).await });
    }
    for held in all.join_all().await {
        assert_eq!(text(&held.unwrap().fetched, "password"), "one");
    }
    let mut seen = relay.seen();
    // On a slow machine a second may have passed.
    seen.retain(|line| line != RENEWAL);
    assert_eq!(
        seen,
        [
            "POST /v1/auth/approle/login",
            "GET /v1/sys/internal/ui/mounts/secret/db",
            "GET /v1/secret/data/db",
        ]
    );
    relay.forget();
    eventually("three renewals", || relay.seen().len() >= 3).await;
    let seen = relay.seen();
    assert!(seen.iter().all(|line| line == RENEWAL), "{seen:?}");
}
