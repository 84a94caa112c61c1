//! One HTTP/1.1 request, for the demo, the bench, and for knowing when a program is ready.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::child::Running;
use crate::failure::{Doing, Failure};

const TIMEOUT: Duration = Duration::from_secs(5);

/// What came back.
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// The head, with its status line.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: String,
}

/// A loopback address with this port.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Ports that nobody listens on right now.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N], Failure> {
    let mut ports = [0; N];
    let mut held = Vec::with_capacity(N);
    for port in &mut ports {
        let socket = TcpListener::bind(local(0)).doing("looking for a free port")?;
        *port = socket.local_addr().doing("looking for a free port")?.port();
        held.push(socket);
    }
    Ok(ports)
}

/// Sends one GET on a connection of its own and reads the response to its end.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<Response, Failure> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    ask(address, &request).doing(format!("GET http://{address}{path}"))
}

/// Sends one POST, with more `headers` (a line each), and reads the response to its end.
pub(crate) fn post(
    address: SocketAddr,
    path: &str,
    headers: &str,
    body: &str,
) -> Result<Response, Failure> {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\
         content-length: {length}\r\n\r\n{body}"
    );
    ask(address, &request).doing(format!("POST http://{address}{path}"))
}

/// How long a response with a `content-length` is, in bytes, once its head is there.
pub(crate) fn response_length(received: &[u8]) -> Option<usize> {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(received.get(..end)?).ok()?;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())?;
    Some(end + length)
}

fn ask(address: SocketAddr, request: &str) -> Result<Response, Failure> {
    let text = exchange(address, request).doing("no answer")?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| Failure::new("the answer has no status"))?;
    Ok(Response { status, head: head.to_owned(), body: body.to_owned() })
}

fn exchange(address: SocketAddr, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 16 << 10];
    // Some servers keep the connection open, whatever they are asked.
    while response_length(&answer).is_none_or(|length| answer.len() < length) {
        match stream.read(&mut buffer)? {
            0 => break,
            count => answer.extend(buffer.iter().take(count)),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Waits until a program that was just started answers a GET with 200.
pub(crate) fn wait_ready(
    program: &mut Running,
    address: SocketAddr,
    path: &str,
    limit: Duration,
) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        let last = match get(address, path) {
            Ok(Response { status: 200, .. }) => return Ok(()),
            Ok(response) => format!("it answers {}", response.status),
            Err(failure) => failure.to_string(),
        };
        if let Some(status) = program.ended() {
            return Err(Failure::new(format!("the program ended before it was ready: {status}")));
        }
        if started.elapsed() > limit {
            return Err(Failure::new(format!("not ready after {limit:?}: {last}")));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_response_is_known_with_its_head() {
        let cases: [(&str, Option<usize>); 3] = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", Some(43)),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n", None),
            ("HTTP/1.1 200 OK\r\n\r\n", None),
        ];
        for (received, expected) in cases {
            assert_eq!(response_length(received.as_bytes()), expected, "{received:?}");
        }
    }

    #[test]
    fn free_ports_differ() {
        let [a, b, c] = free_ports().unwrap();
        assert!(a != b && b != c && a != c);
    }
}
