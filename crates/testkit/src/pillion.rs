//! The real program, started as a user starts it, on ports of its own.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Admin, Capture, Signal, Wire, eventually, eventually_some, process::send_signal};

/// What a Pillion is started with. Every address is a free port or a socket in a folder of its own.
pub struct Builder {
    command: Command,
    folder: TempDir,
    config: Option<String>,
    config_path: Option<PathBuf>,
    arguments: Vec<OsString>,
    app: Vec<OsString>,
    stdin: Stdio,
}

impl Builder {
    /// Prepares to start the program at this path.
    pub fn new(program: &str) -> Self {
        Self {
            command: Command::new(program),
            folder: TempDir::with_prefix("pillion-test-").unwrap(),
            config: None,
            config_path: None,
            arguments: Vec::new(),
            app: Vec::new(),
            stdin: Stdio::null(),
        }
    }

    /// A folder that lives as long as the Pillion does.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The text of the configuration file.
    #[must_use]
    pub fn config(mut self, yaml: impl Into<String>) -> Self {
        self.config = Some(yaml.into());
        self
    }

    /// A configuration file that the test looks after itself. It has to say where the access log
    /// goes.
    #[must_use]
    pub fn config_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.config_path = Some(path.into());
        self
    }

    /// A further argument of `pillion run`.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// The app: what comes after `--`.
    #[must_use]
    pub fn app<S: AsRef<OsStr>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.app = command.into_iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Lets the test write to standard input.
    #[must_use]
    pub fn with_stdin(mut self) -> Self {
        self.stdin = Stdio::piped();
        self
    }

    /// Starts it and waits until it says where it listens.
    pub fn start(self) -> Pillion {
        let mut pillion = self.spawn();
        pillion.wait_for_ready_file();
        pillion
    }

    /// Starts it, waits until it says where it listens, and until it is ready for traffic: with an
    /// app, until that listens too.
    pub fn start_ready(self) -> Pillion {
        let pillion = self.start();
        eventually("GET /ready answers 200", || pillion.admin.get("/ready").0 == 200);
        pillion
    }

    /// Starts it without waiting for anything.
    pub fn spawn(mut self) -> Pillion {
        let folder = self.folder.path();
        let file = |name: &str| folder.join(name);
        let config = match self.config_path.take() {
            Some(path) => path,
            None => {
                let text = with_access_log(self.config.take().unwrap_or_default(), folder);
                std::fs::write(file("pillion.yaml"), text).unwrap();
                file("pillion.yaml")
            }
        };
        self.command.arg("run");
        for option in ["--inbound", "--outbound"] {
            if !self.arguments.iter().any(|argument| argument == option) {
                self.command.args([option, "127.0.0.1:0"]);
            }
        }
        self.command.arg("--admin").arg(format!("unix:{}", file("admin.sock").display()));
        self.command.arg("--ready-file").arg(file("ready.json"));
        self.command.arg("--config").arg(&config);
        self.command.args(&self.arguments);
        if !self.app.is_empty() {
            self.command.arg("--").args(&self.app);
        }
        Pillion::spawn(self, config)
    }
}

/// The configuration, with an access log in the folder unless it says something about it itself.
fn with_access_log(config: String, folder: &Path) -> String {
    if config.contains("access_log:") {
        return config;
    }
    let output = folder.join("access.log");
    format!("access_log: {{output: \"file:{}\", format: json}}\n{config}", output.display())
}

/// A running Pillion. Dropping it kills it, and shows what it wrote when the test fails.
pub struct Pillion {
    child: Child,
    folder: TempDir,
    config: PathBuf,
    inbound: Option<SocketAddr>,
    outbound: Option<SocketAddr>,
    /// What it (and the app) writes on standard output.
    pub stdout: Capture,
    /// What it (and the app) writes on standard error.
    pub stderr: Capture,
    /// Standard input, with [`Builder::with_stdin`].
    pub stdin: Option<ChildStdin>,
    /// Its admin interface.
    pub admin: Admin,
}

impl Pillion {
    fn spawn(builder: Builder, config: PathBuf) -> Self {
        let Builder { mut command, folder, stdin, .. } = builder;
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = Capture::of(child.stdout.take().unwrap());
        let stderr = Capture::of(child.stderr.take().unwrap());
        let stdin = child.stdin.take();
        let admin = Admin::new(folder.path().join("admin.sock"));
        let (inbound, outbound) = (None, None);
        Self { child, folder, config, inbound, outbound, stdout, stderr, stdin, admin }
    }

    fn wait_for_ready_file(&mut self) {
        let path = self.folder.path().join("ready.json");
        let text = eventually_some("the ready file", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("Pillion ended before it was ready: {status}");
            }
            std::fs::read_to_string(&path).ok()
        });
        let ready: Value = serde_json::from_str(&text).unwrap();
        let address = |key: &str| ready[key].as_str().and_then(|text| text.parse().ok());
        (self.inbound, self.outbound) = (address("inbound"), address("outbound"));
        assert_eq!(ready["pid"], self.pid(), "the ready file names the process: {text}");
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A folder that lives as long as this does.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where traffic to the app comes in.
    pub fn inbound(&self) -> SocketAddr {
        self.inbound.expect("it listens for inbound traffic")
    }

    /// Where traffic from the app comes in.
    pub fn outbound(&self) -> SocketAddr {
        self.outbound.expect("it listens for outbound traffic")
    }

    /// A new connection to the inbound listener.
    pub fn connect_inbound(&self) -> Wire {
        Wire::connect(self.inbound())
    }

    /// A new connection to the outbound listener.
    pub fn connect_outbound(&self) -> Wire {
        Wire::connect(self.outbound())
    }

    /// Replaces the configuration file, atomically, without telling Pillion.
    pub fn write_config(&self, yaml: &str) {
        let new = self.config.with_extension("new");
        std::fs::write(&new, with_access_log(yaml.to_owned(), self.folder.path())).unwrap();
        std::fs::rename(&new, &self.config).unwrap();
    }

    /// The configuration file.
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// A metric: see [`Admin::metric`].
    pub fn metric(&self, query: &str) -> f64 {
        self.admin.metric(query)
    }

    /// Waits until a metric has this value.
    pub fn wait_for_metric(&self, query: &str, value: f64) {
        let mut last = f64::NAN;
        eventually((query, value), || {
            last = self.metric(query);
            last == value
        });
    }

    /// The lines of the access log so far.
    pub fn access_log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("access.log"));
        let text = text.unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for an access log line whose field has this value.
    pub fn logged(&self, field: &str, value: impl Into<Value>) -> Value {
        let value = value.into();
        eventually_some(("an access log line with", field, &value), || {
            self.access_log().into_iter().find(|line| line[field] == value)
        })
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send_signal(self.pid(), signal);
    }

    /// Writes to its standard input and closes that.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.stdin.take().expect("with_stdin").write_all(bytes).unwrap();
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> Finished {
        let status = eventually_some("the end of Pillion", || self.child.try_wait().unwrap());
        Finished { status, stdout: self.stdout.whole(), stderr: self.stderr.whole() }
    }
}

/// How a Pillion ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: std::process::ExitStatus,
    /// Everything on standard output.
    pub stdout: String,
    /// Everything on standard error.
    pub stderr: String,
}

impl Finished {
    /// The exit code; `None` when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

impl Drop for Pillion {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("access.log"));
            let (out, err) = (self.stdout.text(), self.stderr.text());
            eprintln!(
                "--- stdout\n{out}--- stderr\n{err}--- access log\n{}",
                log.unwrap_or_default()
            );
        }
    }
}
