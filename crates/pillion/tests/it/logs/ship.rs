//! `pillion logs ship` as a person calls it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use pillion_testkit::ClosedPort;

use super::{logs, records, ship, text};

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
fn what_containerd_wrote_is_what_the_app_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let (log, sink) = (folder.path().join("0.log"), folder.path().join("sink.json"));
    // Written by containerd 1.6.20 for a container that wrote what is listed below.
    fs::write(&log, include_bytes!("containerd.cri")).unwrap();
    let to = format!("file:{}", text(&sink));
    ship(&["--file", text(&log), "--parse", "cri", "--to", &to]);
    let long = format!("{} the rest", "y".repeat(17_000));
    let expected = [
        ("stdout", "plain"),
        ("stdout", ""),
        ("stdout", "  spaces  "),
        ("stdout", "größer 日本 🦀"),
        ("stdout", r#"{"level":"info","msg":"in json"}"#),
        ("stdout", "a\tb"),
        ("stdout", "bad \u{fffd} byte"),
        ("stderr", "between"),
        ("stdout", "begun, ended"),
        ("stderr", "between parts"),
        ("stdout", &long),
        ("stderr", "one"),
        ("stderr", "two"),
        ("stdout", "without an end"),
    ];
    let records = records(&sink);
    let read: Vec<_> = records
        .iter()
        .map(|record| (record["stream"].as_str().unwrap(), record["body"].as_str().unwrap()))
        .collect();
    assert_eq!(read, expected);
    assert_eq!(records[0]["time"], "2026-11-21T19:09:03.153388905Z");
    assert_eq!(records[2]["time"], "2026-11-21T19:09:03.218705765Z");
    assert_eq!(records[6]["marks"][0], "repaired");
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
fn a_sink_that_takes_nothing_is_given_up_whether_all_was_read_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("app.log");
    let closed = ClosedPort::new();
    let to = format!("loki://{}", closed.address());
    // More than the memory of the role holds, and less.
    for (lines, expected) in [
        (200_000, ", an unknown number not read; given up after 2s in which no sink took anything"),
        (10, "records: 10 not delivered; given up after 2s in which no sink took anything"),
    ] {
        fs::write(&log, "a line that is long enough to fill the memory soon\n".repeat(lines))
            .unwrap();
        let ship = ["ship", "--once", "--file", text(&log), "--to", &to, "--give-up", "2s"];
        let output = logs(&ship);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(expected), "{lines} lines: {stderr}");
        assert!(stderr.contains("; the sink: cannot connect to"), "{lines} lines: {stderr}");
    }
}

#[test]
fn a_wrong_command_line_says_what_to_write() {
    for (arguments, message) in [
        (&["ship", "--file", "/a", "--to", "xyz"][..], "is not a log sink"),
        (&["ship", "--file", "/a", "--to", "null:", "--parse", "xml"], "write cri, docker, json"),
        (&["ship", "--to", "null:"], "--file <GLOB>"),
        (&["ship", "--file", "/a", "--to", "null:", "--give-up", "1s"], "--once"),
        (&["ship", "--file", "/a", "--to", "null:", "--once", "--give-up", "1"], "has no unit"),
        (&["status", "--admin", "off"], "nobody to ask"),
    ] {
        let output = logs(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(message), "{arguments:?}: {stderr}");
    }
}
