//! What the keeper process does: one loop over its socket and the deaths of its children.
//!
//! It stays single-threaded and small, and it never prints: the terminal is the app's.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getpid};

use super::outputs::Pipes;
use super::system::{self, Found};
use super::tree::{Ending, Left, descendants};
use super::wire::{Event, Request};

/// What a service manager tells Pillion and not the app: an app that heard it would speak in
/// Pillion's name, or take its sockets.
const NOT_FOR_THE_APP: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

/// Serves `socket` until Pillion is gone and nothing of the app is left.
///
/// # Errors
/// When the process cannot be set up as a keeper, or the system refuses to wait.
pub(super) fn run(socket: UnixStream, stop_timeout: Duration, pipes: Pipes) -> io::Result<()> {
    prctl::set_name(c"pillion-keeper")?;
    prctl::set_child_subreaper(true)?;
    let mask = SigSet::from(Signal::SIGCHLD);
    let found = system::take_signals(&mask)?;
    let deaths = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    socket.set_nonblocking(true)?;
    let mut keeper = Keeping {
        socket: Some(socket),
        deaths,
        found,
        pipes,
        stop_timeout,
        input: Vec::new(),
        app: None,
        ending: None,
    };
    keeper.serve()
}

struct Keeping {
    /// `None` once Pillion is gone.
    socket: Option<UnixStream>,
    deaths: SignalFd,
    found: Found,
    pipes: Pipes,
    stop_timeout: Duration,
    input: Vec<u8>,
    /// The app's first process, until it is reaped.
    app: Option<Pid>,
    ending: Option<Ending>,
}

impl Keeping {
    fn serve(&mut self) -> io::Result<()> {
        let mut wait = None;
        while self.socket.is_some() || self.ending.is_some() {
            self.wait(wait)?;
            while let Ok(Some(_)) = self.deaths.read_signal() {}
            self.reap();
            self.listen();
            wait = self.go_on_ending();
        }
        Ok(())
    }

    /// Until a child ends, Pillion speaks, or the time is up.
    fn wait(&self, at_most: Option<Duration>) -> io::Result<()> {
        // Rounded up: a wait of 0.4 ms must not spin.
        let timeout = at_most.map(|wait| wait + Duration::from_millis(1));
        let timeout = match timeout {
            Some(wait) => PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        };
        let mut watched = vec![PollFd::new(self.deaths.as_fd(), PollFlags::POLLIN)];
        if let Some(socket) = &self.socket {
            watched.push(PollFd::new(socket.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut watched, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, exit))) = system::reap(None) {
            if self.app == Some(pid) {
                self.app = None;
                self.tell(Event::Exited(exit));
            }
        }
    }

    fn listen(&mut self) {
        let open = self.read();
        loop {
            match Request::take(&mut self.input) {
                Ok(Some(request)) => self.obey(request),
                Ok(None) => break,
                Err(_) => return self.pillion_is_gone(),
            }
        }
        if !open {
            self.pillion_is_gone();
        }
    }

    /// Reads what is there; `false` at the end of the socket.
    fn read(&mut self) -> bool {
        let Some(socket) = &mut self.socket else { return true };
        let mut buffer = [0; 4096];
        loop {
            match socket.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => self.input.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }

    fn pillion_is_gone(&mut self) {
        if self.socket.take().is_some() {
            self.end(self.stop_timeout);
        }
    }

    fn obey(&mut self, request: Request) {
        match request {
            Request::Start { environment, command } => {
                let event = match self.start(&environment, &command) {
                    Ok(pid) => Event::Started(pid.as_raw()),
                    Err(error) => {
                        Event::Failed(error.raw_os_error().unwrap_or(Errno::EINVAL as i32))
                    }
                };
                self.tell(event);
            }
            Request::Signal(number) => {
                // The process id is the app's for as long as it is not reaped, and only we reap.
                if let (Some(app), Ok(signal)) = (self.app, Signal::try_from(number)) {
                    kill(app, signal).ok();
                }
            }
            Request::Stop(timeout) => self.end(timeout),
        }
    }

    fn start(
        &mut self,
        environment: &[(OsString, OsString)],
        command: &[OsString],
    ) -> io::Result<Pid> {
        // A stop that was asked for once more, when the first was over, has nothing left to end.
        self.go_on_ending();
        if self.app.is_some() || self.ending.is_some() {
            return Err(Errno::EBUSY.into());
        }
        let (program, arguments) = command.split_first().ok_or(Errno::EINVAL)?;
        let mut command = Command::new(program);
        command.args(arguments);
        for name in NOT_FOR_THE_APP {
            command.env_remove(name);
        }
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        self.pipes.attach(&mut command)?;
        system::prepare(&mut command, self.found.clone());
        let child = command.spawn()?;
        let pid = Pid::from_raw(i32::try_from(child.id()).map_err(|_| Errno::ERANGE)?);
        self.app = Some(pid);
        Ok(pid)
    }

    fn end(&mut self, timeout: Duration) {
        let kill_at = Instant::now() + timeout;
        self.ending.get_or_insert_with(|| Ending::new(kill_at)).hasten(kill_at);
    }

    /// One step of the end, if one is under way. Returns how long the next may wait.
    fn go_on_ending(&mut self) -> Option<Duration> {
        let ending = self.ending.as_mut()?;
        match ending.step(&descendants(getpid()), self.app, Instant::now()) {
            Left::Processes(wait) => Some(wait),
            Left::Nothing => {
                self.ending = None;
                self.tell(Event::Gone);
                None
            }
        }
    }

    fn tell(&mut self, event: Event) {
        if let Some(socket) = &mut self.socket {
            // A few bytes into an empty socket fail only when Pillion is gone, and then the next
            // read says so.
            drop(socket.write_all(&event.encode()));
        }
    }
}
