//! Looking for the app from outside: which port it opened, and whether it says that it is ready.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use pillion_model::settings::AppSettings;
use pillion_runtime::ports::PortFinder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::events::{Background, Event};

/// While the app does not answer, it is asked again after this wait, which doubles …
const FIRST_WAIT: Duration = Duration::from_millis(5);
/// … up to this one.
const LONGEST_WAIT: Duration = Duration::from_millis(250);
/// A port that was found is taken for the right one when no better one has come for this long: an app
/// that opens several does so one after the other. Its traffic flows meanwhile.
const SETTLE: Duration = Duration::from_millis(200);
/// The app may take this long to answer one question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// An answer is read to its end for this long, and up to this many bytes.
const REST_TIMEOUT: Duration = Duration::from_millis(100);
const LONGEST_ANSWER: u64 = 64 << 10;
/// `HTTP/1.1 200`: all of an answer that is looked at.
const STATUS_LINE: usize = 12;

/// Where the app listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where its traffic is sent.
    pub(crate) address: SocketAddr,
    /// The address, and how it was chosen, for people.
    pub(crate) text: String,
}

/// Looks at the processes below `keeper` for as long as the result is kept. The ports in `ours` are
/// never the app's.
pub(super) fn look(settings: &AppSettings, keeper: u32, ours: &[u16]) -> Background {
    let port = match settings.port {
        Some(port) => Port::Given(port),
        None => Port::Found(PortFinder::new(keeper, ours)),
    };
    let path = settings.ready_path.clone();
    let late_at = Instant::now() + settings.port_timeout;
    Background::spawn(move |events| look_on(port, path, late_at, events))
}

async fn look_on(
    mut port: Port,
    path: Option<String>,
    late_at: Instant,
    events: mpsc::Sender<Event>,
) {
    let settle = if matches!(port, Port::Found(_)) { SETTLE } else { Duration::ZERO };
    let (mut asked, mut late_at) = (None, Some(late_at));
    loop {
        // A question that is cut off, because the port is another one now, was asked in vain.
        let event = tokio::select! {
            place = port.changed() => {
                asked = place.as_ref().map(|place| place.address);
                Event::AppListens(place)
            }
            () = ready(asked, settle, path.as_deref()) => {
                (asked, late_at) = (None, None);
                Event::AppReady
            }
            () = due(late_at) => {
                late_at = None;
                Event::AppLate
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// How the port is known.
enum Port {
    Found(PortFinder),
    /// By `app.port`, until it is open.
    Given(u16),
    Open,
}

impl Port {
    async fn changed(&mut self) -> Option<Place> {
        match self {
            Self::Found(finder) => finder
                .changed()
                .await
                .map(|found| Place { address: found.address, text: found.to_string() }),
            Self::Given(port) => {
                let address = open(*port).await;
                *self = Self::Open;
                Some(Place { address, text: format!("{address} (app.port)") })
            }
            Self::Open => pending().await,
        }
    }
}

/// Waits until the port is open on the loopback interface, of IPv4 or IPv6.
async fn open(port: u16) -> SocketAddr {
    let loopback: [SocketAddr; 2] =
        [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
    let mut wait = FIRST_WAIT;
    loop {
        for address in loopback {
            if ask(address, None).await.is_ok() {
                return address;
            }
        }
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Waits until the app says that it is ready; for ever while it does not listen.
async fn ready(address: Option<SocketAddr>, settle: Duration, path: Option<&str>) {
    let Some(address) = address else { return pending().await };
    sleep(settle).await;
    let mut wait = FIRST_WAIT;
    while path.is_some() && ask(address, path).await.is_err() {
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// Asks the app whether it is ready: it takes a connection, and answers `path`, if there is one,
/// with a 2xx status.
///
/// # Errors
/// Why it is not.
pub(crate) async fn ask(address: SocketAddr, path: Option<&str>) -> Result<(), String> {
    let answered = async {
        let mut stream = TcpStream::connect(address).await?;
        match path {
            Some(path) => status(&mut stream, path).await.map(Some),
            None => Ok(None),
        }
    };
    match timeout(ANSWER_TIMEOUT, answered).await {
        Ok(Ok(None | Some(200..=299))) => Ok(()),
        Ok(Ok(Some(status))) => {
            Err(format!("it answers {} with status {status}", path.unwrap_or_default()))
        }
        Ok(Err(error)) => Err(format!("{address}: {error}")),
        Err(_) => Err(format!("{address} does not answer within {ANSWER_TIMEOUT:?}")),
    }
}

/// GET over a connection of its own; the status of the answer.
async fn status(stream: &mut TcpStream, path: &str) -> io::Result<u16> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: pillion\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut line = [0; STATUS_LINE];
    if stream.read_exact(&mut line).await.is_err() {
        return Err(io::Error::other("it closes the connection without an answer"));
    }
    let code = status_code(&line)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it does not answer in HTTP"))?;
    // To its end, as far as that is near: a connection closed early would be an error to the app.
    let mut rest = Vec::new();
    drop(timeout(REST_TIMEOUT, stream.take(LONGEST_ANSWER).read_to_end(&mut rest)).await);
    Ok(code)
}

/// The number in `HTTP/1.1 200`.
fn status_code(line: &[u8; STATUS_LINE]) -> Option<u16> {
    let (version, code) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    version.starts_with("HTTP/1.").then(|| code.parse().ok())?
}

#[cfg(test)]
mod tests;
