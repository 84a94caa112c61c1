//! Logs: the role in the real program, and `pillion logs` as a person calls it.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use pillion_testkit::{Gate, Origin, Signal, eventually, peak_memory_kib, send_signal};
use serde_json::Value;

use crate::pillion;

/// Runs `pillion logs …` to its end.
fn logs(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_pillion");
    Command::new(program).arg("logs").args(arguments).output().unwrap()
}

fn ship(arguments: &[&str]) -> Output {
    let words: Vec<&str> = ["ship", "--once"].iter().chain(arguments).copied().collect();
    let output = logs(&words);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn files_are_shipped_once_and_each_line_is_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let (log, sink) = (folder.path().join("app.log"), folder.path().join("sink.json"));
    let lines = [
        r#"2026-11-21T10:00:00.5Z stdout F {"level":"warn","msg":"slow","ms":12}"#,
        r#"2026-11-21T10:00:01Z stderr F {"level":"error","msg":"broken \"pipe\""}"#,
        "2026-11-21T10:00:02Z stdout P no end ",
        "2026-11-21T10:00:02Z stdout F of it",
    ];
    // Without an end of line: complete, because the reading ends here.
    fs::write(&log, lines.join("\n")).unwrap();
    let to = format!("file:{}", text(&sink));
    ship(&["--file", text(&log), "--parse", "cri,json", "--to", &to]);
    let records = records(&sink);
    let [slow, broken, plain] = records.as_slice() else { panic!("{records:#?}") };
    assert_eq!((&slow["body"], &slow["severity_number"]), (&"slow".into(), &13.into()));
    assert_eq!((&slow["attributes"]["ms"], &slow["stream"]), (&12.into(), &"stdout".into()));
    assert_eq!(slow["time"], "2026-11-21T10:00:00.500000000Z");
    assert_eq!((&broken["body"], &broken["stream"]), (&"broken \"pipe\"".into(), &"stderr".into()));
    assert_eq!(plain["body"], "no end of it");
}

#[test]
fn what_was_delivered_does_not_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (log, state) = (path("app.log"), path("state"));
    let once = |sink: &str| {
        let to = format!("file:{}", text(&path(sink)));
        ship(&["--file", text(&log), "--to", &to, "--state", text(&state)]);
        let records = records(&path(sink));
        records.iter().map(|record| record["body"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    fs::write(&log, "one\ntwo\n").unwrap();
    assert_eq!(once("first"), ["one", "two"]);
    let mut file = OpenOptions::new().append(true).open(&log).unwrap();
    file.write_all(b"three\n").unwrap();
    // Rotated while nobody looked.
    fs::rename(&log, path("app.log.1")).unwrap();
    fs::write(&log, "four\n").unwrap();
    assert_eq!(once("second"), ["three", "four"]);
    assert!(once("third").is_empty());
}

#[test]
fn a_wrong_command_line_says_what_to_write() {
    for (arguments, message) in [
        (&["ship", "--file", "/a", "--to", "xyz"][..], "is not a log sink"),
        (&["ship", "--file", "/a", "--to", "null:", "--parse", "xml"], "write cri, docker, json"),
        (&["ship", "--to", "null:"], "--file <GLOB>"),
        (&["status", "--admin", "off"], "nobody to ask"),
    ] {
        let output = logs(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(message), "{arguments:?}: {stderr}");
    }
}

/// Writes numbered lines to a log that it renames away every now and then.
struct Writer {
    folder: std::path::PathBuf,
    name: String,
    next: u64,
    rotations: u32,
}

impl Writer {
    fn lines(&mut self, count: u64) {
        let mut file =
            File::options().append(true).create(true).open(self.folder.join(&self.name)).unwrap();
        for number in self.next..self.next + count {
            writeln!(file, "{} {number:08}", self.name).unwrap();
        }
        self.next += count;
    }

    fn rotate(&mut self) {
        let old = self.folder.join(format!("{}.{}", self.name, self.rotations));
        fs::rename(self.folder.join(&self.name), old).unwrap();
        self.rotations += 1;
    }
}

#[test]
fn nothing_is_lost_when_it_is_killed_again_and_again_amid_rotations() {
    const ROUNDS: u64 = 12;
    const LINES: u64 = 2_000;
    let folder = tempfile::tempdir().unwrap();
    let (state, sink) = (folder.path().join("state"), folder.path().join("sink.json"));
    let mut writers: Vec<Writer> = (0..4)
        .map(|number| Writer {
            folder: folder.path().to_owned(),
            name: format!("w{number}.log"),
            next: 0,
            rotations: 0,
        })
        .collect();
    let glob = folder.path().join("*.log");
    let to = format!("file:{}", text(&sink));
    let arguments = ["--file", text(&glob), "--to", &to, "--state", text(&state)];
    let delivered = || fs::metadata(&sink).map_or(0, |sink| sink.len());
    for round in 0..ROUNDS {
        writers.iter_mut().for_each(|writer| writer.lines(LINES / 2));
        let before = delivered();
        let mut shipper = Command::new(env!("CARGO_BIN_EXE_pillion"))
            .args(["logs", "ship"])
            .args(arguments)
            .spawn()
            .unwrap();
        eventually("something is delivered", || delivered() > before);
        writers.iter_mut().for_each(Writer::rotate);
        writers.iter_mut().for_each(|writer| writer.lines(LINES / 2));
        if round % 3 == 2 {
            send_signal(shipper.id(), Signal::SIGTERM);
        } else {
            shipper.kill().unwrap();
        }
        shipper.wait().unwrap();
    }
    ship(&arguments);
    let mut times: HashMap<String, u32> = HashMap::new();
    // A line that a kill cut in the middle is completed or written anew behind it.
    for line in fs::read_to_string(&sink).unwrap().lines() {
        if let Ok(record) = serde_json::from_str::<Value>(line) {
            *times.entry(record["body"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    for writer in &writers {
        for number in 0..writer.next {
            let line = format!("{} {number:08}", writer.name);
            assert!(times.contains_key(&line), "{line} is lost");
        }
    }
    let total = u64::try_from(writers.len()).unwrap() * ROUNDS * LINES;
    let seen: u64 = times.values().map(|times| u64::from(*times)).sum();
    // What is not acknowledged when it is killed comes again: at most what one round has.
    assert!(seen - total <= ROUNDS * 4 * LINES, "{} of {total} came again", seen - total);
}

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

/// What the role may take beside its budget: code that was not used before, buffers on their way
/// through the allocator.
const BESIDE_THE_BUDGET: f64 = (12 << 20) as f64;

#[test]
fn a_sink_that_takes_nothing_for_a_while_costs_no_more_memory_than_the_budget() {
    const LINES: u64 = 25_000;
    let taking = Gate::new();
    let gate = taking.clone();
    let server = Origin::start(move |mut conn| {
        while conn.request().is_some() {
            gate.wait();
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let builder = pillion();
    let log = builder.folder().join("app.log");
    let config = format!(
        "logs:\n  sources: {{app: {{files: \"{}\"}}}}\n  \
         sinks: {{web: {{to: \"http://{}\", compress: none}}}}\n",
        text(&log),
        server.address()
    );
    let pillion = builder.config(config).start();
    let before = peak_memory_kib(pillion.pid());
    // More than twice the budget.
    fs::write(&log, format!("{}\n", "a line ".repeat(143)).repeat(LINES as usize)).unwrap();
    let limit = pillion.metric("pillion_logs_memory_limit_bytes");
    eventually("the budget is used up", || pillion.metric("pillion_logs_memory_bytes") >= limit);
    taking.open();
    pillion.wait_for_metric("pillion_logs_delivered_total{sink=\"web\"}", LINES as f64);
    let growth = (peak_memory_kib(pillion.pid()) - before) as f64 * 1024.0;
    let most = limit + BESIDE_THE_BUDGET;
    assert!(growth < most, "memory grew by {growth} bytes over {before} KiB, at most {most}");
}
