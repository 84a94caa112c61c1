//! The role beside an app: what is shown, shipped and counted, and what a reload keeps.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use pillion_testkit::eventually;
use serde_json::Value;

use super::{records, text};
use crate::pillion;

#[test]
fn what_the_app_writes_is_shown_shipped_and_counted() {
    let builder = pillion();
    let sink = builder.folder().join("sink.json");
    let config = format!(
        "logs:\n  resource: {{service.name: shop}}\n  sources: {{app: {{app: both, parse: json}}}}\n  \
         sinks: {{file: {{to: \"file:{}\", batch: {{wait: 10ms}}}}}}\n",
        text(&sink)
    );
    let script = r#"echo '{"level":"info","msg":"hello"}'; echo plain >&2; sleep 1000"#;
    let pillion = builder.config(config).app(["sh", "-c", script]).start();
    eventually("both lines are shipped", || records(&sink).len() == 2);
    let mut records = records(&sink);
    records.sort_by_key(|record| record["body"].to_string());
    assert_eq!((&records[0]["body"], &records[0]["stream"]), (&"hello".into(), &"stdout".into()));
    assert_eq!((&records[1]["body"], &records[1]["stream"]), (&"plain".into(), &"stderr".into()));
    assert_eq!(records[0]["resource"]["service.name"], "shop");
    eventually("the app's output is shown", || {
        pillion.stdout.text().contains("hello") && pillion.stderr.text().contains("plain")
    });
    eventually("what was delivered is counted", || {
        let status: Value = serde_json::from_str(&pillion.admin.get("/logs").1).unwrap();
        status["sinks"][0]["delivered"] == 2 && status["sources"][0]["records"] == 2
    });
    let metrics = pillion.admin.get("/metrics").1;
    assert!(metrics.contains("pillion_logs_delivered_total{sink=\"file\"} 2"), "{metrics}");
}

#[test]
fn a_state_folder_that_cannot_be_is_said_with_its_cause_and_used_once_it_can_be() {
    let builder = pillion();
    let path = |name: &str| builder.folder().join(name);
    let (parent, log, sink) = (path("parent"), path("app.log"), path("sink"));
    fs::write(&parent, "in the way").unwrap();
    fs::write(&log, "a line\n").unwrap();
    let config = format!(
        "logs:\n  state: {}/state\n  sources: {{file: {{files: {}}}}}\n  sinks: {{file: {{to: \
         \"file:{}\", batch: {{wait: 10ms}}}}}}\n",
        text(&parent),
        text(&log),
        text(&sink),
    );
    let pillion = builder.config(config).start();
    let said = format!("cannot keep positions of logs in {}/state: Not a directory", text(&parent));
    eventually("the role says what is wrong", || pillion.stderr.text().contains(&said));
    fs::remove_file(&parent).unwrap();
    eventually("the line is shipped", || !records(&sink).is_empty());
}

#[test]
fn a_reload_adds_a_source_and_loses_nothing() {
    let builder = pillion();
    let path = |name: &str| builder.folder().join(name);
    let (one, two, sink, file) = (path("1.log"), path("2.log"), path("sink"), path("p.yaml"));
    let (state, access) = (path("state"), path("access.log"));
    fs::write(&one, "first\n").unwrap();
    fs::write(&two, "second\n").unwrap();
    let config = |sources: &str| {
        format!(
            "access_log: {{output: \"file:{}\"}}\nlogs:\n  state: {}\n  sources: {{{sources}}}\n  \
             sinks: {{file: {{to: \"file:{}\", batch: {{wait: 10ms}}}}}}\n",
            text(&access),
            text(&state),
            text(&sink),
        )
    };
    let source = |name: &str, file: &Path| format!("{name}: {{files: {}}}", text(file));
    fs::write(&file, config(&source("one", &one))).unwrap();
    let pillion = builder.config_path(&file).start();
    let bodies = || records(&sink).iter().map(|record| record["body"].clone()).collect::<Vec<_>>();
    eventually("the first source is shipped", || bodies() == ["first"]);
    let both = format!("{}, {}", source("one", &one), source("two", &two));
    fs::write(&file, config(&both)).unwrap();
    eventually("the second source is shipped too", || bodies() == ["first", "second"]);
    let mut one = OpenOptions::new().append(true).open(&one).unwrap();
    one.write_all(b"third\n").unwrap();
    eventually("the first goes on", || bodies() == ["first", "second", "third"]);
    drop(pillion);
}
