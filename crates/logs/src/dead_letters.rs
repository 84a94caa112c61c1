//! Records that a sink will never take: kept in a small file with the reason, for people to look at.

use std::cell::Cell;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use pillion_runtime::say;
use serde::Serialize;

use crate::record::UnixNanos;
use crate::tally::Tally;

/// The most bytes of the file; the one before it, `.1`, has no more.
const LONGEST: u64 = 16 << 20;

/// The dead letters of one sink: `dead/SINK.jsonl`, a JSON object a line with `time`, `reason`, and
/// the record as it was encoded for the sink: `record`, or `record_base64` where it is no text.
#[derive(Debug)]
pub struct DeadLetters {
    path: Option<PathBuf>,
    longest: u64,
    status: Cell<DeadLettersStatus>,
}

/// What became of the records that a sink will never take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadLettersStatus {
    /// Kept in the file. Two files' worth of them are still there.
    pub written: Tally,
    /// Not kept: there is no state folder, the file cannot be written, or the record is longer
    /// than the file may be.
    pub lost: Tally,
}

#[derive(Serialize)]
struct Letter<'a> {
    time: String,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_base64: Option<String>,
}

impl DeadLetters {
    /// Dead letters of the sink `name` below the folder `state`; without one they are only counted.
    #[must_use]
    pub fn new(state: Option<&Path>, name: &str) -> Self {
        let path = state.map(|state| state.join("dead").join(format!("{name}.jsonl")));
        Self { path, longest: LONGEST, status: Cell::default() }
    }

    /// Keeps records, all for the same reason.
    pub fn write<'a>(
        &self,
        records: impl IntoIterator<Item = &'a [u8]>,
        reason: &str,
        now: UnixNanos,
    ) {
        let mut status = self.status.get();
        let mut file = self.open();
        for record in records {
            let size = Tally { batches: 0, records: 1, bytes: record.len() as u64 };
            let written = file
                .as_mut()
                .map_or(Ok(false), |file| self.append(file, &line(record, reason, now)));
            match written {
                Ok(true) => status.written += size,
                Ok(false) => status.lost += size,
                Err(error) => {
                    self.refused(&error);
                    file = None;
                    status.lost += size;
                }
            }
        }
        self.status.set(status);
    }

    /// What became of them so far.
    #[must_use]
    pub fn status(&self) -> DeadLettersStatus {
        self.status.get()
    }

    /// The file is opened each time: whoever looks at it may move it away.
    fn open(&self) -> Option<File> {
        let path = self.path.as_deref()?;
        let opened = open(path).or_else(|error| match (error.kind(), path.parent()) {
            (io::ErrorKind::NotFound, Some(folder)) => {
                DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
                open(path)
            }
            _ => Err(error),
        });
        opened.inspect_err(|error| self.refused(error)).ok()
    }

    /// Whether there is room for the line.
    fn append(&self, file: &mut File, line: &[u8]) -> io::Result<bool> {
        let Some(path) = &self.path else { return Ok(false) };
        if line.len() as u64 > self.longest {
            return Ok(false);
        }
        let mut len = file.metadata()?.len();
        if len + line.len() as u64 > self.longest {
            fs::rename(path, path.with_added_extension("1"))?;
            (*file, len) = (open(path)?, 0);
        }
        file.write_all(line).map(|()| true).inspect_err(|_| {
            // Half a line would spoil the next one; if this fails too, the next one says so.
            let _spoiled = file.set_len(len);
        })
    }

    fn refused(&self, error: &io::Error) {
        let path = self.path.as_deref().unwrap_or(Path::new(""));
        say!(Error, "cannot keep a dead letter: it is lost", file = path.display(), error = error);
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn line(record: &[u8], reason: &str, now: UnixNanos) -> Vec<u8> {
    let text = str::from_utf8(record).ok();
    let letter = Letter {
        time: Timestamp::from_nanosecond(now.into()).unwrap_or_default().to_string(),
        reason,
        record: text,
        record_base64: text.is_none().then(|| STANDARD.encode(record)),
    };
    // Text under names that are text: there is nothing that could fail.
    let mut line = serde_json::to_vec(&letter).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(records: u64, bytes: u64) -> Tally {
        Tally { batches: 0, records, bytes }
    }

    #[test]
    fn a_letter_has_time_reason_and_the_record_as_it_was() {
        let state = tempfile::tempdir().unwrap();
        let letters = DeadLetters::new(Some(state.path()), "search");
        letters.write([&b"{\"a\":\"\xc3\xa4\"}\n"[..], b"\xff\x00"], "no \"field\"", 1_500_000_000);
        let text = fs::read_to_string(state.path().join("dead/search.jsonl")).unwrap();
        let head = r#"{"time":"1970-01-01T00:00:01.5Z","reason":"no \"field\"","#;
        let first = format!(r#"{head}"record":"{{\"a\":\"ä\"}}\n"}}"#);
        let second = format!(r#"{head}"record_base64":"/wA="}}"#);
        assert_eq!(text, format!("{first}\n{second}\n"));
        assert_eq!(letters.status().written, tally(2, 13));
    }

    #[test]
    fn two_files_are_kept_and_no_more() {
        let state = tempfile::tempdir().unwrap();
        let mut letters = DeadLetters::new(Some(state.path()), "s");
        let one = line(b"0", "r", 0).len() as u64;
        letters.longest = 3 * one;
        for record in 0..8_u8 {
            letters.write([&[b'0' + record][..]], "r", 0);
        }
        let path = state.path().join("dead/s.jsonl");
        let records = |path: &Path| -> Vec<String> {
            let text = fs::read_to_string(path).unwrap();
            let value = |line| serde_json::from_str::<serde_json::Value>(line).unwrap();
            text.lines().map(|line| value(line)["record"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(records(&path.with_added_extension("1")), ["3", "4", "5"]);
        assert_eq!(records(&path), ["6", "7"]);
        assert_eq!(fs::read_dir(state.path().join("dead")).unwrap().count(), 2);
        let long = vec![b'x'; letters.longest as usize];
        letters.write([&long[..]], "r", 0);
        assert_eq!(letters.status().lost, tally(1, letters.longest));
        assert_eq!(letters.status().written, tally(8, 8));
    }

    #[test]
    fn a_file_that_is_moved_away_is_begun_anew() {
        let state = tempfile::tempdir().unwrap();
        let letters = DeadLetters::new(Some(state.path()), "s");
        letters.write([&b"1"[..]], "r", 0);
        fs::remove_dir_all(state.path().join("dead")).unwrap();
        letters.write([&b"2"[..]], "r", 0);
        let text = fs::read_to_string(state.path().join("dead/s.jsonl")).unwrap();
        assert!(text.lines().count() == 1 && text.contains("\"record\":\"2\""), "{text}");
    }

    #[test]
    fn what_cannot_be_kept_is_counted_as_lost() {
        let letters = DeadLetters::new(None, "s");
        letters.write([&b"abc"[..], b"d"], "r", 0);
        assert_eq!(letters.status().lost, tally(2, 4));
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join("dead"), "a file where the folder should be").unwrap();
        let letters = DeadLetters::new(Some(state.path()), "s");
        letters.write([&b"abc"[..], b"d"], "r", 0);
        assert_eq!(letters.status(), DeadLettersStatus { written: tally(0, 0), lost: tally(2, 4) });
    }
}
