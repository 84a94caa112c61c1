//! Nothing is lost, whatever is done to the program.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::process::Command;

use pillion_testkit::{Signal, eventually, send_signal};
use serde_json::Value;

use super::{ship, text};

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
