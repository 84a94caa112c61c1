//! One round of one case on one subject.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::case::Work;
use super::load::{self, Load};
use super::pace::{self, Pace};
use super::stand::{Stand, Started};
use super::subject::Subject;
use super::usage;
use crate::failure::{Doing, Failure};
use crate::http;

/// One number with its name and unit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    /// What it is.
    pub(super) metric: &'static str,
    /// How it is counted.
    pub(super) unit: &'static str,
    /// The number.
    pub(super) number: f64,
}

const fn value(metric: &'static str, unit: &'static str, number: f64) -> Value {
    Value { metric, unit, number }
}

/// Load before each measured load, so that pools are filled and pages touched.
const WARM_UP_SECONDS: u32 = 1;
/// A program that just answered, or just lost its load, gets this long to settle.
const SETTLE: Duration = Duration::from_millis(1500);
const HTTP2_CONNECTIONS: u32 = 8;

/// Measures one round; `seconds` is how long a load lasts.
pub(super) fn round(
    stand: &Stand,
    subject: Subject,
    work: Work,
    seconds: u32,
) -> Result<Vec<Value>, Failure> {
    match work {
        Work::Http1 { connections, headers, path } => {
            let started = stand.start(subject, 0)?;
            let address = started.http1;
            let load = |seconds| Load { address, path, connections, headers, seconds };
            closed_loop(&started, &|seconds| load::http1(&load(seconds)), seconds)
        }
        Work::Http2 { path } => {
            let started = stand.start(subject, 0)?;
            let address = started.http2;
            let connections = HTTP2_CONNECTIONS;
            let load = |seconds| Load { address, path, connections, headers: false, seconds };
            closed_loop(&started, &|seconds| load::http2(&load(seconds)), seconds)
        }
        Work::Pace { rate } => paced(&stand.start(subject, 0)?, rate, seconds),
        Work::Start => at_rest(&stand.start(subject, 0)?),
        Work::IdleConnections { count } => idle_connections(&stand.start(subject, 0)?, count),
        Work::SpareUpstreams { count } => {
            let without = resident_after_start(stand, subject, 0)?;
            let with = resident_after_start(stand, subject, count)?;
            let kib = (with - without) / f64::from(count);
            Ok(vec![value("memory_per_upstream", "KiB", kib)])
        }
    }
}

fn closed_loop(
    started: &Started,
    load: &dyn Fn(u32) -> Result<load::Answered, Failure>,
    seconds: u32,
) -> Result<Vec<Value>, Failure> {
    load(WARM_UP_SECONDS)?;
    let process = process(started)?;
    let before = usage::cpu(process)?;
    let answered = load(seconds)?;
    let used = usage::cpu(process)?.saturating_sub(before);
    Ok(vec![
        value("cpu_per_request", "us", used.as_secs_f64() * 1e6 / answered.requests),
        value("requests_per_second", "1/s", answered.per_second),
        value("memory_under_load", "KiB", usage::resident_kib(process)?),
    ])
}

fn paced(started: &Started, rate: u32, seconds: u32) -> Result<Vec<Value>, Failure> {
    let run = |seconds| pace::run(started.http1, "/small", Pace { rate, requests: rate * seconds });
    run(WARM_UP_SECONDS)?;
    let latencies = run(seconds)?;
    Ok(vec![
        value("p50", "us", latencies.quantile_us(0.5)),
        value("p99", "us", latencies.quantile_us(0.99)),
    ])
}

fn at_rest(started: &Started) -> Result<Vec<Value>, Failure> {
    std::thread::sleep(SETTLE);
    Ok(vec![
        value("time_to_ready", "ms", started.ready.as_secs_f64() * 1e3),
        value("memory_at_rest", "KiB", usage::resident_kib(process(started)?)?),
    ])
}

fn resident_after_start(stand: &Stand, subject: Subject, spares: u32) -> Result<f64, Failure> {
    let started = stand.start(subject, spares as usize)?;
    std::thread::sleep(SETTLE);
    usage::resident_kib(process(&started)?)
}

fn idle_connections(started: &Started, count: u32) -> Result<Vec<Value>, Failure> {
    let process = process(started)?;
    // Pillion gives back what its start has mapped; the first connection fills what is needed once.
    std::thread::sleep(SETTLE);
    let mut held = vec![connection(started.http1).doing("opening a connection")?];
    std::thread::sleep(SETTLE);
    let before = usage::resident_kib(process)?;
    for _ in 0..count {
        held.push(connection(started.http1).doing("opening a connection")?);
    }
    std::thread::sleep(SETTLE);
    let grown = usage::resident_kib(process)? - before;
    Ok(vec![value("memory_per_connection", "KiB", grown / f64::from(count))])
}

/// A connection that had one request, and stays open.
fn connection(address: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /small HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    while http::response_length(&received).is_none_or(|length| received.len() < length) {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        received.extend(buffer.iter().take(count));
    }
    Ok(stream)
}

fn process(started: &Started) -> Result<u32, Failure> {
    started.process().ok_or_else(|| Failure::new("there is no process between load and origin"))
}
