//! Commands of the user: a check, a hook. Each runs in a process group of its own with a small
//! environment, and nothing of the group is left when it is over or its time is up.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use pillion_runtime::board::Secret;
use pillion_runtime::supervise::unblock_signals;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::redaction::redacted;

/// Of what a command says, this much is kept until secrets are taken out of it …
const KEPT: usize = 64 << 10;
/// … and this much of its end is told.
const TOLD: usize = 2 << 10;
/// What a command finds of our environment.
const PASSED: [&str; 6] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ"];

/// A command to run.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Program and arguments.
    pub words: &'a [String],
    /// Where it is run; its path is in `PILLION_VERSION_DIR` too.
    pub folder: &'a Path,
    /// How long it may take.
    pub limit: Duration,
    /// What must not be shown of what it says.
    pub secrets: &'a [Secret],
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no program in it.
    #[error("the command is empty; name a program")]
    Empty,
    /// It did not start.
    #[error("cannot start {program}: {reason}")]
    Start {
        /// The program.
        program: String,
        /// What the system says.
        reason: io::Error,
    },
    /// It ended, but not with 0.
    #[error("{program} ended with {status}{said}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: Ending,
        /// The end of what it wrote, without secrets.
        said: Said,
    },
    /// It was ended, with all it had started.
    #[error("{program} took longer than {limit:?} and was ended{said}")]
    Timeout {
        /// The program.
        program: String,
        /// The time it had.
        limit: Duration,
        /// The end of what it wrote, without secrets.
        said: Said,
    },
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending(ExitStatus);

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (Some(code), _) => write!(f, "code {code}"),
            (None, Some(signal)) => write!(f, "signal {signal}"),
            (None, None) => f.write_str("an unknown status"),
        }
    }
}

/// The end of what a program wrote on its standard output and error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said(String);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_empty() {
            true => f.write_str(" and said nothing"),
            false => write!(f, "; it said: {}", self.0),
        }
    }
}

/// Runs a command to its end. Dropping the future ends it, with all it has started.
///
/// # Errors
/// It did not start, did not end with 0, or not in time.
pub async fn run(order: Order<'_>) -> Result<(), CommandError> {
    let Some(program) = order.words.first().cloned() else { return Err(CommandError::Empty) };
    let deadline = Instant::now() + order.limit;
    let started = Running::start(order);
    let (mut running, mut output) =
        started.map_err(|reason| CommandError::Start { program: program.clone(), reason })?;
    let mut tail = Tail::default();
    let ended = timeout_at(deadline, running.watch(&mut output, &mut tail)).await;
    let status = running.finish();
    tail.drain(&output);
    let said = tail.told(order.secrets);
    match (ended, status) {
        (Ok(()), Ok(status)) if status.success() => Ok(()),
        (Ok(()), Ok(status)) => Err(CommandError::Failed { program, status: Ending(status), said }),
        (Ok(()), Err(reason)) => Err(CommandError::Start { program, reason }),
        (Err(_), _) => Err(CommandError::Timeout { program, limit: order.limit, said }),
    }
}

/// A program that runs, and is ended when this is dropped.
struct Running {
    child: Child,
    group: Pid,
    /// Hears that the program has ended; it is not collected yet, so its number is still its own.
    ended: oneshot::Receiver<()>,
    is_over: bool,
}

impl Running {
    fn start(order: Order<'_>) -> io::Result<(Self, pipe::Receiver)> {
        let (reader, writer) = io::pipe()?;
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
        let mut command =
            std::process::Command::new(order.words.first().map_or("", String::as_str));
        command
            .args(order.words.get(1..).unwrap_or_default())
            .current_dir(order.folder)
            .env_clear()
            .envs(environment(order.folder))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        unblock_signals(&mut command);
        let child = command.spawn()?;
        let group = Pid::from_raw(child.id().cast_signed());
        let (tell, ended) = oneshot::channel();
        let running = Self { child, group, ended, is_over: false };
        std::thread::Builder::new().name("pillion-command".to_owned()).spawn(move || {
            await_end(group);
            // Nobody may be waiting any more.
            let _unheard = tell.send(());
        })?;
        Ok((running, output))
    }

    /// Reads what the program says until it ends, whoever else still has its output open.
    async fn watch(&mut self, output: &mut pipe::Receiver, tail: &mut Tail) {
        let mut chunk = [0; 4096];
        let mut is_open = true;
        loop {
            tokio::select! {
                _ = &mut self.ended => return,
                // Cancel-safe: what was not read is still in the pipe.
                read = output.read(&mut chunk), if is_open => match read {
                    Ok(0) | Err(_) => is_open = false,
                    Ok(length) => tail.push(chunk.get(..length).unwrap_or_default()),
                },
            }
        }
    }

    /// Ends what is left of the group, and collects the program.
    fn finish(&mut self) -> io::Result<ExitStatus> {
        self.is_over = true;
        // Fails where nothing is left.
        let _nobody = killpg(self.group, Signal::SIGKILL);
        self.child.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_over {
            // It was killed, so there is nothing to learn from its status.
            let _status = self.finish();
        }
    }
}

/// Blocks until a child has ended, and leaves it to be collected.
fn await_end(child: Pid) {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    // Another error than an interruption means that it has ended: by a signal without a name.
    while waitid(Id::Pid(child), flags) == Err(Errno::EINTR) {}
}

fn environment(folder: &Path) -> Vec<(OsString, OsString)> {
    let passed = PASSED.iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
    passed.chain([("PILLION_VERSION_DIR".into(), folder.into())]).collect()
}

/// The end of what a program says.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * KEPT {
            self.0.drain(..self.0.len() - KEPT);
        }
    }

    /// Takes what is in the pipe now. Asks the kernel, as the runtime may not have looked since.
    fn drain(&mut self, output: &pipe::Receiver) {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = nix::unistd::read(output, &mut chunk) {
            self.push(chunk.get(..length).unwrap_or_default());
        }
    }

    /// What can be shown. Secrets go before it is cut, so that no part of one is left at its start.
    fn told(&self, secrets: &[Secret]) -> Said {
        let text = redacted(&String::from_utf8_lossy(&self.0), secrets);
        let text = text.trim();
        let start = text.ceil_char_boundary(text.len().saturating_sub(TOLD));
        Said(text.get(start..).unwrap_or_default().to_owned())
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use pillion_testkit::{eventually, is_alive};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn sh(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).into()
    }

    async fn run_in(folder: &Path, script: &str, limit: Duration) -> Result<(), CommandError> {
        let secrets = ["hunter2-hunter2".into()];
        run(Order { words: &sh(script), folder, limit, secrets: &secrets }).await
    }

    #[tokio::test]
    async fn a_command_runs_in_its_folder_with_a_small_environment() {
        let dir = tempfile::tempdir().unwrap();
        run_in(dir.path(), "env > env; pwd > pwd; cat > stdin", LONG).await.unwrap();
        let environment = fs::read_to_string(dir.path().join("env")).unwrap();
        for line in environment.lines() {
            let name = line.split('=').next().unwrap();
            // A shell sets these by itself.
            let known = PASSED.contains(&name) || ["PWD", "OLDPWD", "SHLVL", "_"].contains(&name);
            assert!(known || name == "PILLION_VERSION_DIR", "{line}");
        }
        let path = dir.path().canonicalize().unwrap();
        assert!(environment.contains(&format!("PILLION_VERSION_DIR={}\n", dir.path().display())));
        assert_eq!(
            fs::read_to_string(dir.path().join("pwd")).unwrap().trim(),
            path.to_str().unwrap()
        );
        assert_eq!(fs::read_to_string(dir.path().join("stdin")).unwrap(), "");
    }

    #[tokio::test]
    async fn a_failure_says_how_it_ended_and_what_was_said_without_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let table = [
            (
                "echo out; echo err hunter2-hunter2 >&2; exit 3",
                "sh ended with code 3; it said: out\nerr [secret]",
            ),
            ("exit 1", "sh ended with code 1 and said nothing"),
            ("kill -TERM $$", "sh ended with signal 15 and said nothing"),
        ];
        for (script, expected) in table {
            let error = run_in(dir.path(), script, LONG).await.unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        let nothing =
            run(Order { words: &[], folder: dir.path(), limit: LONG, secrets: &[] }).await;
        assert!(matches!(nothing, Err(CommandError::Empty)));
        let words = ["/no/such/program".to_owned()];
        let missing =
            run(Order { words: &words, folder: dir.path(), limit: LONG, secrets: &[] }).await;
        assert!(missing.unwrap_err().to_string().starts_with("cannot start /no/such/program: "));
    }

    #[tokio::test]
    async fn of_a_long_output_the_end_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let script = "yes 0123456789 | head -c 1000000; echo the end; exit 1";
        let error = run_in(dir.path(), script, LONG).await.unwrap_err().to_string();
        assert!(error.ends_with("the end"), "{error}");
        assert!(error.len() < TOLD + 200, "{}", error.len());
    }

    #[tokio::test]
    async fn nothing_of_a_command_is_left_when_its_time_is_up() {
        let dir = tempfile::tempdir().unwrap();
        let script = "trap '' TERM; sleep 1000 & echo $! > inner; echo $$ > outer; wait";
        let error = run_in(dir.path(), script, Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(error, CommandError::Timeout { .. }), "{error}");
        assert_gone(dir.path());
    }

    #[tokio::test]
    async fn nothing_of_a_command_is_left_when_it_is_over_or_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let script = "sleep 1000 & echo $! > inner; echo $$ > outer";
        // The one in the background keeps the output open, and is not waited for.
        run_in(dir.path(), script, LONG).await.unwrap();
        assert_gone(dir.path());

        let other = tempfile::tempdir().unwrap();
        let written = other.path().join("outer");
        let script = format!("{script}; wait");
        let order = run_in(other.path(), &script, LONG);
        let is_written = async {
            while !fs::read_to_string(&written).is_ok_and(|text| text.ends_with('\n')) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            ended = order => panic!("it ended by itself: {ended:?}"),
            () = is_written => {}
        }
        assert_gone(other.path());
    }

    fn assert_gone(folder: &Path) {
        for name in ["inner", "outer"] {
            let pid = fs::read_to_string(folder.join(name)).unwrap().trim().parse().unwrap();
            eventually(("the end of", name, pid), || !is_alive(pid));
        }
    }
}
