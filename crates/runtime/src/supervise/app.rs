//! The handle on the app that the rest of the program holds.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{self, MsgFlags};
use nix::unistd::{Pid, getpid};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use super::tree::{Ending, Left, STEP, descendants};
use super::wire::{Event, Request, check_command, check_environment};
use super::{Exit, Keeper, system};
use crate::board::Secret;

/// Why the app was not started. The message says what to look at.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no such program.
    #[error("cannot start {command}: {}", not_found(.command))]
    NotFound {
        /// The program, as it was given.
        command: Program,
    },
    /// The program is there, and the system does not execute it.
    #[error("cannot start {command}: not executable ({error})")]
    NotExecutable {
        /// The program, as it was given.
        command: Program,
        /// What the system says.
        error: io::Error,
    },
    /// The system refused for another reason (no memory, too many processes, argument list too
    /// long).
    #[error("cannot start {command}: {error}")]
    Refused {
        /// The program, as it was given.
        command: Program,
        /// What the system says.
        error: io::Error,
    },
    /// The keeper died.
    #[error("cannot start the app: its keeper process died")]
    KeeperLost,
}

impl StartError {
    /// The code that Pillion ends with, as a shell would: 127 not found, 126 found and not started,
    /// 125 when Pillion itself failed.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } | Self::Refused { .. } => 126,
            Self::KeeperLost => 125,
        }
    }

    fn new(command: &OsString, errno: i32) -> Self {
        let command = Program(command.clone());
        let error = io::Error::from_raw_os_error(errno);
        match Errno::from_raw(errno) {
            Errno::ENOENT | Errno::ENOTDIR => Self::NotFound { command },
            Errno::EACCES | Errno::EPERM | Errno::ENOEXEC | Errno::ELIBBAD => {
                Self::NotExecutable { command, error }
            }
            _ => Self::Refused { command, error },
        }
    }
}

/// The name of a program, shown in quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(pub OsString);

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.display())
    }
}

/// What "not found" means here: a path and a name are looked for in different places, and a script
/// is not found either when its interpreter is missing.
fn not_found(Program(command): &Program) -> &'static str {
    let path = Path::new(command);
    if path.components().count() < 2 {
        "not found in PATH"
    } else if path.exists() {
        "the interpreter that its first line names is missing"
    } else {
        "no such file"
    }
}

/// The supervised app.
///
/// Only one call waits at a time. `exited` and `stop` may be dropped at any moment and called
/// again; nothing is lost.
#[derive(Debug)]
pub struct App {
    socket: UnixStream,
    keeper: Pid,
    stop_timeout: Duration,
    command: Vec<OsString>,
    environment: Vec<(String, Secret)>,
    input: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle,
    Running,
    Ended(Exit),
    /// The keeper is gone; what is left of the app is being ended.
    Lost(Ending),
    /// The keeper is gone, and so is the app.
    Over,
}

/// The keeper is gone.
struct KeeperLost;

impl App {
    pub(super) fn new(keeper: Keeper, command: Vec<OsString>) -> io::Result<Self> {
        check_command(&command)?;
        keeper.socket.set_nonblocking(true)?;
        Ok(Self {
            socket: UnixStream::from_std(keeper.socket)?,
            keeper: keeper.pid,
            stop_timeout: keeper.stop_timeout,
            command,
            environment: Vec::new(),
            input: Vec::new(),
            state: State::Idle,
        })
    }

    /// The process above all processes of the app, also of those that left their parent.
    #[must_use]
    pub fn keeper_pid(&self) -> u32 {
        self.keeper.as_raw().unsigned_abs()
    }

    /// What the environment of the app gets beside ours, from its next start on.
    ///
    /// # Errors
    /// A name is none, a value has a NUL, or it is all together larger than 1 MiB.
    pub fn set_environment(&mut self, environment: Vec<(String, Secret)>) -> io::Result<()> {
        check_environment(&for_the_app(&environment))?;
        self.environment = environment;
        Ok(())
    }

    /// Starts the app and returns its process id. After an exit it may be started again; what the
    /// last run left behind is ended first. Not to be dropped before it is done.
    ///
    /// # Errors
    /// When the program cannot be executed, or the keeper died.
    pub async fn start(&mut self) -> Result<u32, StartError> {
        if matches!(self.state, State::Ended(_)) {
            self.stop(self.stop_timeout).await;
        }
        // A send that fails, here and below, means that the keeper is lost: the next read says so.
        let environment = for_the_app(&self.environment);
        let start = Request::Start { environment, command: self.command.clone() };
        drop(self.send_whole(&start).await);
        loop {
            match self.next_event().await {
                Ok(Event::Started(pid)) => {
                    self.state = State::Running;
                    return Ok(pid.unsigned_abs());
                }
                Ok(Event::Failed(errno)) => {
                    let none = OsString::new();
                    return Err(StartError::new(self.command.first().unwrap_or(&none), errno));
                }
                // Left over from a stop whose caller did not wait.
                Ok(Event::Exited(_) | Event::Gone) => {}
                Err(KeeperLost) => {
                    self.end_orphans().await;
                    return Err(StartError::KeeperLost);
                }
            }
        }
    }

    /// Waits until the app has ended; at once when it already has. When the keeper dies, this ends
    /// what is left of the app before it returns.
    pub async fn exited(&mut self) -> Exit {
        loop {
            if let State::Ended(exit) = self.state {
                return exit;
            }
            match self.next_event().await {
                Ok(Event::Exited(exit)) => self.state = State::Ended(exit),
                Ok(Event::Started(_) | Event::Failed(_) | Event::Gone) => {}
                Err(KeeperLost) => return self.end_orphans().await,
            }
        }
    }

    /// Sends the app (its first process) a signal. Nothing happens when it has ended.
    ///
    /// # Errors
    /// When the keeper died.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.send(&Request::Signal(signal as i32))
    }

    /// Ends the app: SIGTERM to it; once it has ended, SIGTERM to what it left behind; SIGKILL to
    /// all of them after `timeout`. Returns when none is left, with the app's exit (code 0 when it
    /// never ran). To force it, drop this call and stop again with a shorter time.
    pub async fn stop(&mut self, timeout: Duration) -> Exit {
        drop(self.send(&Request::Stop(timeout)));
        loop {
            match self.next_event().await {
                Ok(Event::Exited(exit)) => self.state = State::Ended(exit),
                Ok(Event::Gone) => {
                    return match self.state {
                        State::Ended(exit) => exit,
                        _ => Exit::Code(0),
                    };
                }
                Ok(Event::Started(_) | Event::Failed(_)) => {}
                Err(KeeperLost) => {
                    self.hasten(timeout);
                    return self.end_orphans().await;
                }
            }
        }
    }

    /// Kills the app and all that it left behind, now, without waiting for it.
    pub fn kill_tree(&self) {
        // A keeper that is lost leaves this to `exited` and `stop`.
        drop(self.send(&Request::Stop(Duration::ZERO)));
    }

    /// One small request, which the empty socket takes whole. Not through the runtime, which does not
    /// yet know a new socket to be writable.
    fn send(&self, request: &Request) -> io::Result<()> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        socket::send(self.socket.as_raw_fd(), &request.encode(), flags)?;
        Ok(())
    }

    async fn send_whole(&mut self, request: &Request) -> io::Result<()> {
        use tokio::io::AsyncWriteExt;
        self.socket.write_all(&Zeroizing::new(request.encode())).await
    }

    /// Cancel-safe: bytes that were read wait in `input`.
    async fn next_event(&mut self) -> Result<Event, KeeperLost> {
        loop {
            if matches!(self.state, State::Lost(_) | State::Over) {
                return Err(KeeperLost);
            }
            match Event::take(&mut self.input) {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => {}
                Err(_) => return Err(self.lose()),
            }
            let read = match self.socket.readable().await {
                Ok(()) => self.socket.try_read_buf(&mut self.input),
                Err(error) => Err(error),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return Err(self.lose()),
                Ok(_) => {}
            }
        }
    }

    fn lose(&mut self) -> KeeperLost {
        self.state = State::Lost(Ending::new(Instant::now() + self.stop_timeout));
        KeeperLost
    }

    fn hasten(&mut self, timeout: Duration) {
        if let State::Lost(ending) = &mut self.state {
            ending.hasten(Instant::now() + timeout);
        }
    }

    /// Ends what the lost keeper left to us. Cancel-safe: the next call goes on.
    async fn end_orphans(&mut self) -> Exit {
        while let State::Lost(ending) = &mut self.state {
            // Only these: another child of the program is waited for elsewhere.
            system::reap(Some(self.keeper)).ok();
            let tree = living(descendants(getpid()));
            match ending.step(&tree, None, Instant::now()) {
                Left::Nothing => self.state = State::Over,
                Left::Processes(_) => tokio::time::sleep(STEP).await,
            }
        }
        Exit::KeeperLost
    }
}

/// The form in which the system takes it, and shows it to the owner of the process.
fn for_the_app(environment: &[(String, Secret)]) -> Vec<(OsString, OsString)> {
    let value = |secret: &Secret| OsString::from_vec(secret.reveal().to_vec());
    environment.iter().map(|(name, secret)| (OsString::from(name), value(secret))).collect()
}

/// Those that have not ended; our own children among the others are reaped.
fn living(tree: Vec<Pid>) -> Vec<Pid> {
    tree.into_iter().filter(|pid| !matches!(system::reap(Some(*pid)), Ok(Some(_)))).collect()
}
