//! Configuration from a real etcd.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pillion_model::secrets::ConfigOrigin;
use pillion_secrets::sources::{Source, SourceError};
use pillion_testkit::Etcd;
use serde_json::{Value, json};

use super::{LIMITS, is_silent, next, seen, source, texts, until};

fn at(etcd: &Etcd, prefix: &str) -> Source {
    source(&ConfigOrigin::Etcd {
        url: format!("http://{}", etcd.address()).into(),
        ca: None,
        identity: None,
        prefix: prefix.to_owned(),
    })
}

fn code(text: &str) -> String {
    STANDARD.encode(text)
}

fn put(etcd: &Etcd, key: &str, value: &str) -> Value {
    etcd.call("/v3/kv/put", &json!({ "key": code(key), "value": code(value) }))
}

fn delete(etcd: &Etcd, key: &str) {
    etcd.call("/v3/kv/deleterange", &json!({ "key": code(key) }));
}

fn revision(answer: &Value) -> i64 {
    answer["header"]["revision"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn keys_below_a_prefix_are_given_and_every_change_of_them() {
    let etcd = Etcd::start();
    put(&etcd, "/app/a", "1");
    put(&etcd, "/app/b/c", "2");
    put(&etcd, "/apples", "not ours");
    let mut source = at(&etcd, "/app/");
    let first = next(&mut source).await.unwrap();
    assert_eq!(texts(&first), seen(&[("a", "1"), ("b/c", "2")]));
    assert_eq!(first.version, "revision 4");
    put(&etcd, "/app/a", "one");
    until(&mut source, &seen(&[("a", "one"), ("b/c", "2")])).await;
    put(&etcd, "/apple", "not ours");
    delete(&etcd, "/app/b/c");
    let third = until(&mut source, &seen(&[("a", "one")])).await;
    assert_eq!(third.version, "revision 7");
    put(&etcd, "/app/a", "one");
    is_silent(&mut source).await;
    // What changes together is given together.
    let requests = ["x", "y"].map(
        |key| json!({ "request_put": { "key": code(&format!("/app/{key}")), "value": code("t") } }),
    );
    etcd.call("/v3/kv/txn", &json!({ "success": requests }));
    let given = next(&mut source).await.unwrap();
    assert_eq!(texts(&given), seen(&[("a", "one"), ("x", "t"), ("y", "t")]));
    assert!(source.proven().borrow().is_some());
}

#[tokio::test]
async fn the_whole_store_can_be_read_and_an_empty_one_too() {
    let etcd = Etcd::start();
    let mut source = at(&etcd, "");
    assert!(next(&mut source).await.unwrap().files.is_empty());
    put(&etcd, "a", "1");
    until(&mut source, &seen(&[("a", "1")])).await;
    delete(&etcd, "a");
    until(&mut source, &seen(&[])).await;
}

#[tokio::test]
async fn changes_that_were_compacted_away_are_found_by_reading_all() {
    let etcd = Etcd::start();
    put(&etcd, "app/a", "1");
    let mut source = at(&etcd, "app/");
    // Read, and no watch yet.
    next(&mut source).await.unwrap();
    put(&etcd, "app/b", "2");
    put(&etcd, "app/a", "3");
    let last = revision(&put(&etcd, "other", ""));
    etcd.call("/v3/kv/compaction", &json!({ "revision": last.to_string(), "physical": true }));
    until(&mut source, &seen(&[("a", "3"), ("b", "2")])).await;
    put(&etcd, "app/c", "4");
    until(&mut source, &seen(&[("a", "3"), ("b", "2"), ("c", "4")])).await;
}

#[tokio::test]
async fn a_key_that_cannot_be_a_file_is_an_error_until_it_is_gone() {
    let etcd = Etcd::start();
    put(&etcd, "app/a", "1");
    let mut source = at(&etcd, "app");
    next(&mut source).await.unwrap();
    for key in ["app/../x", "appa"] {
        put(&etcd, key, "hunter2");
        let error = next(&mut source).await.unwrap_err();
        assert!(matches!(error, SourceError::Unfit(_)), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        delete(&etcd, key);
        put(&etcd, "app/a", key);
        until(&mut source, &seen(&[("a", key)])).await;
    }
}

#[tokio::test]
async fn what_is_below_a_prefix_is_bounded_and_given_again_when_it_fits() {
    let etcd = Etcd::start();
    for number in 0..LIMITS.files {
        put(&etcd, &format!("/app/{number}"), "x");
    }
    let mut source = at(&etcd, "/app/");
    assert_eq!(next(&mut source).await.unwrap().files.len(), LIMITS.files);
    put(&etcd, "/app/more", "x");
    let error = next(&mut source).await.unwrap_err().to_string();
    assert!(error.starts_with("9 files are more than secrets.limits.files"), "{error}");
    delete(&etcd, "/app/0");
    put(&etcd, "/app/more", &"x".repeat(LIMITS.bytes - LIMITS.files + 2));
    let error = next(&mut source).await.unwrap_err().to_string();
    assert!(error.starts_with("65 bytes are more than secrets.limits.bytes"), "{error}");
    put(&etcd, "/app/more", &"x".repeat(LIMITS.bytes - LIMITS.files + 1));
    let mut given = next(&mut source).await;
    while let Err(SourceError::Unfit(_)) = given {
        given = next(&mut source).await;
    }
    assert_eq!(given.unwrap().files.len(), LIMITS.files);
}
