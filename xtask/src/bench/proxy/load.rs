//! Closed-loop load from wrk (HTTP/1.1) and h2load (HTTP/2): how many requests were answered.

use std::net::SocketAddr;
use std::process::Command;

use crate::failure::Failure;
use crate::program;

/// What an ordinary browser or client sends: 12 request headers beside `host`.
pub(super) const TWELVE_HEADERS: [(&str, &str); 12] = [
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.8,de;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("referer", "https://shop.example/catalogue/chairs?page=3&sort=price"),
    ("cookie", "session=4f1c2b7d9e8a4c6f; theme=dark; consent=necessary,statistics"),
    ("authorization", "Bearer 3q2-7wAAAAEAAAACAAAAAwAAAAQAAAAFAAAABgAAAAcAAAAIAAAACQ"),
    ("cache-control", "no-cache"),
    ("origin", "https://shop.example"),
    ("x-client-version", "2026.11.3"),
    ("x-tenant", "acme-furniture"),
    ("priority", "u=1, i"),
];

/// Closed-loop load for a while.
pub(super) struct Load<'a> {
    /// Where to.
    pub(super) address: SocketAddr,
    /// What is asked for.
    pub(super) path: &'a str,
    /// Connections, each with one request in flight (HTTP/2: [`STREAMS`] of them).
    pub(super) connections: u32,
    /// Whether [`TWELVE_HEADERS`] are sent.
    pub(super) headers: bool,
    /// For how long.
    pub(super) seconds: u32,
}

/// Requests in flight on each HTTP/2 connection.
const STREAMS: u32 = 10;

/// What was answered.
#[derive(Debug, PartialEq)]
pub(super) struct Answered {
    /// Whole responses with a status of 2xx.
    pub(super) requests: f64,
    /// The same by time.
    pub(super) per_second: f64,
}

/// HTTP/1.1 load from wrk.
pub(super) fn http1(load: &Load<'_>) -> Result<Answered, Failure> {
    let mut command = Command::new("wrk");
    command.args(["--threads", "1", "--timeout", "10s"]);
    command.arg("--connections").arg(load.connections.to_string());
    command.arg("--duration").arg(format!("{}s", load.seconds));
    if load.headers {
        for (name, value) in TWELVE_HEADERS {
            command.arg("--header").arg(format!("{name}: {value}"));
        }
    }
    command.arg(format!("http://{}{}", load.address, load.path));
    read_wrk(&program::output(&mut command)?)
}

/// HTTP/2 load with prior knowledge from h2load.
pub(super) fn http2(load: &Load<'_>) -> Result<Answered, Failure> {
    let mut command = Command::new("h2load");
    command.args(["--threads", "1", "--max-concurrent-streams", &STREAMS.to_string()]);
    command.arg("--clients").arg(load.connections.to_string());
    command.arg("--duration").arg(load.seconds.to_string());
    command.arg(format!("http://{}{}", load.address, load.path));
    read_h2load(&program::output(&mut command)?)
}

/// Reads what wrk prints; an error or a status that is no success makes the number worthless.
fn read_wrk(text: &str) -> Result<Answered, Failure> {
    let spoilt = |line: &&str| line.contains("Socket errors:") || line.contains("Non-2xx");
    if let Some(line) = text.lines().find(spoilt) {
        return Err(Failure::new(format!("wrk saw errors: {}", line.trim())));
    }
    let requests = text.lines().find_map(|line| number_before(line, " requests in "));
    let per_second = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    let per_second = per_second.and_then(|rate| rate.trim().parse().ok());
    answered(requests, per_second, text)
}

/// Reads what h2load prints.
fn read_h2load(text: &str) -> Result<Answered, Failure> {
    let counts = text.lines().find(|line| line.starts_with("requests:")).unwrap_or_default();
    let count = |word: &str| number_before(counts, &format!(" {word}"));
    if count("failed") != Some(0.0) || count("errored") != Some(0.0) {
        return Err(Failure::new(format!("h2load saw errors: {counts}")));
    }
    let statuses = text.lines().find(|line| line.starts_with("status codes:")).unwrap_or_default();
    let others = ["3xx", "4xx", "5xx"].map(|class| number_before(statuses, &format!(" {class}")));
    if others != [Some(0.0); 3] {
        return Err(Failure::new(format!("h2load saw errors: {statuses}")));
    }
    let per_second = text.lines().find_map(|line| number_before(line, " req/s,"));
    answered(number_before(statuses, " 2xx"), per_second, text)
}

fn answered(requests: Option<f64>, rate: Option<f64>, text: &str) -> Result<Answered, Failure> {
    match (requests, rate) {
        (Some(requests), Some(per_second)) if requests > 0.0 => {
            Ok(Answered { requests, per_second })
        }
        _ => Err(Failure::new(format!("the load was not answered:\n{text}"))),
    }
}

/// The number directly before `word`.
fn number_before(line: &str, word: &str) -> Option<f64> {
    let (before, _) = line.split_once(word)?;
    before.rsplit([' ', ',']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRK: &str = "Running 2s test @ http://127.0.0.1:1/small\n  1 threads and 32 connections\n  \
        Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     1.20ms    0.30ms   9.0ms   90.00%\n  \
        53210 requests in 2.01s, 11.00MB read\nRequests/sec:  26472.64\nTransfer/sec:      5.47MB\n";
    const H2LOAD: &str = "finished in 2.00s, 31250.50 req/s, 3.20MB/s\n\
        requests: 62580 total, 62580 started, 62501 done, 62501 succeeded, 0 failed, 0 errored, 0 timeout\n\
        status codes: 62581 2xx, 0 3xx, 0 4xx, 0 5xx\n";

    #[test]
    fn wrk_is_read() {
        let expected = Answered { requests: 53210.0, per_second: 26472.64 };
        assert_eq!(read_wrk(WRK).unwrap(), expected);
    }

    #[test]
    fn h2load_is_read() {
        let expected = Answered { requests: 62581.0, per_second: 31250.5 };
        assert_eq!(read_h2load(H2LOAD).unwrap(), expected);
    }

    #[test]
    fn a_run_with_errors_gives_no_number() {
        let wrk = format!("{WRK}  Non-2xx or 3xx responses: 3\n");
        assert!(read_wrk(&wrk).unwrap_err().to_string().contains("responses: 3"));
        for (good, bad) in [("0 failed", "1 failed"), ("0 5xx", "2 5xx"), ("status codes", "none")]
        {
            assert!(read_h2load(&H2LOAD.replace(good, bad)).is_err(), "{bad}");
        }
        assert!(read_wrk("unable to connect").is_err());
    }
}
