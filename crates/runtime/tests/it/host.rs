//! Starting the host program and talking with it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Generous: it is only waited for when something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A stop timeout that no test waits for.
pub(crate) const NEVER: &str = "1000000";

/// The host program, and all that runs below it. What they print comes to us over one socket, so
/// that its end says that none of them is left.
pub(crate) struct Host {
    child: Child,
    stdin: Option<UnixStream>,
    output: BufReader<UnixStream>,
    /// All that was printed and read until now.
    pub(crate) said: String,
    /// Lines of it that nobody has waited for.
    waiting: Vec<String>,
    keeper: Option<i32>,
}

/// The host program, with these words.
pub(crate) fn command<T: AsRef<OsStr>>(words: impl IntoIterator<Item = T>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pillion-runtime-host"));
    command.args(words);
    command
}

impl Host {
    /// Supervises `command` and reads which process is the keeper.
    pub(crate) fn run(stop_millis: &str, app: &[&str]) -> Self {
        let mut host = Self::spawn(command(["run", stop_millis, "1"].iter().chain(app)));
        let line = host.wait_for("host: keeper ");
        host.keeper = line.split(' ').nth(2).map(|pid| pid.parse().unwrap());
        host
    }

    /// Supervises a shell script.
    pub(crate) fn script(stop_millis: &str, script: &str) -> Self {
        Self::run(stop_millis, &["sh", "-c", script])
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let (output, theirs) = UnixStream::pair().unwrap();
        let (stdin, their_stdin) = UnixStream::pair().unwrap();
        output.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = command
            .stdin(Stdio::from(OwnedFd::from(their_stdin)))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        // The command holds our copies of their ends.
        drop(command);
        Self {
            child,
            stdin: Some(stdin),
            output: BufReader::new(output),
            said: String::new(),
            waiting: Vec::new(),
            keeper: None,
        }
    }

    /// The next line that begins with `start`; others are kept for later.
    pub(crate) fn wait_for(&mut self, start: &str) -> String {
        loop {
            if let Some(at) = self.waiting.iter().position(|line| line.starts_with(start)) {
                return self.waiting.remove(at);
            }
            let mut line = String::new();
            let length = self.output.read_line(&mut line);
            let length = length.unwrap_or_else(|error| panic!("{error}, after: {}", self.said));
            assert!(length > 0, "ended without {start:?}, after: {}", self.said);
            self.said.push_str(&line);
            self.waiting.push(line.trim_end().to_owned());
        }
    }

    /// Writes a line to the standard input of the host and of its app.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.stdin.as_ref().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(i32::try_from(self.child.id()).unwrap(), signal);
    }

    pub(crate) fn signal_keeper(&self, signal: Signal) {
        send(self.keeper.unwrap(), signal);
    }

    /// Waits until no process is left, and returns the code of the host; `None` when a signal ended
    /// it.
    pub(crate) fn end(&mut self) -> Option<i32> {
        if let Err(error) = self.output.read_to_string(&mut self.said) {
            panic!("a process outlived the host ({error}), after: {}", self.said);
        }
        self.keeper = None;
        self.child.wait().unwrap().code()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // After a failed test: with its keeper dies the app, whatever it ignores.
        if let Some(keeper) = self.keeper {
            kill(Pid::from_raw(keeper), Signal::SIGKILL).ok();
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}
