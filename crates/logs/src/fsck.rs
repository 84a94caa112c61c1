//! Looks at the disk buffers below a state folder, and repairs them: what `pillion logs fsck` does.

mod repair;

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use crate::segments::{self as log, Bad, Entry, Flaw, Found, Position};
use crate::tally::Tally;

/// The most flaws that a report names for one sink; the others are only counted.
const NAMED: usize = 1000;

/// Why disk buffers could not be looked at or repaired.
#[derive(Debug, Error)]
pub enum Problem {
    /// A process has it open.
    #[error("cannot repair {folder}: it is in use; stop the Pillion that uses it first")]
    InUse {
        /// The sink's folder.
        folder: PathBuf,
    },
    /// The system refused.
    #[error("cannot read or write {path}")]
    Io {
        /// What could not be read or written.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the disk buffers below a state folder are like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One for each sink, by name.
    pub sinks: Vec<SinkReport>,
}

/// What the disk buffer of one sink is like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SinkReport {
    /// The name of the sink.
    pub sink: String,
    /// Whether a process has it open. What that writes meanwhile may look torn here.
    pub in_use: bool,
    /// Segments.
    pub segments: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Records that can be read.
    pub records: u64,
    /// Of these, what the sink has not confirmed yet: records, and their encoded bytes.
    pub unread_records: u64,
    /// See `unread_records`.
    pub unread_bytes: u64,
    /// The state of the ledger: `good`, `missing`, `damaged`.
    pub ledger: &'static str,
    /// Places that cannot be read, the first thousand.
    pub flaws: Vec<FlawReport>,
    /// Bytes of all such places.
    pub bad_bytes: u64,
    /// Segments that were written anew, without such places; those lie beside them in `.bad` files.
    pub repaired: u64,
}

/// A place that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FlawReport {
    /// The segment.
    pub file: PathBuf,
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// What is wrong.
    pub reason: String,
}

impl Report {
    /// Whether everything can be read.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.sinks.iter().all(|sink| sink.bad_bytes == 0 && sink.ledger != "damaged")
    }
}

/// Looks at every disk buffer below the state folder `state`. Changes nothing, and needs no process
/// to stop.
///
/// # Errors
/// The system refuses to read something.
pub fn check(state: &Path) -> Result<Report, Problem> {
    let sinks = sinks(state)?;
    let looked = sinks.iter().map(|folder| inspect(folder).map(|(report, _)| report));
    Ok(Report { sinks: looked.collect::<Result<_, _>>()? })
}

/// Looks at every disk buffer below the state folder `state`, and takes out what cannot be read:
/// segments are written anew with all that is good, and what is bad goes to `NNNNNNNN.bad` beside
/// them. A ledger that cannot be read is written anew: all that is there is sent again.
///
/// The report says what was found. What a newer version of this program wrote is left alone.
///
/// # Errors
/// A process has one of them open (those before it are repaired), or the system refuses.
pub fn repair(state: &Path) -> Result<Report, Problem> {
    let mut report = Report::default();
    for folder in sinks(state)? {
        let lock = log::lock(&folder).map_err(|source| match source.kind() {
            io::ErrorKind::ResourceBusy => Problem::InUse { folder: folder.clone() },
            _ => Problem::Io { path: folder.clone(), source },
        })?;
        let (mut sink, segments) = inspect(&folder)?;
        sink.in_use = false;
        sink.repaired = repair::repair(&folder, &segments).map_err(at(&folder))?;
        report.sinks.push(sink);
        lock.unlock().map_err(at(&folder))?;
    }
    Ok(report)
}

/// What was found in one segment.
#[derive(Debug)]
struct Inspected {
    number: u64,
    bad: Vec<Bad>,
}

/// The folders of sinks.
fn sinks(state: &Path) -> Result<Vec<PathBuf>, Problem> {
    let buffers = state.join("buffer");
    let read = || -> io::Result<Vec<PathBuf>> {
        let mut folders = Vec::new();
        for entry in fs::read_dir(&buffers)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
        folders.sort_unstable();
        Ok(folders)
    };
    match read() {
        // A state folder without buffers is in order; a state folder that is not there is not.
        Err(error) if error.kind() == io::ErrorKind::NotFound && state.is_dir() => Ok(Vec::new()),
        read => read.map_err(at(&buffers)),
    }
}

fn inspect(folder: &Path) -> Result<(SinkReport, Vec<Inspected>), Problem> {
    let path = log::ledger(folder);
    let entry = log::peek(&path).map_err(at(&path))?;
    let (ledger, done) = match entry {
        Entry::At(position) => ("good", position),
        Entry::Missing => ("missing", Position::default()),
        Entry::Bad => ("damaged", Position::default()),
    };
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let in_use = log::is_locked(folder);
    let mut report = SinkReport { sink: name, in_use, ledger, ..SinkReport::default() };
    let mut inspected = Vec::new();
    for number in log::segments(folder).map_err(at(folder))? {
        let path = log::segment(folder, number);
        match inspect_segment(&path, number, done, &mut report) {
            Ok(bad) => inspected.push(Inspected { number, bad }),
            // A process that has it open removes what is done.
            Err(error) if in_use && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(&path)(error)),
        }
    }
    Ok((report, inspected))
}

fn inspect_segment(
    path: &Path,
    number: u64,
    done: Position,
    report: &mut SinkReport,
) -> io::Result<Vec<Bad>> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    report.segments += 1;
    report.bytes += len;
    let mut bad = Vec::new();
    let mut at = 0;
    loop {
        match log::find(&file, at, len)? {
            Found::End => return Ok(bad),
            Found::Batch(header, _) => {
                let Tally { records, bytes, .. } = header.tally();
                report.records += records;
                if (Position { segment: number, offset: at }) >= done {
                    report.unread_records += records;
                    report.unread_bytes += bytes;
                }
                at += header.frame();
            }
            Found::Bad(found) => {
                note(path, &found, report);
                bad.push(found);
                at = found.end;
            }
        }
    }
}

fn note(path: &Path, bad: &Bad, report: &mut SinkReport) {
    let bytes = bad.end - bad.start;
    report.bad_bytes += bytes;
    if report.flaws.len() < NAMED {
        let (file, reason) = (path.to_owned(), bad.flaw.to_string());
        report.flaws.push(FlawReport { file, offset: bad.start, bytes, reason });
    }
}

/// What was being done when the system refused.
fn at(path: &Path) -> impl Fn(io::Error) -> Problem + '_ {
    |source| Problem::Io { path: path.to_owned(), source }
}

impl Inspected {
    /// Whether all that is bad in it may be taken out.
    fn is_repairable(&self) -> bool {
        !self.bad.is_empty() && !self.bad.iter().any(|bad| matches!(bad.flaw, Flaw::Version(_)))
    }
}
