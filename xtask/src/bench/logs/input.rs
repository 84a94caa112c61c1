//! The files that are shipped: the same bytes in every run.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::Pipeline;
use crate::failure::{Doing, Failure};

/// A file, and what is in it.
pub(in crate::bench) struct Input {
    /// Where it is.
    pub(super) path: PathBuf,
    /// How long it is.
    pub(super) bytes: u64,
    /// Records that it makes once partial lines are joined.
    pub(super) records: u64,
    /// Records with a secret in them.
    pub(super) secrets: u64,
}

/// containerd cuts a line of the app after so many bytes.
const PART_BYTES: usize = 16 << 10;
/// One record of so many is longer than that.
const LONG_EVERY: u64 = 5000;
const LONG_BYTES: usize = 40 << 10;
/// One record of so many has a secret in it.
const SECRET_EVERY: u64 = 10_000;
const SECRETS: u64 = 50;
const SEED: u64 = 0x5eed_0b5e_55ed_f11e;

impl Input {
    /// Writes a file of at least `least` bytes into `folder`.
    pub(in crate::bench) fn make(
        folder: &Path,
        pipeline: Pipeline,
        least: u64,
    ) -> Result<Self, Failure> {
        let path = folder.join(format!("{pipeline:?}.log"));
        let what = || format!("writing {}", path.display());
        let mut file = BufWriter::new(File::create(&path).doing(what())?);
        let (mut bytes, mut records, mut line) = (0, 0, String::new());
        let mut secrets = 0;
        while bytes < least {
            line.clear();
            match pipeline {
                Pipeline::Plain => plain(&mut line, records),
                Pipeline::CriJson => cri(&mut line, records),
            }
            if pipeline == Pipeline::CriJson && has_secret(records) {
                secrets += 1;
            }
            file.write_all(line.as_bytes()).doing(what())?;
            bytes += line.len() as u64;
            records += 1;
        }
        file.flush().doing(what())?;
        Ok(Self { path, bytes, records, secrets })
    }
}

/// The secrets that are delivered, and printed by the app from time to time: name and value.
pub(in crate::bench) fn secrets() -> impl Iterator<Item = (String, String)> {
    (0..SECRETS).map(|n| (format!("key-{n}"), secret(n)))
}

/// A value of 16 to 64 characters.
fn secret(n: u64) -> String {
    let value = format!("{:016x}", chance(SEED ^ n)).repeat(4);
    value.chars().take(16 + n as usize).collect()
}

fn has_secret(record: u64) -> bool {
    record % SECRET_EVERY == SECRET_EVERY / 2
}

/// A number that looks like chance: SplitMix64.
fn chance(n: u64) -> u64 {
    let mut z = SEED.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A millisecond each from 10 o'clock on, without a zone.
fn time(record: u64) -> String {
    let (seconds, millis) = (record / 1000, record % 1000);
    let (hours, minutes) = (10 + seconds / 3600, seconds / 60 % 60);
    format!("2026-11-21T{hours:02}:{minutes:02}:{:02}.{millis:03}", seconds % 60)
}

fn plain(line: &mut String, record: u64) {
    let n = chance(record);
    line.push_str(&format!(
        "{}Z INFO shop request {record} handled path=/api/v1/items/{} status=200 duration={}ms \
         user=u{} session={n:016x} upstream=billing attempt=1 note=nothing-of-interest\n",
        time(record),
        n % 10_000,
        n / 7 % 300,
        n / 11 % 50_000,
    ));
}

/// What the app wrote, as JSON, in as many lines as containerd makes of it.
fn cri(line: &mut String, record: u64) {
    let (time, stream) =
        (time(record), if chance(record).is_multiple_of(20) { "stderr" } else { "stdout" });
    let json = json(&time, record);
    let mut rest = json.as_str();
    while rest.len() > PART_BYTES {
        let (part, after) = rest.split_at(PART_BYTES);
        line.push_str(&format!("{time}000000Z {stream} P {part}\n"));
        rest = after;
    }
    line.push_str(&format!("{time}000000Z {stream} F {rest}\n"));
}

fn json(time: &str, record: u64) -> String {
    let n = chance(record);
    let level = if n.is_multiple_of(20) { "error" } else { "info" };
    let mut message = "request handled".to_owned();
    if has_secret(record) {
        message.push_str(&format!(" with token {}", secret(n % SECRETS)));
    }
    if record % LONG_EVERY == LONG_EVERY / 2 {
        message.push_str(&" at handler.rs:117".repeat(LONG_BYTES / 18));
    }
    format!(
        "{{\"time\":\"{time}Z\",\"level\":\"{level}\",\"msg\":\"{message}\",\
         \"path\":\"/api/v1/items/{}\",\"status\":200,\"duration_ms\":{},\"user\":\"u{}\",\
         \"trace_id\":\"{n:016x}{:016x}\",\"remote\":\"10.1.{}.{}\",\"agent\":\"curl/7.88.1\"}}",
        n % 10_000,
        n / 7 % 300,
        n / 11 % 50_000,
        !n,
        n % 250,
        n / 250 % 250,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_record_is_cut_as_containerd_cuts_it() {
        let (mut short, mut long) = (String::new(), String::new());
        cri(&mut short, 1);
        cri(&mut long, LONG_EVERY / 2);
        assert_eq!(short.lines().count(), 1);
        let tags: Vec<_> = long.lines().map(|line| line.split(' ').nth(2).unwrap()).collect();
        assert_eq!(tags, ["P", "P", "F"]);
        let joined: String = long.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap()).collect();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&joined).unwrap()["status"], 200);
    }

    #[test]
    fn a_record_with_a_secret_holds_one_of_those_that_are_delivered() {
        let record = json("", SECRET_EVERY / 2);
        assert!(secrets().any(|(_, secret)| record.contains(&secret)), "{record}");
        assert_eq!(secrets().count(), 50);
    }

    #[test]
    fn time_runs_by_milliseconds() {
        assert_eq!(time(0), "2026-11-21T10:00:00.000");
        assert_eq!(time(3_661_001), "2026-11-21T11:01:01.001");
    }
}
