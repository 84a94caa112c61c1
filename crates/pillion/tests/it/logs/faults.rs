//! Disks that are full or read-only, and sinks that are away: what the budget can hold is kept, what
//! is dropped is counted, and the app never waits.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use pillion_testkit::{
    ClosedPort, Origin, Pillion, Signal, SmallDisk, eventually, eventually_some, free_address,
};
use serde_json::Value;

use super::{logs, text};
use crate::pillion;

fn status(pillion: &Pillion) -> Value {
    serde_json::from_str(&pillion.admin.get("/logs").1).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// What became of records that came to the only source and the only sink: those that wait or are on
/// disk, and those that were dropped.
fn fates(status: &Value) -> (u64, u64) {
    let (source, sink) = (&status["sources"][0], &status["sinks"][0]);
    let kept = number(&sink["waiting"]) + number(&sink["on_disk"]);
    (kept, number(&source["refused"]) + number(&sink["dropped"]))
}

/// Counts the lines of each request, and answers 200.
fn counting(address: std::net::SocketAddr) -> (Origin, Arc<Mutex<Vec<String>>>) {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let taken = bodies.clone();
    let origin = Origin::start_at(address, move |mut conn| {
        while let Some((_, body)) = conn.request() {
            let text = String::from_utf8(body.data).unwrap();
            let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let lines = lines.map(|record| record["body"].as_str().unwrap().to_owned());
            taken.lock().unwrap().extend(lines);
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    (origin, bodies)
}

const FAST: &str = "compress: none, batch: {wait: 10ms}, retry: {min: 10ms, max: 100ms}";

/// Lines that are far more than every buffer together.
const LINES: u64 = 400_000;

#[test]
fn an_app_whose_logs_nobody_takes_is_never_blocked_and_every_line_is_accounted_for() {
    for full in ["drop_oldest", "drop_newest"] {
        let builder = pillion();
        let done = builder.folder().join("done");
        let address = free_address();
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let source = |source: &str| {
            format!(
                "drain: {{timeout: 1s}}\nlogs:\n  state: {}\n  memory: 2MiB\n  sources: {{app: \
                 {{{source}}}}}\n  sinks: {{away: {{to: \"http://{address}/\", buffer: {{disk: \
                 4MiB}}, {FAST}}}}}\n",
                text(&state)
            )
        };
        let config = source(&format!("app: stdout, terminal: off, full: {full}"));
        let script = format!("seq {LINES}; touch {}; exec sleep 1000", text(&done));
        let mut pillion = builder.config(config).app(["sh", "-c", &script]).start();
        eventually("the app has written everything", || done.exists());
        let (kept, dropped, disk_bytes) = eventually_some("every line is kept or dropped", || {
            let status = status(&pillion);
            let (kept, dropped) = fates(&status);
            let disk_bytes = number(&status["sinks"][0]["disk_bytes"]);
            (kept + dropped == LINES).then_some((kept, dropped, disk_bytes))
        });
        // `drop_oldest` drops an eighth of it at a time, and no batch is longer than another one.
        assert!(disk_bytes > 3 << 20, "{full}: {disk_bytes} bytes of 4 MiB of disk were used");
        assert!(kept > 0 && dropped > 0, "{full}: {kept} kept, {dropped} dropped");
        let metrics = pillion.metric("pillion_logs_dropped_total{sink=\"away\"}");
        let refused = pillion.metric("pillion_logs_refused_total{source=\"app\"}");
        assert_eq!((metrics + refused) as u64, dropped, "{full}");
        let admin = format!("unix:{}", text(&pillion.folder().join("admin.sock")));
        let shown = logs(&["status", "--admin", &admin]);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains("for want of room"), "{shown}");
        assert!(pillion.stderr.text().contains("were dropped"), "{full}");
        pillion.signal(Signal::SIGTERM);
        let ended = pillion.wait();
        let left = left(&ended.stderr);
        // What memory held and the disk has no room for goes with the process, and is said.
        let [lost, on_disk, gone] =
            ["not delivered", "in the disk buffer", "dropped for want"].map(left);
        assert_eq!(lost + on_disk + gone, LINES, "{full}: {}", ended.stderr);
        let (_origin, bodies) = counting(address);
        let files = source("files: /nothing");
        let _second = crate::pillion().config(files).start();
        eventually((full, "what is on the disk is delivered", on_disk), || {
            bodies.lock().unwrap().len() as u64 == on_disk
        });
    }
}

/// Reads from what was said at the end of the role how many records have this fate.
fn left(stderr: &str) -> impl Fn(&str) -> u64 {
    let line = stderr.lines().find(|line| line.contains("come with the next start")).unwrap();
    move |what| {
        let before = line.split(what).next().filter(|before| before.len() < line.len());
        let number = before.and_then(|before| before.trim_end().rsplit(' ').next());
        number.map_or(0, |number| number.parse().unwrap())
    }
}

#[test]
fn an_app_is_not_blocked_by_an_output_that_nobody_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let sink = ClosedPort::new();
    let config = format!(
        "inbound: {{listen: off}}\noutbound: {{listen: off}}\nadmin: {{listen: off}}\n\
         logs:\n  memory: 1MiB\n  sources: {{app: {{app: both}}}}\n  sinks: {{away: {{to: \
         \"http://{}/\"}}}}\n",
        sink.address()
    );
    fs::write(path("pillion.yaml"), config).unwrap();
    let script = format!("seq {LINES}; seq {LINES} >&2; touch {}", text(&path("done")));
    let mut child = Command::new(env!("CARGO_BIN_EXE_pillion"))
        .args(["run", "--config", text(&path("pillion.yaml")), "--", "sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the app has written everything", || path("done").exists());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn senders_are_dropped_from_as_declared_and_each_record_is_counted() {
    const SENT: u64 = 100_000;
    for (full, waits) in [("block", true), ("drop_oldest", false), ("drop_newest", false)] {
        let address = free_address();
        let away = ClosedPort::new();
        let config = format!(
            "drain: {{timeout: 1s}}\nlogs:\n  memory: 1MiB\n  sources: {{net: {{listen: \
             \"tcp://{address}\", full: {full}}}}}\n  sinks: {{away: {{to: \"http://{}/\", \
             {FAST}}}}}\n",
            away.address()
        );
        let pillion = pillion().config(config).start();
        let mut sender = eventually_some("it listens", || TcpStream::connect(address).ok());
        let sending = std::thread::spawn(move || {
            let lines: String = (0..SENT).map(|number| format!("{number:064}\n")).collect();
            // Where it has to wait, the end of the test ends it.
            sender.write_all(lines.as_bytes()).is_ok()
        });
        if waits {
            eventually("memory is full", || {
                let status = status(&pillion);
                number(&status["memory_used"]) >= number(&status["memory_limit"])
            });
            let (kept, dropped) = fates(&status(&pillion));
            assert!(!sending.is_finished(), "{full}: the sender does not wait");
            assert!(kept < SENT && dropped == 0, "{full}: {kept} kept, {dropped} dropped");
            drop(pillion);
        } else {
            assert!(sending.join().unwrap());
            eventually((full, "every record is kept or dropped"), || {
                let (kept, dropped) = fates(&status(&pillion));
                kept + dropped == SENT && kept > 0 && dropped > 0
            });
        }
    }
}

/// Pillion that ships a file to a sink that is away, with its state on a disk.
fn beside(state: &Path, log: &Path, address: std::net::SocketAddr) -> Pillion {
    let config = format!(
        "drain: {{timeout: 1s}}\nlogs:\n  state: {}\n  memory: 1MiB\n  sources: {{file: {{files: \
         {}}}}}\n  sinks: {{away: {{to: \"http://{address}/\", {FAST}}}}}\n",
        text(state),
        text(log),
    );
    pillion().config(config).start()
}

fn lines(from: u64, to: u64) -> String {
    (from..to).map(|number| format!("{number:0200}\n")).collect()
}

#[test]
fn a_disk_that_is_full_or_read_only_costs_no_line_of_a_file() {
    const EACH: u64 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(folder.path(), "2m");
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let log = elsewhere.path().join("app.log");
    fs::write(&log, lines(0, EACH)).unwrap();
    let state = disk.path().join("state");
    let address = free_address();
    let mut pillion = beside(&state, &log, address);
    eventually("memory and disk are full", || {
        // Memory has no room when something is to go to the disk.
        let is_full = pillion.stderr.text().contains("cannot write the disk buffer");
        is_full && number(&status(&pillion)["sinks"][0]["on_disk"]) > 0
    });
    assert_eq!(fates(&status(&pillion)).1, 0, "files wait, nothing is dropped");
    disk.freeze(&state);
    let mut file = fs::File::options().append(true).open(&log).unwrap();
    file.write_all(lines(EACH, 2 * EACH).as_bytes()).unwrap();
    let (_origin, bodies) = counting(address);
    eventually("every line is delivered", || {
        let bodies = bodies.lock().unwrap();
        let distinct: std::collections::HashSet<&String> = bodies.iter().collect();
        distinct.len() as u64 == 2 * EACH
    });
    pillion.signal(Signal::SIGTERM);
    assert_eq!(pillion.wait().code(), Some(0));
}
