//! Secrets without a lease.

use pillion_model::secrets::SecretSource;
use pillion_secrets::bao::Trouble;
use pillion_secrets::broker::Look;
use pillion_testkit::{OpenBao, Relay};
use serde_json::json;

use crate::bed::{Files, Ride, post, root, server, source, text};

#[tokio::test]
async fn a_kv_secret_is_had_by_either_path_from_either_version_of_the_engine() {
    let (bao, files) = (OpenBao::start(), Files::new());
    let ride = Ride::start(&server(&bao.url(), root(&bao, &files)));
    post(&bao, "/v1/sys/mounts/old", &json!({"type": "kv", "options": {"version": "1"}}));
    post(&bao, "/v1/old/db", &json!({"password": "one"}));
    bao.put_secret("team/a%20b", &json!({"n": 1_234_567_890_123_u64, "o": {"x": [true]}}));
    for path in ["secret/team/a b", "secret/data/team/a b"] {
        let fetched = ride.fetch(path).await.unwrap().fetched;
        assert_eq!(text(&fetched, "n"), "1234567890123");
        assert_eq!(text(&fetched, "o"), r#"{"x":[true]}"#);
        assert_eq!((fetched.version, &fetched.lease), (Some(1), &None));
    }
    let fetched = ride.fetch("old/db").await.unwrap().fetched;
    assert_eq!(text(&fetched, "password"), "one");
    // The engine's hint of 32 days is no lease.
    assert_eq!((fetched.version, &fetched.lease), (None, &None));
}

#[tokio::test]
async fn a_change_is_seen_by_the_version_alone() {
    let (bao, files) = (OpenBao::start(), Files::new());
    let relay = Relay::before(bao.address());
    let ride = Ride::start(&server(&relay.url(), root(&bao, &files)));
    bao.put_secret("db", &json!({"password": "one"}));
    let one = ride.fetch("secret/db").await.unwrap().fetched;
    relay.forget();
    for _ in 0..3 {
        let look = ride.broker.look(&source("secret/db"), &one).await.unwrap();
        assert!(matches!(look, Look::Unchanged), "{look:?}");
    }
    assert_eq!(relay.seen(), ["GET /v1/secret/metadata/db"; 3]);
    bao.put_secret("db", &json!({"password": "two"}));
    let Look::Fetched(two) = ride.broker.look(&source("secret/db"), &one).await.unwrap() else {
        panic!("a new version was not seen");
    };
    assert_eq!((two.fetched.version, text(&two.fetched, "password")), (Some(2), "two".to_owned()));
    let pinned = SecretSource { version: Some(1), ..source("secret/db") };
    let old = ride.broker.fetch(&pinned).await.unwrap().fetched;
    assert_eq!(text(&old, "password"), "one");
    let look = ride.broker.look(&pinned, &old).await.unwrap();
    assert!(matches!(look, Look::Unchanged), "{look:?}");
}

#[tokio::test]
async fn who_may_not_see_the_metadata_reads_instead() {
    let (bao, files) = (OpenBao::start(), Files::new());
    bao.put_policy("reader", "path \"secret/data/db\" { capabilities = [\"read\"] }");
    bao.put_secret("db", &json!({"password": "one"}));
    let path = files.write("reader", &bao.token("reader", 3600));
    let ride = Ride::start(&server(&bao.url(), crate::bed::token_file(&path)));
    let one = ride.fetch("secret/db").await.unwrap().fetched;
    let look = ride.broker.look(&source("secret/db"), &one).await.unwrap();
    assert!(matches!(look, Look::Fetched(_)), "{look:?}");
}

#[tokio::test]
async fn what_cannot_be_read_says_why_and_what_to_do() {
    let (bao, files) = (OpenBao::start(), Files::new());
    bao.put_policy("reader", "path \"secret/data/*\" { capabilities = [\"read\"] }");
    for name in ["deleted", "destroyed"] {
        bao.put_secret(name, &json!({"password": "hunter2"}));
    }
    assert_eq!(
        bao.rest_with(bao.root_token()).call("DELETE", "/v1/secret/data/deleted", "").status,
        204
    );
    post(&bao, "/v1/secret/destroy/destroyed", &json!({"versions": [1]}));
    let path = files.write("reader", &bao.token("reader", 3600));
    let ride = Ride::start(&server(&bao.url(), crate::bed::token_file(&path)));
    for (path, words) in [
        ("secret/deleted", "cannot read secret/deleted: version 1 was deleted at 20"),
        ("secret/destroyed", "cannot read secret/destroyed: version 1 was destroyed"),
        ("secret/missing", "cannot read secret/missing: there is nothing at this path"),
        (
            "other/db",
            "cannot read other/db: the token is valid, but none of its policies (default, reader) allows this",
        ),
        ("secret/metadata/missing", "none of its policies"),
        ("../sys/seal", "must not contain `.` or `..`"),
    ] {
        let failure = ride.fetch(path).await.unwrap_err().to_string();
        assert!(failure.contains(words), "{path}: {failure}");
        assert!(!failure.contains("hunter2"), "{failure}");
    }
}

#[tokio::test]
async fn a_namespace_has_its_own_secrets() {
    let (bao, files) = (OpenBao::start(), Files::new());
    post(&bao, "/v1/sys/namespaces/team", &json!({}));
    let inside = bao.rest_with(bao.root_token()).header("x-vault-namespace: team");
    let kv = json!({"type": "kv", "options": {"version": "1"}});
    assert_eq!(inside.post("/v1/sys/mounts/own", &kv).status, 204);
    assert_eq!(inside.post("/v1/own/db", &json!({"password": "theirs"})).status, 204);
    let mut server = server(&bao.url(), root(&bao, &files));
    let outside = Ride::start(&server);
    server.namespace = Some("team".to_owned());
    let ride = Ride::start(&server);
    assert_eq!(text(&ride.fetch("own/db").await.unwrap().fetched, "password"), "theirs");
    let failure = outside.fetch("own/db").await.unwrap_err();
    assert!(matches!(failure.error.trouble, Trouble::NotFound { .. }), "{failure}");
}
