//! Where logs go: each takes a line and shows it.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use pillion_testkit::{
    Collector, Loki, OpenSearch, Rest, Rsyslog, eventually, eventually_some, free_address, tool,
};
use serde_json::{Value, json};

#[test]
fn opensearch_finds_the_documents_of_an_index_also_after_a_kill() {
    let mut opensearch = OpenSearch::start();
    assert_eq!(opensearch.documents("logs-*"), [Value::Null; 0]);
    let bulk = "{\"create\":{}}\n{\"message\":\"one\"}\n{\"create\":{}}\n{\"message\":\"two\"}\n";
    let taken = opensearch.rest().call("POST", "/logs-app/_bulk", bulk).json();
    assert_eq!(taken["errors"], false, "{taken}");
    let found = |opensearch: &OpenSearch| {
        let mut found = opensearch.documents("logs-*");
        found.sort_by_key(Value::to_string);
        found
    };
    let both = [json!({"message": "one"}), json!({"message": "two"})];
    assert_eq!(found(&opensearch), both);
    opensearch.restart();
    assert_eq!(found(&opensearch), both);
}

#[test]
fn loki_keeps_lines_by_stream_and_over_a_kill() {
    let mut loki = Loki::start();
    let push = |loki: &Loki, line: &str| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos().to_string();
        let stream = json!({"stream": {"app": "web"}, "values": [[now, line]]});
        let pushed = loki.rest().post("/loki/api/v1/push", &json!({"streams": [stream]}));
        assert_eq!(pushed.status, 204, "{pushed:?}");
    };
    push(&loki, "one");
    assert_eq!(loki.lines("{app=\"web\"}"), ["one"]);
    assert_eq!(loki.lines("{app=\"other\"}"), [""; 0]);
    loki.restart();
    push(&loki, "two");
    eventually("both lines", || loki.lines("{app=\"web\"}") == ["one", "two"]);
}

#[test]
fn the_collector_shows_what_it_received_also_before_a_kill() {
    let mut collector = Collector::start();
    let send = |collector: &Collector, text: &str| {
        let record = json!({"severityText": "INFO", "body": {"stringValue": text}});
        let request = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]});
        Rest::new(format!("http://{}", collector.http())).post("/v1/logs", &request).json();
    };
    let bodies = |collector: &Collector| -> Vec<Value> {
        let records = collector.log_records();
        records.iter().map(|record| record["body"]["stringValue"].clone()).collect()
    };
    send(&collector, "one");
    eventually("the record", || bodies(&collector) == ["one"]);
    collector.restart();
    send(&collector, "two");
    eventually("both records", || bodies(&collector) == ["one", "two"]);
}

#[test]
fn rsyslog_writes_what_comes_by_its_socket_and_over_tcp() {
    let address = free_address();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let rsyslog = Rsyslog::start(|folder| {
        format!(
            "module(load=\"imtcp\")\ninput(type=\"imtcp\" address=\"{host}\" port=\"{port}\")\n\
             action(type=\"omfile\" file=\"{}/app.log\")",
            folder.display()
        )
    });
    let socket = rsyslog.socket().display().to_string();
    let ways: [(&str, &[&str]); 2] = [
        ("by the socket", &["--socket", &socket]),
        ("over TCP", &["--server", &host, "--port", &port, "--tcp", "--rfc5424"]),
    ];
    for (text, way) in ways {
        let mut logger = Command::new(tool("logger"));
        assert!(logger.args(way).args(["--tag", "app", text]).status().unwrap().success());
        let line = eventually_some(text, || {
            rsyslog.text("app.log").lines().find(|line| line.contains(text)).map(str::to_owned)
        });
        assert!(line.contains("app"), "{line}");
    }
}
