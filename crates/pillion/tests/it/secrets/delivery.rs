//! Secrets for the app beside us: files and variables, restarts, reloads, and what is shown.

use std::process::Command;

use pillion_testkit::{ClosedPort, Signal, eventually};
use serde_json::{Value, json};

use super::bed::Bed;
use crate::{assert_promtool_takes, pillion};

#[test]
fn the_app_starts_with_its_secrets_and_none_is_ever_shown() {
    let bed = Bed::new();
    bed.bao.put_secret("db", &json!({"password": "s3cr3t-one"}));
    let config = format!(
        "secrets:\n  {}\n  secrets: {{db: {{path: secret/db, interval: 100ms}}}}\n  sets: {{files: \
         {{directory: {}, files: {{pw: {{secret: db, key: password}}}}}}}}\n  \
         environment: {{variables: {{PASSWORD: {{secret: db, key: password}}}}, restart: true}}\n",
        bed.server(),
        bed.path("to").display()
    );
    let script = format!(
        "cat {1} >> {0}; echo \" $PASSWORD\" >> {0}; while :; do sleep 0.05; done",
        bed.path("starts").display(),
        bed.path("to/pw").display()
    );
    let pillion = pillion().arg("--inbound").arg("off").config(config).app(["sh", "-c", &script]);
    let mut pillion = pillion.start_ready();
    eventually("the start", || bed.read("starts") == "s3cr3t-one s3cr3t-one\n");
    bed.bao.put_secret("db", &json!({"password": "s3cr3t-two"}));
    // Two transactions, in any order: the restarted app may have seen either file.
    eventually("a restart with the new value, and the new file", || {
        bed.read("starts").ends_with(" s3cr3t-two\n") && bed.read("to/pw") == "s3cr3t-two"
    });
    eventually("the status", || {
        let page: Value = serde_json::from_str(&pillion.admin.get("/secrets").1).unwrap();
        page["secrets"]["db"]["version"] == 2
            && page["sets"]["files"]["state"] == "in use"
            && page["sets"]["files"]["uses"]["db"] == 2
            && page["sets"]["the environment"]["state"] == "in use"
    });
    pillion.wait_for_metric("pillion_secrets_version{secret=\"db\"}", 2.0);
    assert!(pillion.metric("pillion_secrets_server_requests_total") > 2.0);
    let shown =
        ["/secrets", "/metrics", "/config", "/config_dump"].map(|it| pillion.admin.get(it).1);
    pillion.signal(Signal::SIGTERM);
    let ended = pillion.wait();
    for text in shown.iter().chain([&ended.stdout, &ended.stderr]) {
        assert!(!text.contains("s3cr3t") && !text.contains(bed.bao.root_token()), "{text}");
    }
}

#[test]
fn the_metrics_of_all_roles_together_are_openmetrics_that_others_accept() {
    let bed = Bed::new();
    bed.bao.put_secret("db", &json!({"password": "s3cr3t"}));
    let refusing = ClosedPort::new();
    let config = format!(
        "secrets:\n  {}\n  secrets: {{db: {{path: secret/db}}}}\n  sets: {{files: {{directory: {}, \
         files: {{pw: {{secret: db, key: password}}}}}}}}\nlogs:\n  state: {}\n  \
         sources: {{app: {{app: both}}}}\n  sinks:\n    none: {{to: 'null:', batch: {{wait: 10ms}}}}\n    \
         away: {{to: 'forward://{}', batch: {{wait: 10ms}}}}\n",
        bed.server(),
        bed.path("to").display(),
        bed.path("state").display(),
        refusing.address(),
    );
    let app = ["sh", "-c", "echo hello; sleep 1000"];
    let pillion = pillion().arg("--inbound").arg("off").config(config).app(app).start_ready();
    pillion.wait_for_metric("pillion_logs_delivered_total{sink=\"none\"}", 1.0);
    eventually("the other sink is tried again", || {
        pillion.metric("pillion_logs_retries_total{sink=\"away\",cause=\"connect\"}") >= 1.0
    });
    let page = pillion.admin.get("/metrics").1;
    for name in ["pillion_logs_", "pillion_secrets_", "pillion_connections"] {
        assert!(page.lines().any(|line| line.starts_with(name)), "{name} in {page}");
    }
    assert_promtool_takes(&pillion, &page);
}

#[test]
fn a_reload_adds_and_removes_sets_and_leaves_the_others_alone() {
    let bed = Bed::new();
    bed.bao.put_secret("db", &json!({"a": "1", "b": "2"}));
    let set = |name: &str, key: &str| {
        format!(
            "{name}: {{directory: {}, files: {{value: {{secret: db, key: {key}}}}}}}",
            bed.path(name).display()
        )
    };
    let config = |sets: &[String]| {
        format!(
            "secrets:\n  {}\n  secrets: {{db: {{path: secret/db, interval: 1h}}}}\n  sets: {{{}}}\n",
            bed.server(),
            sets.join(", ")
        )
    };
    let pillion = pillion().config(config(&[set("one", "a")])).start_ready();
    assert_eq!(bed.read("one/value"), "1");
    let requests = pillion.metric("pillion_secrets_server_requests_total");
    pillion.write_config(&config(&[set("one", "a"), set("two", "b")]));
    assert_eq!(pillion.admin.post("/reload").0, 200);
    eventually("the second set", || bed.read("two/value") == "2");
    assert_eq!(
        pillion.metric("pillion_secrets_server_requests_total"),
        requests,
        "what is known already is not asked for"
    );
    pillion.write_config(&config(&[set("two", "a")]));
    assert_eq!(pillion.admin.post("/reload").0, 200);
    eventually("the changed set", || bed.read("two/value") == "1");
    assert_eq!(bed.read("one/value"), "1", "files of a set that is gone stay");
    let page: Value = serde_json::from_str(&pillion.admin.get("/secrets").1).unwrap();
    assert!(page["sets"]["one"].is_null(), "{page}");
}

#[test]
fn the_status_is_shown_for_people_and_as_json() {
    let bed = Bed::new();
    bed.bao.put_secret("db", &json!({"a": "s3cr3t"}));
    let config = format!(
        "secrets:\n  {}\n  secrets: {{db: {{path: secret/db}}}}\n  sets: {{main: {{directory: {}, \
         files: {{value: {{secret: db, key: a}}}}}}}}\n",
        bed.server(),
        bed.path("to").display()
    );
    let pillion = pillion().config(config).start_ready();
    let admin = format!("unix:{}", pillion.folder().join("admin.sock").display());
    let status = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillion"));
        command.args(["secrets", "status", "--admin", &admin]).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = status(&[]);
    for part in [
        "server http://",
        "secret db: generation 1, version 1",
        "look in",
        "set main: in use, version 1, confirmed 1, db of generation 1",
        "settled: compare",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json: Value = serde_json::from_str(&status(&["--json"])).unwrap();
    assert_eq!(json["sets"]["main"]["last"]["outcome"], "settled");
    assert!(!json.to_string().contains("s3cr3t"));
    let nobody = Command::new(env!("CARGO_BIN_EXE_pillion"))
        .args(["secrets", "status", "--admin", "unix:/nowhere/admin.sock"])
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
}

#[test]
fn configuration_is_delivered_like_secrets_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("app.json"), "{\"a\": 1}").unwrap();
    let to = folder.path().join("to");
    let config = format!(
        "secrets:\n  configs: {{app: {{files: {}}}}}\n  sets: {{config: {{directory: {}, files: \
         {{conf: {{config: app}}}}, checks: [{{json: conf/app.json}}]}}}}\n",
        volume.display(),
        to.display()
    );
    let pillion = pillion().config(config).start_ready();
    let delivered = || super::bed::read(&to.join("conf/app.json"));
    assert_eq!(delivered(), "{\"a\": 1}");
    std::fs::write(volume.join("app.json"), "{\"a\": ").unwrap();
    eventually("the refusal", || pillion.stderr.text().contains("\"outcome\":\"refused\""));
    assert_eq!(delivered(), "{\"a\": 1}");
    std::fs::write(volume.join("app.json"), "{\"a\": 2}").unwrap();
    eventually("the new state", || delivered() == "{\"a\": 2}");
}

#[test]
fn a_start_while_the_server_is_away_uses_the_sealed_cache() {
    let mut bed = Bed::new();
    bed.bao.put_secret("db", &json!({"a": "s3cr3t"}));
    std::fs::write(bed.path("key"), "0123456789abcdef0123456789abcdef").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(bed.path("key"), mode).unwrap();
    let config = |to: &str| {
        format!(
            "secrets:\n  {}\n  secrets: {{db: {{path: secret/db}}}}\n  cache: {{file: {}, key_file: \
             {}}}\n  sets: {{main: {{directory: {}, files: {{value: {{secret: db, key: a}}}}}}}}\n",
            bed.server(),
            bed.path("cache").display(),
            bed.path("key").display(),
            bed.path(to).display()
        )
    };
    let (first, second) = (config("one"), config("two"));
    let mut before = pillion().config(first).start_ready();
    eventually("the cache", || bed.path("cache").exists());
    before.signal(Signal::SIGTERM);
    before.wait();
    bed.bao.peer.kill();
    let pillion = pillion().config(second).start_ready();
    assert_eq!(bed.read("two/value"), "s3cr3t");
    assert!(pillion.stderr.text().contains("sealed cache"));
    assert!(pillion.metric("pillion_secrets_staleness_seconds{secret=\"db\"}") > 0.0);
}

#[test]
fn without_restart_the_app_goes_on_with_what_it_has() {
    let bed = Bed::new();
    bed.bao.put_secret("db", &json!({"a": "good"}));
    let config = format!(
        "secrets:\n  {}\n  secrets: {{db: {{path: secret/db, interval: 100ms}}}}\n  environment: \
         {{variables: {{VALUE: {{secret: db, key: a}}}}}}\n",
        bed.server()
    );
    let script = format!("echo \"$VALUE\" >> {}; exec sleep 1000", bed.path("starts").display());
    let pillion = pillion().arg("--inbound").arg("off").config(config).app(["sh", "-c", &script]);
    let pillion = pillion.start_ready();
    eventually("the start", || bed.read("starts") == "good\n");
    bed.bao.put_secret("db", &json!({"a": "better"}));
    pillion.wait_for_metric("pillion_secrets_version{secret=\"db\"}", 2.0);
    let settled = "pillion_secrets_transactions_total{set=\"the environment\",outcome=\"settled\"}";
    pillion.wait_for_metric(settled, 2.0);
    assert_eq!(bed.read("starts"), "good\n");
}
