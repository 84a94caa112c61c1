//! Configuration from a volume, from HTTP and from etcd: news arrive, and what is not valid does not.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pillion_testkit::{Etcd, Origin, Pillion, Relay, Volume, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::bed::{assert_said, read, status};
use crate::pillion;

/// A set with the files of one source, which have to be JSON.
fn ride(folder: &TempDir, source: &str, file: &str) -> Pillion {
    let config = format!(
        "secrets:\n  configs: {{app: {{{source}}}}}\n  sets: {{main: {{directory: {}, files: {{conf: \
         {{config: app}}}}, checks: [{{json: conf/{file}}}]}}}}\n",
        folder.path().join("to").display()
    );
    pillion().config(config).start_ready()
}

fn delivered(folder: &TempDir, file: &str) -> String {
    read(&folder.path().join("to/conf").join(file))
}

/// Puts news at the source: good ones are delivered, others refused with a reason, while the old ones
/// stay; then good ones again.
fn follow(folder: &TempDir, pillion: &Pillion, file: &str, mut put: impl FnMut(&str)) {
    let is = |text: &str| eventually(("delivered", text), || delivered(folder, file) == text);
    is("{\"a\": 1}");
    put("{\"a\": 2}");
    is("{\"a\": 2}");
    let refused = "pillion_secrets_transactions_total{set=\"main\",outcome=\"refused\"}";
    put("{\"a\": ");
    eventually("the refusal", || pillion.metric(refused) == 1.0);
    assert_eq!(delivered(folder, file), "{\"a\": 2}");
    let page = status(pillion);
    let error = page["sets"]["main"]["error"].as_str().unwrap();
    assert!(error.contains(&format!("check: conf/{file}")) && error.contains("JSON"), "{error}");
    put("{\"a\": 3}");
    is("{\"a\": 3}");
    eventually("that all is well", || status(pillion)["sets"]["main"]["error"] == Value::Null);
    let settled = "a set has a new version, and the app uses it";
    let expected = [settled, settled, "a set was not changed as it should be", settled];
    assert_said(pillion, "set", "main", &expected);
}

#[test]
fn a_volume_is_followed_through_its_swaps() {
    let (folder, mut volume) = (TempDir::new().unwrap(), Volume::new());
    volume.project(&[("app.json", "{\"a\": 1}"), ("other", "1")]);
    let pillion = ride(&folder, &format!("files: {}", volume.path().display()), "app.json");
    let mut count = 1;
    follow(&folder, &pillion, "app.json", |text| {
        count += 1;
        volume.project(&[("app.json", text), ("other", &count.to_string())]);
    });
    assert_eq!(delivered(&folder, "other"), "4");
    volume.project(&[("app.json", "{}")]);
    eventually("that a file has gone", || !folder.path().join("to/conf/other").exists());
    let version = status(&pillion)["configs"]["app"]["version"].clone();
    assert!(version.as_str().unwrap().ends_with(".5"), "{version}");
}

#[test]
fn a_file_is_asked_for_with_its_tag_and_kept_while_the_server_fails() {
    let folder = TempDir::new().unwrap();
    let content = Arc::new(Mutex::new("{\"a\": 1}".to_owned()));
    let shown = content.clone();
    // One request for each connection, as the relay wants it.
    let origin = Origin::start(move |mut conn| {
        let Some((head, _)) = conn.request() else { return };
        let text = shown.lock().unwrap().clone();
        let tag = format!("\"{}\"", STANDARD.encode(&text));
        conn.send(match head.field("if-none-match") == Some(&tag) {
            true => {
                format!("HTTP/1.1 304 Not Modified\r\netag: {tag}\r\nconnection: close\r\n\r\n")
            }
            false => format!("HTTP/1.1 200 OK\r\netag: {tag}\r\nconnection: close\r\n\r\n{text}"),
        });
    });
    let relay = Relay::before(origin.address());
    let source = format!("http: \"{}/app.json\", interval: 50ms", relay.url());
    let pillion = ride(&folder, &source, "app.json");
    follow(&folder, &pillion, "app.json", |text| text.clone_into(&mut content.lock().unwrap()));
    relay.answer("", "503 Unavailable");
    let staleness = || pillion.metric("pillion_secrets_staleness_seconds{secret=\"app\"}");
    eventually("staleness", || staleness() > 0.0);
    assert_eq!(delivered(&folder, "app.json"), "{\"a\": 3}");
    let asked = origin.requests();
    let tagged = asked.iter().filter(|(head, _)| head.field("if-none-match").is_some()).count();
    assert_eq!(tagged, asked.len() - 1, "all but the first");
    relay.pass();
    eventually("that it is fresh again", || staleness() == 0.0);
    let news = "a configuration source has other files";
    let cannot = "a configuration source cannot be read; what was delivered stays";
    let again = "a configuration source can be read again";
    assert_said(&pillion, "config", "app", &[news, news, news, news, cannot, again]);
}

#[test]
fn keys_of_etcd_are_followed_and_kept_while_it_is_away() {
    let (folder, mut etcd) = (TempDir::new().unwrap(), Etcd::start());
    let encoded = |text: &str| STANDARD.encode(text);
    let put = |etcd: &Etcd, text: &str| {
        etcd.call("/v3/kv/put", &json!({"key": encoded("/shop/app.json"), "value": encoded(text)}));
    };
    put(&etcd, "{\"a\": 1}");
    let source = format!("etcd: \"http://{}\", prefix: /shop/", etcd.address());
    let pillion = ride(&folder, &source, "app.json");
    follow(&folder, &pillion, "app.json", |text| put(&etcd, text));
    etcd.peer.kill();
    let staleness = || pillion.metric("pillion_secrets_staleness_seconds{secret=\"app\"}");
    eventually("staleness", || staleness() > 0.0);
    assert_eq!(delivered(&folder, "app.json"), "{\"a\": 3}");
    etcd.peer.restart();
    eventually("that it is fresh again", || staleness() == 0.0);
    put(&etcd, "{\"a\": 4}");
    eventually("the news", || delivered(&folder, "app.json") == "{\"a\": 4}");
}
