//! What users of other log shippers complain about, in the real program: see
//! `docs/internals/known-complaints.md`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pillion_testkit::{ClosedPort, Pillion, eventually, free_address, peak_memory_kib};
use serde_json::Value;

use crate::pillion;

/// The section `logs` with these keys, one source and one sink.
fn logs(keys: &str, source: &str, sink: &str) -> String {
    format!("logs:\n  {keys}\n  sources: {{a: {{{source}}}}}\n  sinks: {{s: {{{sink}}}}}\n")
}

/// A sink that writes each record to a file at once.
fn file_sink(path: &Path) -> String {
    format!("to: \"file:{}\", batch: {{wait: 10ms}}", path.display())
}

/// A sink that is not there, and asked for again and again.
fn absent_sink(address: SocketAddr) -> String {
    format!("to: \"http://{address}/\", retry: {{min: 10ms, max: 20ms}}, batch: {{bytes: 64KiB}}")
}

/// What a file sink has of whole records.
fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn bodies(path: &Path) -> Vec<Value> {
    records(path).into_iter().map(|record| record["body"].clone()).collect()
}

fn status(pillion: &Pillion) -> Value {
    serde_json::from_str(&pillion.admin.get("/logs").1).unwrap()
}

fn ship_once(file: &str) -> Output {
    let arguments = ["logs", "ship", "--once", "--to", "null:", "--file", file];
    Command::new(env!("CARGO_BIN_EXE_pillion")).args(arguments).output().unwrap()
}

#[test]
fn memory_keeps_to_its_budget_while_a_sink_is_away() {
    const LINES: usize = 1 << 20;
    let builder = pillion();
    let log = builder.folder().join("app.log");
    fs::write(
        &log,
        "a line of 64 bytes, of which there are more than memory can hold\n".repeat(LINES),
    )
    .unwrap();
    let away = ClosedPort::new();
    let source = format!("files: {}", log.display());
    let config = logs("memory: 1MiB", &source, &absent_sink(away.address()));
    let pillion = builder.config(config).start();
    eventually("memory is full", || {
        status(&pillion)["memory_used"].as_u64().is_some_and(|used| used >= 768 << 10)
    });
    let tries = || pillion.metric("pillion_logs_retries_total{sink=\"s\",cause=\"connect\"}");
    let before = tries();
    eventually("the sink was asked for again", || tries() > before + 20.0);
    let status = status(&pillion);
    let (used, limit) = (&status["memory_used"], &status["memory_limit"]);
    // A block of a file may become records before anybody knows how long they are.
    assert!(used.as_u64().unwrap() <= limit.as_u64().unwrap() + (512 << 10), "{used} of {limit}");
    let read = status["sources"][0]["bytes"].as_u64().unwrap();
    assert!(read < 4 << 20, "{read} bytes were read");
    let peak = peak_memory_kib(pillion.pid());
    assert!(peak < 64 << 10, "{peak} KiB, for a file of 64 MiB and a budget of 1 MiB");
}

#[test]
fn what_is_cut_is_marked_and_counted_and_the_next_line_is_whole() {
    let builder = pillion();
    let path = |name: &str| builder.folder().join(name);
    let (log, sink) = (path("app.log"), path("sink"));
    fs::write(&log, format!("{}\n\0\0\0next\n", "x".repeat(3000))).unwrap();
    let source = format!(
        "files: {}, line_bytes: 1KiB, steps: [{{set: {{b: c, d: e}}}}, {{drop: [{{field: body, equals: y}}]}}]",
        log.display()
    );
    let pillion = builder.config(logs("memory: 4MiB", &source, &file_sink(&sink))).start();
    eventually("both are delivered", || records(&sink).len() == 2);
    let records = records(&sink);
    assert_eq!(records[0]["body"], "x".repeat(1024));
    assert_eq!(records[0]["marks"], serde_json::json!(["truncated"]));
    assert_eq!((&records[1]["body"], &records[1]["marks"]), (&"next".into(), &Value::Null));
    for (metric, number) in [
        ("pillion_logs_left_out_bytes_total{source=\"a\",part=\"cut\"}", 3000.0 - 1024.0),
        ("pillion_logs_left_out_bytes_total{source=\"a\",part=\"nul\"}", 3.0),
        ("pillion_logs_step_records_total{source=\"a\",step=\"0\",action=\"set\"}", 2.0),
        ("pillion_logs_step_records_total{source=\"a\",step=\"1\",action=\"drop\"}", 0.0),
    ] {
        pillion.wait_for_metric(metric, number);
    }
    let shown = Command::new(env!("CARGO_BIN_EXE_pillion"))
        .args(["logs", "status", "--admin"])
        .arg(format!("unix:{}", pillion.admin.socket().display()))
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    for line in ["1976 bytes cut", "3 NUL bytes", "steps[0] set: 2 records", "steps[1] drop: 0"] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
}

#[test]
fn a_configuration_that_is_refused_leaves_the_logs_as_they_were() {
    let builder = pillion();
    let path = |name: &str| builder.folder().join(name);
    let (log, sink) = (path("app.log"), path("sink"));
    fs::write(&log, "one\n").unwrap();
    let source = format!("files: {}", log.display());
    let pillion = builder.config(logs("memory: 4MiB", &source, &file_sink(&sink))).start();
    eventually("the first line is delivered", || bodies(&sink) == ["one"]);
    pillion.write_config(&logs("memory: 4MiB", "files: app.log", "to: nowhere"));
    pillion.wait_for_metric("pillion_config_reloads_total{result=\"refused\"}", 1.0);
    OpenOptions::new().append(true).open(&log).unwrap().write_all(b"two\n").unwrap();
    eventually("it goes on where it was", || bodies(&sink) == ["one", "two"]);
}

#[test]
fn what_a_reload_cannot_keep_is_counted_and_said() {
    let builder = pillion();
    let (away, address) = (ClosedPort::new(), free_address());
    let source = format!("listen: \"tcp://{address}\"");
    let config = |memory| logs(memory, &source, &absent_sink(away.address()));
    let pillion = builder.config(config("memory: 4MiB")).start();
    eventually("it listens", || TcpStream::connect(address).is_ok());
    TcpStream::connect(address).unwrap().write_all(b"one\ntwo\nthree\n").unwrap();
    eventually("they are taken", || status(&pillion)["sources"][0]["records"] == 3);
    pillion.write_config(&config("memory: 5MiB"));
    pillion.wait_for_metric("pillion_logs_lost_total", 3.0);
    pillion.stderr.wait_for("\"message\":\"records are lost: ");
    assert!(pillion.stderr.text().contains("\"source\":\"a\",\"records\":\"3\""));
}

#[test]
fn the_last_words_of_the_app_are_delivered_before_the_end() {
    let builder = pillion();
    let sink = builder.folder().join("sink");
    // The batch would wait for an hour.
    let to = format!("to: \"file:{}\", batch: {{wait: 1h}}", sink.display());
    let config = logs("memory: 4MiB", "app: both", &to);
    let mut pillion = builder.config(config).app(["sh", "-c", "printf last; exit 7"]).spawn();
    assert_eq!(pillion.wait().code(), Some(7));
    assert_eq!(bodies(&sink), ["last"]);
}

#[test]
fn who_sent_a_record_is_said_with_it() {
    let builder = pillion();
    let (sink, address) = (builder.folder().join("sink"), free_address());
    let source = format!("listen: \"tcp://{address}\"");
    let _pillion = builder.config(logs("memory: 4MiB", &source, &file_sink(&sink))).start();
    eventually("it listens", || TcpStream::connect(address).is_ok());
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"hello\n").unwrap();
    eventually("it is delivered", || records(&sink).len() == 1);
    let attributes = &records(&sink)[0]["attributes"];
    let port = client.local_addr().unwrap().port();
    assert_eq!(attributes["network.peer.address"], "127.0.0.1");
    assert_eq!(attributes["network.peer.port"], port);
}

#[test]
fn a_file_that_cannot_be_read_is_not_a_success() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.log");
    // Too many links: nobody may read it, not even root.
    symlink("app.log", &path).unwrap();
    let output = ship_once(path.to_str().unwrap());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in ["cannot read", "app.log", "symbolic links", "an unknown number not read"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_path_that_means_nothing_to_read_is_said_aloud() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    fs::create_dir(path("logs")).unwrap();
    for (file, words) in [
        ("logs", &["this is a folder", "/logs", "end it with /*", "there is no file yet"][..]),
        ("*.log", &["there is no file yet that a source means"]),
        ("missing.log", &["there is no file yet that a source means"]),
    ] {
        let output = ship_once(path(file).to_str().unwrap());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{file}: {said}");
        assert!(words.iter().all(|words| said.contains(words)), "{file}: {said}");
    }
}
