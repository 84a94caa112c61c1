//! The access log on real files: rotation, changes while running, a full disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pillion_model::snapshot::{self, Direction, LogFormat, LogOutput, LogPart};
use pillion_runtime::access_log::{AccessLog, AccessWriter, Protocol, Record};
use pillion_runtime::metrics::Registry;

use crate::value;

const LONG: Duration = Duration::from_secs(30);

fn to(path: &Path) -> snapshot::AccessLog {
    snapshot::AccessLog { output: LogOutput::File(path.to_owned()), format: LogFormat::Json }
}

fn record(path: &str) -> Record<'_> {
    Record {
        start_unix_us: 0,
        direction: Direction::Outbound,
        protocol: Protocol::Http2,
        status: 200,
        attempts: 1,
        reason: None,
        method: b"GET",
        authority: b"example",
        path: path.as_bytes(),
        route: "all",
        upstream: "example",
        endpoint: "192.0.2.1:80",
        downstream: None,
        request_bytes: 0,
        response_bytes: 0,
        duration_us: 0,
        upstream_us: 0,
        pillion_us: 0,
        request_id: b"",
        trace_id: [0; 32],
        user_agent: b"",
    }
}

fn write(log: &AccessLog, writer: &mut AccessWriter, path: &str) {
    writer.record(&record(path));
    writer.flush();
    assert!(log.flush(LONG));
}

fn paths(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let path = |line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["path"].as_str().unwrap().to_owned()
    };
    text.lines().map(path).collect()
}

#[test]
fn a_rotated_file_is_left_alone_after_reopen() {
    let folder = tempfile::tempdir().unwrap();
    let (file, rotated) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let log = AccessLog::start(&to(&file), &Registry::new(10)).unwrap();
    let mut writer = log.writer();
    write(&log, &mut writer, "/1");
    fs::rename(&file, &rotated).unwrap();
    write(&log, &mut writer, "/2");
    log.reopen();
    write(&log, &mut writer, "/3");
    assert_eq!(paths(&rotated), ["/1", "/2"]);
    assert_eq!(paths(&file), ["/3"]);
}

#[test]
fn a_reopen_that_fails_keeps_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let (logs, moved) = (folder.path().join("logs"), folder.path().join("moved"));
    fs::create_dir(&logs).unwrap();
    let registry = Registry::new(10);
    let log = AccessLog::start(&to(&logs.join("access.log")), &registry).unwrap();
    let mut writer = log.writer();
    fs::rename(&logs, &moved).unwrap();
    log.reopen();
    write(&log, &mut writer, "/1");
    assert_eq!(paths(&moved.join("access.log")), ["/1"]);
    assert_eq!(value(&registry, "pillion_access_log_write_errors_total"), Some(1.0));
}

#[test]
fn output_and_format_change_while_running_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let off = snapshot::AccessLog { output: LogOutput::Off, format: LogFormat::Json };
    let log = AccessLog::start(&off, &Registry::new(10)).unwrap();
    let mut writer = log.writer();
    assert!(!writer.enabled());
    write(&log, &mut writer, "/nowhere");

    log.reconfigure(&to(&first)).unwrap();
    assert!(writer.enabled());
    write(&log, &mut writer, "/1");

    let error = log.reconfigure(&to(&folder.path().join("no/such/folder"))).unwrap_err();
    assert!(error.to_string().contains("no/such/folder"), "{error}");
    write(&log, &mut writer, "/2");

    let format = LogFormat::Template(vec![LogPart::Text("text".into())]);
    let template = snapshot::AccessLog { output: LogOutput::File(second.clone()), format };
    log.reconfigure(&template).unwrap();
    write(&log, &mut writer, "/3");
    assert_eq!(paths(&first), ["/1", "/2"]);
    assert_eq!(fs::read_to_string(&second).unwrap(), "text\n");

    log.reconfigure(&off).unwrap();
    assert!(!writer.enabled());
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let error = AccessLog::start(&to(Path::new("/no/such/access.log")), &Registry::new(10));
    let error = error.err().unwrap().to_string();
    assert!(error.starts_with("cannot open access log /no/such/access.log: "), "{error}");
}

#[test]
fn a_named_pipe_that_nobody_reads_is_an_error_and_no_start_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(AccessLog::start(&to(&pipe), &Registry::new(10)).is_err());
}

#[test]
fn lines_that_a_device_refuses_are_counted() {
    let registry = Registry::new(10);
    let log = AccessLog::start(&to(Path::new("/dev/full")), &registry).unwrap();
    let mut writer = log.writer();
    for _ in 0..10 {
        writer.record(&record("/"));
    }
    write(&log, &mut writer, "/");
    assert_eq!(value(&registry, "pillion_access_log_write_errors_total"), Some(1.0));
    assert_eq!(value(&registry, "pillion_access_log_dropped_total"), Some(11.0));
    assert_eq!(value(&registry, "pillion_access_log_lines_total"), Some(0.0));
}

/// A file system of 64 KiB, gone with the test.
struct TinyDisk(PathBuf);

impl TinyDisk {
    fn mount(folder: &Path) -> Self {
        let options = ["-t", "tmpfs", "-o", "size=64k", "none"];
        let mounted = Command::new("mount").args(options).arg(folder).status().unwrap();
        assert!(mounted.success(), "this test mounts a tmpfs: run it as root");
        Self(folder.to_owned())
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_full_disk_loses_lines_and_goes_on_with_whole_ones_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let disk = TinyDisk::mount(folder.path());
    let (file, ballast) = (disk.0.join("access.log"), disk.0.join("ballast"));
    fs::write(&ballast, vec![0; 16 << 10]).unwrap();
    let registry = Registry::new(10);
    let log = AccessLog::start(&to(&file), &registry).unwrap();
    let mut writer = log.writer();
    let total = 400;
    for _ in 0..total {
        write(&log, &mut writer, "/before");
    }
    let written = value(&registry, "pillion_access_log_lines_total").unwrap();
    let dropped = value(&registry, "pillion_access_log_dropped_total").unwrap();
    assert!(dropped > 0.0, "{written} lines fit");
    assert_eq!(written + dropped, f64::from(total));

    fs::remove_file(&ballast).unwrap();
    write(&log, &mut writer, "/after");
    let text = fs::read_to_string(&file).unwrap();
    let (whole, torn): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    assert_eq!(whole.len() as f64, written + 1.0);
    assert!(whole.last().unwrap().contains("/after"));
    assert!(torn.len() <= 1, "only the line that met the end of the disk: {torn:?}");
}
