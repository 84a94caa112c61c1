//! What came of a run, and which promises it broke.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Torture;
use super::receiver::Receiver;
use super::shipper::Shipper;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// What decided it.
    pub seed: u64,
    /// Lines that were written.
    pub written: u64,
    /// Writers.
    pub writers: u64,
    /// Rotations by rename, and by copytruncate.
    pub rotations: (u64, u64),
    /// Ends by SIGKILL, and by SIGTERM.
    pub ends: (u64, u64),
    /// How long the writers wrote, and how long it took until every line had come, or
    /// nothing came any more.
    pub times: (Duration, Duration),
    /// What each sink has.
    pub sinks: Vec<SinkReport>,
    /// Ends of the program that nobody asked for.
    pub crashes: Vec<String>,
    /// The last that the program said.
    pub said: String,
}

/// What one sink has.
#[derive(Clone, Debug)]
pub struct SinkReport {
    /// Its name.
    pub name: String,
    /// Lines that it took, repeated ones included.
    pub received: u64,
    /// Lines that it never took.
    pub lost: u64,
    /// The first of them: writer and number.
    pub missing: Vec<(u64, u64)>,
    /// Lines that it took before.
    pub repeated: u64,
    /// Lines that it took and then denied: they had to come again.
    pub denied: u64,
    /// Lines that the kills allow to come again.
    pub window: u64,
    /// Requests, and those of them that failed.
    pub requests: (u64, u64),
    /// Lines that came first after one that follows them in their file.
    pub disordered: u64,
    /// The first of each writer: writer, number, and a later number that came before it.
    pub late: Vec<(u64, u64, u64)>,
    /// Whether order is promised.
    pub is_ordered: bool,
}

impl Report {
    pub(super) fn new(
        torture: &Torture,
        shipper: &Shipper,
        rotations: &[u64],
        sinks: [(&str, &Arc<Receiver>); 2],
        times: (Duration, Duration),
    ) -> Self {
        let written = torture.lines / torture.writers * torture.writers;
        let of = |odd| (0..).zip(rotations).filter(move |(number, _)| number % 2 == odd);
        let sum = |odd| of(odd).map(|(_, rotations)| rotations).sum();
        let said = shipper.said();
        let last = said.len().saturating_sub(4000);
        let sinks = sinks.iter().zip(shipper.windows);
        Self {
            seed: torture.seed,
            written,
            writers: torture.writers,
            rotations: (sum(0), sum(1)),
            ends: (shipper.kills, shipper.terminations),
            times,
            sinks: sinks
                .map(|((name, sink), window)| SinkReport::new(name, sink, written, window))
                .collect(),
            crashes: shipper.crashes.clone(),
            said: said[said.ceil_char_boundary(last)..].to_owned(),
        }
    }

    /// The promises that were broken, in words; none: all is well.
    pub fn broken(&self) -> Vec<String> {
        let mut broken: Vec<String> =
            self.crashes.iter().map(|end| format!("Pillion ended by itself: {end}")).collect();
        for sink in &self.sinks {
            let SinkReport { name, lost, missing, repeated, disordered, late, .. } = sink;
            if *lost > 0 {
                broken.push(format!("{name}: {lost} lines are lost, such as {missing:?}"));
            }
            if *repeated > sink.allowed() {
                let allowed = sink.allowed();
                broken.push(format!("{name}: {repeated} lines came again, {allowed} may"));
            }
            if sink.is_ordered && *disordered > 0 {
                broken
                    .push(format!("{name}: {disordered} lines are out of order, such as {late:?}"));
            }
        }
        broken
    }
}

impl SinkReport {
    fn new(name: &str, sink: &Receiver, written: u64, window: u64) -> Self {
        let books = sink.books();
        Self {
            name: name.to_owned(),
            received: books.lines,
            lost: written - books.distinct(),
            missing: books.missing(),
            repeated: books.lines - books.distinct(),
            denied: books.denied,
            window,
            requests: sink.requests(),
            disordered: books.disordered(),
            late: books.late(),
            is_ordered: name == "loki",
        }
    }

    /// Lines that may come again.
    pub fn allowed(&self) -> u64 {
        self.denied + self.window
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, written, writers, rotations, ends, times, .. } = self;
        writeln!(
            f,
            "seed {seed}: {written} lines by {writers} writers in {:.0?}, over after {:.0?}; \
             {} rotations by rename, {} by copytruncate; killed {} times, told to end {} times",
            times.0, times.1, rotations.0, rotations.1, ends.0, ends.1
        )?;
        writeln!(f)?;
        writeln!(
            f,
            "| sink | received | lost | repeated | of these denied by the sink | allowed by kills | \
             requests | failed | out of order |"
        )?;
        writeln!(f, "| --- | --: | --: | --: | --: | --: | --: | --: | --: |")?;
        for sink in &self.sinks {
            let order = if sink.is_ordered { "" } else { " (not promised)" };
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {}{order} |",
                sink.name,
                sink.received,
                sink.lost,
                sink.repeated,
                sink.denied,
                sink.window,
                sink.requests.0,
                sink.requests.1,
                sink.disordered
            )?;
        }
        Ok(())
    }
}
