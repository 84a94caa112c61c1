//! Open-loop load: requests leave at fixed times, whatever the answers do, and each latency counts
//! from the time at which its request *should* have left. A stall is thus seen by every request
//! that it held up, not by one.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::prctl::set_timerslack;
use nix::sys::time::TimeSpec;

use crate::failure::{Doing, Failure};
use crate::http;

/// How fast, and for how long.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// Requests by second.
    pub(super) rate: u32,
    /// How many requests in all.
    pub(super) requests: u32,
}

/// Latencies of a whole run.
pub(super) struct Latencies {
    sorted: Vec<Duration>,
}

const CONNECTIONS: usize = 64;
/// Longest wait for any answer.
const STALL: Duration = Duration::from_secs(5);

struct Connection {
    stream: TcpStream,
    /// When the request in flight should have left.
    due: Option<Instant>,
    received: Vec<u8>,
}

/// Sends GET requests for `path` at `pace`.
pub(super) fn run(address: SocketAddr, path: &str, pace: Pace) -> Result<Latencies, Failure> {
    // The kernel may else wake us up to 50 µs late.
    set_timerslack(1).doing("asking for exact timers")?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let mut connections = (0..CONNECTIONS)
        .map(|_| Connection::open(address))
        .collect::<std::io::Result<Vec<_>>>()
        .doing(format!("connecting to {address}"))?;
    let mut sorted = Vec::new();
    let start = Instant::now();
    let due = |n: u32| start + Duration::from_secs(1) * n / pace.rate;
    let mut sent = 0;
    while sorted.len() < pace.requests as usize {
        for connection in connections.iter_mut().filter(|connection| connection.due.is_none()) {
            if sent == pace.requests || due(sent) > Instant::now() {
                break;
            }
            connection.send(request.as_bytes(), due(sent)).doing("sending a request")?;
            sent += 1;
        }
        let next = (sent < pace.requests).then(|| due(sent));
        if !wait(&connections, next)? {
            return Err(Failure::new(format!("no answer from {address} for {STALL:?}")));
        }
        for connection in connections.iter_mut().filter(|connection| connection.due.is_some()) {
            sorted.extend(connection.receive().doing("reading a response")?);
        }
    }
    sorted.sort_unstable();
    Ok(Latencies { sorted })
}

/// Waits for an answer, or until `next` if a connection is free for it; `false` after [`STALL`].
fn wait(connections: &[Connection], next: Option<Instant>) -> Result<bool, Failure> {
    let busy = || connections.iter().filter(|connection| connection.due.is_some());
    let mut polled: Vec<PollFd<'_>> = busy()
        .map(|connection| PollFd::new(connection.stream.as_fd(), PollFlags::POLLIN))
        .collect();
    let next = next.filter(|_| polled.len() < connections.len());
    let timeout = next.map_or(STALL, |due| due.saturating_duration_since(Instant::now()));
    match ppoll(&mut polled, Some(TimeSpec::from_duration(timeout)), None) {
        Ok(0) => Ok(next.is_some()),
        Ok(_) | Err(Errno::EINTR) => Ok(true),
        Err(error) => Err(Failure::new(format!("waiting for responses: {error}"))),
    }
}

impl Connection {
    fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, due: None, received: Vec::new() })
    }

    fn send(&mut self, request: &[u8], due: Instant) -> std::io::Result<()> {
        self.due = Some(due);
        // A request of this size always fits into an empty socket buffer.
        self.stream.write_all(request)
    }

    /// Reads what is there; returns the latency once the response is whole.
    fn receive(&mut self) -> std::io::Result<Option<Duration>> {
        let mut buffer = [0; 4096];
        let count = match self.stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        self.received.extend(buffer.iter().take(count));
        match http::response_length(&self.received) {
            Some(length) if length <= self.received.len() => {
                self.received.clear();
                Ok(self.due.take().map(|due| due.elapsed()))
            }
            _ => Ok(None),
        }
    }
}

impl Latencies {
    /// The latency, in microseconds, that this share of the requests did not exceed.
    pub(super) fn quantile_us(&self, share: f64) -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank below the number of samples"
        )]
        let rank = (self.sorted.len() as f64 * share).ceil() as usize;
        let latency = self.sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default();
        latency.as_secs_f64() * 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn quantiles_are_those_of_the_sorted_latencies() {
        let latencies = Latencies { sorted: (1..=100).map(Duration::from_micros).collect() };
        for (share, expected) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            assert!((latencies.quantile_us(share) - expected).abs() < 0.001, "{share}");
        }
    }

    /// A server that answers in order, and holds the first answer back.
    fn slow_server(hold: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut streams: Vec<TcpStream> =
                (0..CONNECTIONS).map(|_| listener.accept().unwrap().0).collect();
            let mut first = true;
            for stream in &mut streams {
                stream.set_nonblocking(true).unwrap();
            }
            let mut buffer = [0; 1024];
            loop {
                for stream in &mut streams {
                    match stream.read(&mut buffer) {
                        Ok(0) => return,
                        Ok(_) if std::mem::take(&mut first) => std::thread::sleep(hold),
                        Ok(_) => {}
                        Err(_) => continue,
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
                }
                std::thread::yield_now();
            }
        });
        address
    }

    #[test]
    fn a_stall_is_seen_by_every_request_that_it_held_up() {
        let hold = Duration::from_millis(100);
        let latencies = run(slow_server(hold), "/", Pace { rate: 500, requests: 100 }).unwrap();
        assert_eq!(latencies.sorted.len(), 100);
        // 50 of the 100 requests were due during the stall.
        let held = latencies.sorted.iter().filter(|latency| **latency > hold / 10).count();
        assert!(held >= 40, "{held} requests saw the stall");
    }
}
