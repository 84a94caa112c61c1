//! The thread `pillion-log`: takes batches, formats their lines, writes them.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use pillion_model::snapshot::LogFormat;

use super::batch::Batch;
use super::format::Formatter;
use super::output::Output;
use super::queue::receive;
use super::{DROPPED, Message, Shared};
use crate::metrics::{Counter, Desc, Kind, Registry};
use crate::say;

/// A failing output is reported this often at most.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

pub(crate) static LINES: Desc = Desc {
    name: "pillion_access_log_lines",
    kind: Kind::Counter,
    unit: "",
    help: "Access log lines that were written.",
    labels: &[],
};

pub(crate) static WRITE_ERRORS: Desc = Desc {
    name: "pillion_access_log_write_errors",
    kind: Kind::Counter,
    unit: "",
    help: "Writes to the access log that failed.",
    labels: &[],
};

/// What the thread is asked to do beside writing.
#[derive(Default)]
pub(super) struct Control {
    pub(super) next: Option<(Output, LogFormat)>,
    pub(super) reopen: bool,
}

struct Log {
    output: Output,
    formatter: Formatter,
    text: Vec<u8>,
    lines: Counter,
    dropped: Counter,
    errors: Counter,
    reported: Option<Instant>,
}

/// Runs until every handle and writer is gone and the queue is empty.
pub(super) fn run(
    received: &Receiver<Message>,
    shared: &Shared,
    registry: &Registry,
    output: Output,
    format: LogFormat,
) {
    let mut log = Log {
        output,
        formatter: Formatter::new(format),
        text: Vec::new(),
        lines: registry.counter(&LINES, &[]),
        dropped: registry.counter(&DROPPED, &[]),
        errors: registry.counter(&WRITE_ERRORS, &[]),
        reported: None,
    };
    while let Some(message) = receive(received) {
        let control = std::mem::take(&mut *shared.control());
        log.obey(control);
        match message {
            Message::Wake => {}
            Message::Lines(batch) => {
                log.write(&batch);
                shared.give_spare(batch);
                shared.batch_done();
            }
        }
    }
}

impl Log {
    fn obey(&mut self, control: Control) {
        if let Some((output, format)) = control.next {
            (self.output, self.formatter) = (output, Formatter::new(format));
            self.reported = None;
        }
        if control.reopen
            && let Err(error) = self.output.reopen()
        {
            self.errors.inc();
            say!(Warn, "the old access log file stays in use", error = error);
        }
    }

    fn write(&mut self, batch: &Batch) {
        self.text.clear();
        for line in batch.lines() {
            self.formatter.push_line(&line, &mut self.text);
        }
        let Err(lost) = self.output.write(&self.text) else {
            self.lines.add(batch.len() as u64);
            return;
        };
        self.errors.inc();
        self.dropped.add(lost.lines);
        self.lines.add((batch.len() as u64).saturating_sub(lost.lines));
        if self.reported.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL) {
            self.reported = Some(Instant::now());
            say!(Error, "cannot write the access log", error = lost.error, lost_lines = lost.lines);
        }
    }
}
