//! Logs: one round of one case on one shipper.

mod input;
mod receiver;
mod shipper;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

pub(super) use self::input::Input;
pub(super) use self::receiver::Receiver;
pub(super) use self::shipper::FluentBit;

use self::shipper::Shipper;
use super::report::{Value, value};
use super::stand::Stand;
use super::subject::Subject;
use super::usage;
use crate::failure::{Doing, Failure};
use crate::program;

/// What is done to a shipper of logs.
#[derive(Clone, Copy)]
pub(super) enum LogsWork {
    /// A whole file, from its first byte until its last record has arrived.
    Ship(Pipeline, Sink),
    /// What files cost that were read and do not grow.
    Idle { files: u32 },
}

/// What is made of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pipeline {
    /// The line is the message.
    Plain,
    /// The line is what containerd wrote, and its message is JSON.
    CriJson,
}

/// Where records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sink {
    /// Nowhere.
    Null,
    /// An HTTP server that swallows them, as lines of JSON.
    Http {
        /// Whether zstd makes the bodies smaller.
        compress: bool,
    },
}

/// Of the file that is shipped, for each second that a load lasts.
const BYTES_PER_SECOND: u64 = 64 << 20;
/// Longer than the 5 s after which Pillion closes an idle file.
const IDLE_SETTLE: Duration = Duration::from_secs(8);
/// Idle files are watched this many times longer than a load lasts.
const IDLE_TIMES: u32 = 5;

/// Measures one round; a file has 64 MiB for each of the `seconds`.
pub(super) fn round(
    stand: &Stand,
    subject: Subject,
    work: LogsWork,
    seconds: u32,
) -> Result<Vec<Value>, Failure> {
    match (work, subject) {
        (LogsWork::Ship(pipeline, _), Subject::WcL) => {
            count(stand, input(stand, pipeline, seconds)?)
        }
        (LogsWork::Ship(pipeline, sink), _) => {
            let input = input(stand, pipeline, seconds)?;
            ship(&Shipper { stand, subject, pipeline, sink }, input)
        }
        (LogsWork::Idle { files }, _) => {
            let shipper = Shipper { stand, subject, pipeline: Pipeline::Plain, sink: Sink::Null };
            idle(&shipper, files, seconds)
        }
    }
}

fn input(stand: &Stand, pipeline: Pipeline, seconds: u32) -> Result<&Input, Failure> {
    stand.input(pipeline, BYTES_PER_SECOND * u64::from(seconds))
}

/// From the start of the process until every record has arrived.
fn ship(shipper: &Shipper<'_>, input: &Input) -> Result<Vec<Value>, Failure> {
    let folder = shipper.empty_folder()?;
    let place = || {
        let file = folder.join("app.log");
        std::fs::hard_link(&input.path, &file).doing(format!("linking {}", file.display()))
    };
    let mut shipping = shipper.start(place)?;
    shipping.wait_for(input.records)?;
    let wall = shipping.began.elapsed();
    shipping.check(input)?;
    let process = shipping.process();
    let cpu = usage::cpu(process)?;
    let mut values = speeds(input, cpu, wall);
    values.push(value("peak_memory", "KiB", usage::peak_kib(process)?));
    Ok(values)
}

/// What counting the lines takes.
fn count(stand: &Stand, input: &Input) -> Result<Vec<Value>, Failure> {
    let mut command = Command::new(program::installed("wc")?);
    command.arg("-l").arg(&input.path);
    let began = Instant::now();
    let running = stand.start(Subject::WcL, &mut command)?;
    running.wait_until_it_ends()?;
    let wall = began.elapsed();
    Ok(speeds(input, usage::cpu(running.id())?, wall))
}

fn speeds(input: &Input, cpu: Duration, wall: Duration) -> Vec<Value> {
    #[expect(clippy::cast_precision_loss, reason = "a file has less than 2^52 bytes")]
    let megabytes = input.bytes as f64 / 1e6;
    vec![
        value("mb_per_cpu_second", "MB/s", megabytes / cpu.as_secs_f64()),
        value("mb_per_second", "MB/s", megabytes / wall.as_secs_f64()),
    ]
}

fn idle(shipper: &Shipper<'_>, files: u32, seconds: u32) -> Result<Vec<Value>, Failure> {
    let folder = shipper.empty_folder()?;
    let place = || (0..files).try_for_each(|n| write_line(&folder.join(format!("{n}.log"))));
    let mut shipping = shipper.start(place)?;
    shipping.wait_for(u64::from(files))?;
    std::thread::sleep(IDLE_SETTLE);
    let process = shipping.process();
    let (before, began) = (usage::cpu(process)?, Instant::now());
    std::thread::sleep(Duration::from_secs(u64::from(seconds * IDLE_TIMES)));
    let used = usage::cpu(process)?.saturating_sub(before);
    Ok(vec![
        value("cpu", "%", used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0),
        value("memory_at_rest", "KiB", usage::resident_kib(process)?),
    ])
}

fn write_line(file: &Path) -> Result<(), Failure> {
    std::fs::write(file, "one line\n").doing(format!("writing {}", file.display()))
}
