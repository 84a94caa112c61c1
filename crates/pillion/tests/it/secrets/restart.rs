//! Restarts of the app with new values, and with the old ones where it does not come up again.

use std::time::{Duration, Instant};

use pillion_testkit::{Builder, Pillion, eventually, eventually_some, python};
use serde_json::json;

use super::bed::{Bed, log};
use crate::{peer, pillion};

/// Pillion with an app that notes with which value it is started, ends at once with `bad`, does not
/// listen with `stuck`, and with others does. The shell finds its value by `value`.
fn ride(bed: &Bed, config: String, value: &str) -> Pillion {
    let script = format!(
        "value={value}; echo \"$value\" >> {}; case \"$value\" in bad) exit 3;; stuck) exec sleep 1000;; \
         esac; exec {} {}",
        bed.path("starts").display(),
        python().display(),
        peer("app.py").display()
    );
    let builder: Builder = pillion().config(config).app(["sh", "-c", &script]);
    builder.start_ready()
}

fn put(bed: &Bed, value: &str) {
    bed.bao.put_secret("kv", &json!({"key": value}));
}

/// Waits until the app was started with these values, in this order, and perhaps with more.
fn started(bed: &Bed, values: &[&str]) {
    let wanted: String = values.iter().map(|value| format!("{value}\n")).collect();
    eventually(("starts with", values), || bed.read("starts").starts_with(&wanted));
}

/// A variable `VALUE` that restarts the app when it changes, with more settings.
fn config(bed: &Bed, more: &str) -> String {
    format!(
        "secrets:\n  {}\n  secrets: {{kv: {{path: secret/kv, interval: 100ms}}}}\n  environment: \
         {{variables: {{VALUE: {{secret: kv, key: key}}}}, restart: true{more}}}\n",
        bed.server()
    )
}

/// What the first line says whose outcome is `returned`.
fn returned(pillion: &Pillion, field: &str) -> String {
    eventually_some("the report", || {
        let lines = log(pillion);
        let line = lines.iter().find(|line| line["outcome"] == "returned")?;
        Some(line[field].as_str().unwrap().to_owned())
    })
}

#[test]
fn variables_that_the_app_does_not_survive_are_taken_back() {
    let bed = Bed::new();
    put(&bed, "good");
    let pillion = ride(&bed, config(&bed, ""), "$VALUE");
    put(&bed, "bad");
    started(&bed, &["good", "bad", "good"]);
    let transactions = |outcome: &str| {
        let name = "pillion_secrets_transactions_total{set=\"the environment\",outcome=\"";
        pillion.metric(&format!("{name}{outcome}\"}}"))
    };
    eventually("the report", || transactions("returned") == 1.0);
    assert_eq!(
        returned(&pillion, "error"),
        "the app ended with code 3; the app is ready with the old variables"
    );
    eventually("ready", || pillion.admin.get("/ready").0 == 200);
    put(&bed, "better");
    started(&bed, &["good", "bad", "good", "better"]);
    eventually("that it is in use", || transactions("settled") == 2.0);
}

#[test]
fn variables_that_the_app_hangs_with_are_taken_back_after_the_time_that_is_configured() {
    let bed = Bed::new();
    put(&bed, "good");
    let pillion = ride(&bed, config(&bed, ", confirm_timeout: 2s"), "$VALUE");
    let before = Instant::now();
    put(&bed, "stuck");
    started(&bed, &["good", "stuck", "good"]);
    let took = before.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(50), "{took:?}");
    let error = returned(&pillion, "error");
    let start = "the app was not ready within secrets.environment.confirm_timeout, 2s: ";
    let end = "; the app is ready with the old variables";
    assert!(error.starts_with(start) && error.ends_with(end), "{error}");
    eventually("ready", || pillion.admin.get("/ready").0 == 200);
}

#[test]
fn files_that_the_app_does_not_survive_or_does_not_listen_with_are_taken_back() {
    let bed = Bed::new();
    put(&bed, "good");
    let config = format!(
        "secrets:\n  {}\n  secrets: {{kv: {{path: secret/kv, interval: 100ms}}}}\n  sets:\n    main:\n      \
         directory: {}\n      files: {{value: {{secret: kv, key: key}}}}\n      tell: {{restart: true}}\n      \
         confirm: {{ready: true}}\n      confirm_timeout: 5s\n",
        bed.server(),
        bed.path("to").display()
    );
    let pillion = ride(&bed, config, &format!("$(cat {})", bed.path("to/value").display()));
    put(&bed, "bad");
    started(&bed, &["good", "bad", "good"]);
    let what = returned(&pillion, "what");
    assert!(what.contains("confirm: the app ended with code 3 after its restart"), "{what}");
    // The values that were refused are tried again; others are tried at once.
    put(&bed, "better");
    eventually("better", || bed.read("starts").ends_with("better\n"));
    let settled = "pillion_secrets_transactions_total{set=\"main\",outcome=\"settled\"}";
    pillion.wait_for_metric(settled, 2.0);
    put(&bed, "stuck");
    eventually("the way back", || bed.read("starts").ends_with("better\nstuck\nbetter\n"));
    assert_eq!(bed.read("to/value"), "better");
    put(&bed, "best");
    eventually("best", || bed.read("starts").ends_with("best\n"));
    pillion.wait_for_metric(settled, 3.0);
    assert_eq!(bed.read("to/value"), "best");
}

#[test]
fn an_app_that_ends_after_all_is_well_still_ends_pillion() {
    let bed = Bed::new();
    put(&bed, "good");
    let mut pillion = ride(&bed, config(&bed, ""), "$VALUE");
    put(&bed, "better");
    started(&bed, &["good", "better"]);
    let settled = "pillion_secrets_transactions_total{set=\"the environment\",outcome=\"settled\"}";
    pillion.wait_for_metric(settled, 2.0);
    let page: serde_json::Value =
        serde_json::from_str(&pillion.admin.get("/server_info").1).unwrap();
    let app = u32::try_from(page["app"]["pid"].as_u64().unwrap()).unwrap();
    pillion_testkit::send_signal(app, pillion_testkit::Signal::SIGKILL);
    assert_eq!(pillion.wait().code(), Some(137));
}
