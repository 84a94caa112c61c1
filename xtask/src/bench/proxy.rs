//! Traffic: one round of one case on one proxy.

mod load;
pub(super) mod origin;
mod pace;
pub(crate) mod relay;
mod started;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use self::load::Load;
use self::pace::Pace;
use self::started::{Started, start};
use super::report::{Value, value};
use super::stand::Stand;
use super::subject::Subject;
use super::usage;
use crate::failure::{Doing, Failure};
use crate::http;

/// What is done to a proxy.
#[derive(Clone, Copy)]
pub(super) enum ProxyWork {
    /// Closed-loop HTTP/1.1 load: connections, whether 12 headers are sent, path.
    Http1 { connections: u32, headers: bool, path: &'static str },
    /// Closed-loop HTTP/2 load, 8 connections of 10 streams.
    Http2 { path: &'static str },
    /// Open-loop HTTP/1.1 load at this many requests by second.
    Pace { rate: u32 },
    /// Time to the first answer, then memory at rest.
    Start,
    /// Memory of connections that had one request and idle now.
    IdleConnections { count: u32 },
    /// Memory of upstreams with a route each that get no request.
    SpareUpstreams { count: u32 },
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
    work: ProxyWork,
    seconds: u32,
) -> Result<Vec<Value>, Failure> {
    match work {
        ProxyWork::Http1 { connections, headers, path } => {
            let started = start(stand, subject, 0)?;
            let address = started.http1;
            let load = |seconds| Load { address, path, connections, headers, seconds };
            closed_loop(&started, &|seconds| load::http1(&load(seconds)), seconds)
        }
        ProxyWork::Http2 { path } => {
            let started = start(stand, subject, 0)?;
            let address = started.http2;
            let connections = HTTP2_CONNECTIONS;
            let load = |seconds| Load { address, path, connections, headers: false, seconds };
            closed_loop(&started, &|seconds| load::http2(&load(seconds)), seconds)
        }
        ProxyWork::Pace { rate } => paced(&start(stand, subject, 0)?, rate, seconds),
        ProxyWork::Start => at_rest(&start(stand, subject, 0)?),
        ProxyWork::IdleConnections { count } => idle_connections(&start(stand, subject, 0)?, count),
        ProxyWork::SpareUpstreams { count } => {
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
    let started = start(stand, subject, spares as usize)?;
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
