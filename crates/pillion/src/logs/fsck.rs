//! `pillion logs fsck`: what the disk buffers below a state folder are like.

use std::fmt::Write as _;

use pillion_logs::fsck::{self, Report, SinkReport};

use crate::cli::FsckArguments;
use crate::failure::Failure;
use crate::print;

/// Checks, and repairs where that is asked for. Returns 1 when something is bad and stays so.
///
/// # Errors
/// The folder cannot be read, or is in use and was to be repaired.
pub(super) fn command(arguments: &FsckArguments) -> Result<u8, Failure> {
    let report = match arguments.repair {
        true => fsck::repair(&arguments.folder),
        false => fsck::check(&arguments.folder),
    };
    let report = report.map_err(|error| Failure::because(&error))?;
    let text = match arguments.json {
        true => serde_json::to_string_pretty(&report)
            .map_err(|error| Failure::doing("cannot write the report", &error))?,
        false => page(&report, arguments),
    };
    print::output(&text)
        .map_err(|error| Failure::doing("cannot write to standard output", &error))?;
    Ok(u8::from(!report.is_good() && !arguments.repair))
}

fn page(report: &Report, arguments: &FsckArguments) -> String {
    if report.sinks.is_empty() {
        return format!("no disk buffer below {}", arguments.folder.display());
    }
    report.sinks.iter().map(|sink| about(sink, arguments)).collect()
}

fn about(sink: &SinkReport, arguments: &FsckArguments) -> String {
    let mut text = format!(
        "{}: {} segments, {} bytes, {} records, {} of them not delivered{}\n",
        sink.sink,
        sink.segments,
        sink.bytes,
        sink.records,
        sink.unread_records,
        if sink.in_use { " (in use: the end may look torn)" } else { "" },
    );
    for flaw in &sink.flaws {
        let place = flaw.file.display();
        writeln!(text, "  {place} at {}: {} bytes: {}", flaw.offset, flaw.bytes, flaw.reason).ok();
    }
    if sink.ledger == "damaged" {
        text.push_str("  the ledger is damaged: all that is there is sent again\n");
    }
    if arguments.repair && sink.repaired > 0 {
        text.push_str("  repaired: what was bad is kept in files that end in .bad\n");
    } else if sink.bad_bytes > 0 {
        let folder = arguments.folder.display();
        writeln!(text, "  {} bytes are bad: pillion logs fsck --repair {folder}", sink.bad_bytes)
            .ok();
    }
    text
}
