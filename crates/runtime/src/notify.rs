//! Telling a service manager (systemd, `Type=notify`) how we are, and that we are alive.
//!
//! The app does not hear of any of it: the keeper takes the variables out of its environment.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The connection to the service manager.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    keep_alive: Option<Duration>,
}

impl Notifier {
    /// Connects to the manager that `NOTIFY_SOCKET` names; `None` when it names none.
    ///
    /// # Errors
    /// When the variable names what is not a socket, or nobody listens there.
    pub fn from_environment() -> io::Result<Option<Self>> {
        let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return Ok(None) };
        let for_us =
            env::var("WATCHDOG_PID").map_or(true, |pid| pid.parse() == Ok(std::process::id()));
        let timeout = env::var("WATCHDOG_USEC").ok().filter(|_| for_us);
        Self::connect(&socket, timeout.as_deref()).map(Some)
    }

    fn connect(socket: &OsString, watchdog: Option<&str>) -> io::Result<Self> {
        let address = address(socket).map_err(|error| named(socket, &error))?;
        let socket_end = UnixDatagram::unbound()?;
        socket_end.connect_addr(&address).map_err(|error| named(socket, &error))?;
        // A manager that does not read must not stop us.
        socket_end.set_nonblocking(true)?;
        let keep_alive = watchdog.and_then(|usec| usec.parse().ok()).filter(|usec| *usec > 0);
        Ok(Self {
            socket: socket_end,
            keep_alive: keep_alive.map(|usec| Duration::from_micros(usec) / 2),
        })
    }

    /// How often [`Notifier::alive`] has to be called: half the time after which the manager would
    /// restart us. `None` when it does not watch.
    #[must_use]
    pub fn keep_alive(&self) -> Option<Duration> {
        self.keep_alive
    }

    /// Started, or reloaded: `status` is the line that the manager shows.
    ///
    /// # Errors
    /// When the manager does not take the message. So for all the others.
    pub fn ready(&self, status: &str) -> io::Result<()> {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)))
    }

    /// A reload has begun; [`Notifier::ready`] ends it.
    ///
    /// # Errors
    /// As for [`Notifier::ready`].
    pub fn reloading(&self) -> io::Result<()> {
        let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()))
    }

    /// The drain has begun.
    ///
    /// # Errors
    /// As for [`Notifier::ready`].
    pub fn stopping(&self, status: &str) -> io::Result<()> {
        self.send(&format!("STOPPING=1\nSTATUS={}", one_line(status)))
    }

    /// Keeps the watchdog quiet.
    ///
    /// # Errors
    /// As for [`Notifier::ready`].
    pub fn alive(&self) -> io::Result<()> {
        self.send("WATCHDOG=1")
    }

    fn send(&self, message: &str) -> io::Result<()> {
        self.socket.send(message.as_bytes()).map(drop)
    }
}

/// A path, or `@` and a name of the abstract namespace.
fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(socket),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it has to be an absolute path, or a name that begins with @",
        )),
    }
}

fn named(socket: &OsStr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("NOTIFY_SOCKET={}: {error}", socket.display()))
}

/// A line break would begin another variable.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn the_manager_hears_each_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::connect(&path.into_os_string(), Some("3000000")).unwrap();
        assert_eq!(notifier.keep_alive(), Some(Duration::from_millis(1500)));

        notifier.ready("inbound on 127.0.0.1:80\nREADY=0").unwrap();
        assert_eq!(receive(&manager), "READY=1\nSTATUS=inbound on 127.0.0.1:80 READY=0");
        notifier.alive().unwrap();
        assert_eq!(receive(&manager), "WATCHDOG=1");
        notifier.stopping("draining").unwrap();
        assert_eq!(receive(&manager), "STOPPING=1\nSTATUS=draining");
        notifier.reloading().unwrap();
        let message = receive(&manager);
        let time = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(time.parse::<u64>().unwrap() > 0);
    }

    #[test]
    fn a_name_of_the_abstract_namespace_works() {
        let name = format!("pillion-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier::connect(&format!("@{name}").into(), None).unwrap();
        assert_eq!(notifier.keep_alive(), None);
        notifier.alive().unwrap();
        assert_eq!(receive(&manager), "WATCHDOG=1");
    }

    #[test]
    fn a_socket_that_cannot_be_reached_is_named() {
        for socket in ["relative", "/nowhere/notify", "@nobody-listens-here", ""] {
            let error = Notifier::connect(&socket.into(), None).unwrap_err().to_string();
            assert!(error.contains(&format!("NOTIFY_SOCKET={socket}")), "{error}");
        }
    }

    #[test]
    fn a_watchdog_time_that_is_none_is_no_watchdog() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _manager = UnixDatagram::bind(&path).unwrap();
        for text in ["0", "soon", ""] {
            let notifier = Notifier::connect(&path.clone().into(), Some(text)).unwrap();
            assert_eq!(notifier.keep_alive(), None, "{text:?}");
        }
    }
}
