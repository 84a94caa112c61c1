//! How `pillion logs ship` ends when it is told to, whatever its sink does.

use std::fs;
use std::process::{Child, Command, Stdio};

use pillion_testkit::{
    Capture, Origin, PATIENCE, Signal, eventually, eventually_some, send_signal,
};

use super::{logs, text};

/// A server that takes requests and never answers one.
fn silent() -> Origin {
    Origin::start(|mut conn| {
        conn.request();
        conn.wait_for_end();
    })
}

/// A shipper that was started.
struct Shipper {
    child: Child,
    stderr: Capture,
}

impl Shipper {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillion"));
        command.args(["logs", "ship"]).args(arguments).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = Capture::of(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    fn signal(&self, signal: Signal) {
        send_signal(self.child.id(), signal);
    }

    /// Its exit code and what it said.
    fn wait(&mut self) -> (Option<i32>, String) {
        let status = eventually_some("its end", || self.child.try_wait().unwrap());
        (status.code(), self.stderr.whole())
    }
}

impl Drop for Shipper {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_drain_that_gets_nowhere_ends_at_the_first_signal_and_keeps_what_is_left() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = tempfile::tempdir().unwrap();
        let (log, state) = (folder.path().join("app.log"), folder.path().join("state"));
        let sink = silent();
        let to = format!("http://{}/", sink.address());
        fs::write(&log, "one\ntwo\nthree\n").unwrap();
        let arguments = ["--once", "--file", text(&log), "--to", &to, "--state", text(&state)];
        let mut shipper = Shipper::start(&arguments);
        sink.request();
        shipper.signal(signal);
        let (code, said) = shipper.wait();
        assert_eq!(code, Some(1), "{signal}: {said}");
        assert!(said.contains("records: 3 in the disk buffer"), "{signal}: {said}");
        let delivered = folder.path().join("delivered");
        let to = format!("file:{}", text(&delivered));
        let again = ["ship", "--once", "--file", text(&log), "--to", &to, "--state", text(&state)];
        // The buffer belongs to the sink, and keeps what was on its way when it was told to end.
        let output = logs(&again);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let bodies: Vec<_> =
            super::records(&delivered).iter().map(|record| record["body"].clone()).collect();
        assert_eq!(bodies, ["one", "two", "three"], "{signal}");
    }
}

#[test]
fn without_a_state_folder_it_says_how_much_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("app.log");
    let sink = silent();
    let to = format!("http://{}/", sink.address());
    fs::write(&log, "one\ntwo\n").unwrap();
    let mut shipper = Shipper::start(&["--once", "--file", text(&log), "--to", &to]);
    sink.request();
    shipper.signal(Signal::SIGTERM);
    let (code, said) = shipper.wait();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("records: 2 not delivered"), "{said}");
}

#[test]
fn files_that_were_not_read_to_their_end_are_left_too() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("app.log");
    let sink = silent();
    let to = format!("http://{}/", sink.address());
    // More than memory holds: the reading waits for the sink.
    fs::write(&log, "a line that is long enough to make a file of it\n".repeat(1 << 20)).unwrap();
    let mut shipper = Shipper::start(&["--once", "--file", text(&log), "--to", &to]);
    sink.request();
    shipper.signal(Signal::SIGTERM);
    let (code, said) = shipper.wait();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("an unknown number not read"), "{said}");
}

#[test]
fn a_shipper_that_goes_on_drains_at_the_first_signal_and_ends_at_the_second() {
    let folder = tempfile::tempdir().unwrap();
    let (log, state) = (folder.path().join("app.log"), folder.path().join("state"));
    let sink = silent();
    let to = format!("http://{}/", sink.address());
    fs::write(&log, "one\n").unwrap();
    let mut shipper = Shipper::start(&["--file", text(&log), "--to", &to, "--state", text(&state)]);
    sink.request();
    shipper.signal(Signal::SIGTERM);
    // Signals that come together are one: the second counts once the first was heard.
    let began = std::time::Instant::now();
    eventually("its end", || {
        if let Some(status) = shipper.child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(0), "{}", shipper.stderr.whole());
            return true;
        }
        shipper.signal(Signal::SIGTERM);
        false
    });
    assert!(began.elapsed() < PATIENCE, "it waited for the end of its drain");
    assert!(shipper.stderr.whole().contains("records: 1 in the disk buffer"));
}
