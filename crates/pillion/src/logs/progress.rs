//! What a person on a terminal sees while files are shipped: one line that changes.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use pillion_logs::status::{Status, StatusBoard};
use tokio::time::sleep;

/// How often the line changes.
const EVERY: Duration = Duration::from_millis(500);

/// The line.
pub(super) struct Progress {
    status: StatusBoard,
    /// Standard error is a terminal that nothing else is shown on.
    is_shown: bool,
    began: Instant,
    /// The bytes that had been read at the time, for the rate.
    last: Cell<(Instant, u64)>,
}

impl Progress {
    /// Nothing is shown yet. `alone`: nothing else is written to the terminal.
    pub(super) fn new(status: StatusBoard, alone: bool) -> Self {
        let now = Instant::now();
        let is_shown = alone && std::io::stderr().is_terminal();
        Self { status, is_shown, began: now, last: Cell::new((now, 0)) }
    }

    /// Waits a moment, and shows how it stands.
    pub(super) async fn shown(&self) {
        sleep(EVERY).await;
        if self.is_shown {
            let status = self.status.current();
            let now = Instant::now();
            let bytes = read(&status);
            let (then, before) = self.last.replace((now, bytes));
            let rate = per_second(bytes.saturating_sub(before), now - then);
            write_line(&format!("\r\x1b[K{}", line(&status, rate)));
        }
    }

    /// Leaves what came of it.
    pub(super) fn finish(&self) {
        if self.is_shown {
            let status = self.status.current();
            let rate = per_second(read(&status), self.began.elapsed());
            write_line(&format!("\r\x1b[K{}\n", line(&status, rate)));
        }
    }
}

/// Nowhere is left to say that standard error is closed.
fn write_line(line: &str) {
    drop(std::io::stderr().lock().write_all(line.as_bytes()));
}

fn read(status: &Status) -> u64 {
    status.sources.iter().map(|source| source.bytes).sum()
}

fn per_second(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64().max(0.001)
}

fn line(status: &Status, rate: f64) -> String {
    let sum = |number: fn(&pillion_logs::status::SourceStatus) -> u64| -> u64 {
        status.sources.iter().map(number).sum()
    };
    let files =
        sum(|source| u64::try_from(source.files.len() + source.other_files).unwrap_or(u64::MAX));
    let mut line = format!("{files} files, {} read, {}/s", size(read(status) as f64), size(rate));
    for sink in &status.sinks {
        write!(line, "; {} of {} records delivered", sink.delivered, sink.records).ok();
        if let Some(error) = &sink.last_error {
            let error: String = error.chars().filter(|c| !c.is_control()).take(60).collect();
            write!(line, "; {error}").ok();
        }
    }
    write!(line, "; behind {}", size(sum(|source| source.lag_bytes) as f64)).ok();
    line
}

/// Bytes as people read them.
fn size(bytes: f64) -> String {
    let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "KB")];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes / unit),
        None => format!("{bytes:.0} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_short() {
        let table = [(0.0, "0 B"), (999.0, "999 B"), (1500.0, "1.5 KB"), (2.5e8, "250.0 MB")];
        for (bytes, text) in table {
            assert_eq!(size(bytes), text);
        }
    }
}
