//! The command line: every command with its options, as `--help` shows it.

mod secrets;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use pillion_model::config::raw::logs::{Compression, LineFormat, Timeout};
use pillion_model::config::{FileGlob, FilePath, ListenAddress, LogSink};

pub(crate) use secrets::{SecretsCommand, StatusArguments, SyncArguments};

/// One program beside any application: it carries the traffic to and from it, and ends with it.
#[derive(Debug, Parser)]
#[command(name = "pillion", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What `pillion` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ride beside an app: start it, carry its traffic, end with it
    Run(RunArguments),
    /// Forward everything to one upstream
    Proxy(ProxyArguments),
    /// Deliver secrets without a sidecar, or look at those of one
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Ship logs, and see how that goes
    #[command(subcommand)]
    Logs(LogsCommand),
    /// Check a configuration file: every problem at once
    Check(CheckArguments),
    /// Print the configuration that a file puts in force, with all defaults
    Explain(ExplainArguments),
    /// Print the JSON Schema of the configuration file, for editors
    Schema,
    /// Print completions for a shell
    Completions(CompletionsArguments),
    /// Print a page of the reference, in Markdown
    #[command(hide = true)]
    Reference(ReferenceArguments),
}

/// Options of `pillion run`.
#[derive(Debug, Args)]
#[command(after_long_help = RUN_NOTES)]
pub(crate) struct RunArguments {
    /// Where traffic to the app comes in: IP:PORT, unix:/PATH or off [default: 127.0.0.1:15006]
    #[arg(long, value_name = "ADDR")]
    pub(crate) inbound: Option<ListenAddress>,
    /// Where traffic from the app comes in: IP:PORT, unix:/PATH or off [default: 127.0.0.1:15001]
    #[arg(long, value_name = "ADDR")]
    pub(crate) outbound: Option<ListenAddress>,
    /// Where health, metrics and state are served: IP:PORT, unix:/PATH or off [default:
    /// 127.0.0.1:15000]
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<ListenAddress>,
    /// Port that the app listens on [default: found by looking at the app's sockets]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) app_port: Option<u16>,
    /// Configuration file; options given here win over it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// File that is written once the sidecar serves: JSON with its pid and real addresses
    #[arg(long, value_name = "PATH")]
    pub(crate) ready_file: Option<PathBuf>,
    /// The app and its arguments; without it, the sidecar runs alone
    #[arg(last = true, value_name = "CMD")]
    pub(crate) app: Vec<OsString>,
}

const RUN_NOTES: &str = "\
Exit code: that of the app, 128+N when signal N ended it; 127 when the app is not found, 126 when it \
cannot be executed, 125 when its keeper process died; 2 for a wrong command line or configuration, \
1 when the sidecar cannot start; 0 for a sidecar alone that was told to end.

Signals: SIGTERM and SIGINT drain, then end the app; the second of them forces the end. SIGHUP reads \
the configuration again and reopens the access log. SIGQUIT, SIGUSR1 and SIGUSR2 go to the app.

Without options and file, a default address that is taken gives way to a free port.";

/// Options of `pillion proxy`.
#[derive(Debug, Args)]
pub(crate) struct ProxyArguments {
    /// Where to listen: IP:PORT or unix:/PATH
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: ListenAddress,
    /// Where everything goes: http://HOST[:PORT], or h2c://HOST[:PORT] for HTTP/2 [default: the
    /// environment variable UPSTREAM_URL]
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<String>,
    /// Where health, metrics and state are served: IP:PORT, unix:/PATH or off [default:
    /// 127.0.0.1:15000]
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<ListenAddress>,
    /// File that is written once the proxy serves: JSON with its pid and real addresses
    #[arg(long, value_name = "PATH")]
    pub(crate) ready_file: Option<PathBuf>,
}

/// What can be done with logs.
#[derive(Debug, Subcommand)]
pub(crate) enum LogsCommand {
    /// Ship files to one sink: the logs role in one line
    Ship(ShipArguments),
    /// Show where each file and sink of a running Pillion stands, and why
    Status(LogsStatusArguments),
    /// Check the disk buffers of a state folder
    Fsck(FsckArguments),
}

/// Options of `pillion logs ship`.
#[derive(Debug, Args)]
#[command(after_long_help = SHIP_NOTES)]
pub(crate) struct ShipArguments {
    /// Files, or globs of files in quotes, such as '/var/log/shop/**/*.log'
    #[arg(long = "file", value_name = "GLOB", required = true, num_args = 1..)]
    #[arg(value_parser = parsers::glob)]
    pub(crate) files: Vec<FileGlob>,
    /// Formats of the lines, in this order: cri, docker, json, logfmt, syslog, clf, nginx_error
    #[arg(long, value_name = "FORMAT", value_delimiter = ',', value_parser = parsers::format)]
    pub(crate) parse: Vec<LineFormat>,
    /// Where records go: null:, stdout:, file:PATH, http(s)://…, opensearch://HOST[:PORT]/INDEX,
    /// loki://…, otlp://…, splunk://…, syslog://…, forward://…; with TLS as loki+https://…,
    /// forward+tls://…
    #[arg(long, value_name = "SINK", value_parser = parsers::sink)]
    pub(crate) to: LogSink,
    /// Folder that keeps positions, disk buffer and dead letters [default: none: a new start reads
    /// everything again]
    #[arg(long, value_name = "DIR", value_parser = parsers::path)]
    pub(crate) state: Option<FilePath>,
    /// How bodies are compressed: none, gzip or zstd [default: gzip]
    #[arg(long, value_name = "HOW", value_parser = parsers::compression)]
    pub(crate) compress: Option<Compression>,
    /// Read to the end of every file, deliver, and end
    #[arg(long)]
    pub(crate) once: bool,
    /// With --once: how long it goes on where nothing more can be read and the sink takes nothing, or
    /// off
    #[arg(long, value_name = "TIME", default_value = "30s", requires = "once")]
    pub(crate) give_up: Timeout,
}

const SHIP_NOTES: &str = "\
Exit code: 0 when it was told to end, or, with --once, when everything was delivered; 1 when \
something was left, refused or lost, or the shipper cannot start; 2 for a wrong command line.

Signals: SIGTERM and SIGINT deliver what was read, for 30 seconds at most, and end; the second of \
them, and with --once the first, ends at once. What is left stays in the state folder.";

/// Options of `pillion logs status`.
#[derive(Debug, Args)]
pub(crate) struct LogsStatusArguments {
    /// Where the admin interface of that Pillion is
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15000")]
    pub(crate) admin: ListenAddress,
    /// Print it as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `pillion logs fsck`.
#[derive(Debug, Args)]
#[command(after_help = "Exit code: 0 when everything is sound or was repaired, 1 when it is not.")]
pub(crate) struct FsckArguments {
    /// The state folder
    pub(crate) folder: PathBuf,
    /// Put what is bad aside, and keep the rest
    #[arg(long)]
    pub(crate) repair: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Values that are text on the command line.
mod parsers {
    use std::path::PathBuf;

    use pillion_model::config::raw::logs::{Compression, LineFormat};
    use pillion_model::config::{Fault, FileGlob, FilePath, LogSink};
    use serde::de::DeserializeOwned;

    /// As the shell that it was typed into understands it: relative to the current folder.
    fn absolute(text: &str) -> Result<String, Fault> {
        let path = std::path::absolute(PathBuf::from(text))
            .map_err(|error| Fault::new(format!("{text:?}: {error}")))?;
        Ok(path.display().to_string())
    }

    pub(super) fn glob(text: &str) -> Result<FileGlob, Fault> {
        absolute(text)?.parse()
    }

    pub(super) fn path(text: &str) -> Result<FilePath, Fault> {
        absolute(text)?.parse()
    }

    pub(super) fn sink(text: &str) -> Result<LogSink, Fault> {
        match text.strip_prefix("file:") {
            Some(path) if !path.is_empty() => format!("file:{}", absolute(path)?).parse(),
            _ => text.parse(),
        }
    }

    pub(super) fn format(text: &str) -> Result<LineFormat, Fault> {
        word(text, "cri, docker, json, logfmt, syslog, clf or nginx_error")
    }

    pub(super) fn compression(text: &str) -> Result<Compression, Fault> {
        word(text, "none, gzip or zstd")
    }

    /// A word as the configuration file has it.
    fn word<T: DeserializeOwned>(text: &str, words: &str) -> Result<T, Fault> {
        let value = serde_json::Value::from(text);
        serde_json::from_value(value).map_err(|_| {
            Fault::new(format!("{text:?} is not one of them")).hint(format!("write {words}"))
        })
    }
}

/// Options of `pillion check`.
#[derive(Debug, Args)]
#[command(after_help = "Exit code: 0 when the file is good, 1 when it is not.")]
pub(crate) struct CheckArguments {
    /// The configuration file
    pub(crate) file: PathBuf,
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `pillion explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// The configuration file
    pub(crate) file: PathBuf,
}

/// Options of `pillion completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    pub(crate) shell: Shell,
}

/// Options of `pillion reference`.
#[derive(Debug, Args)]
pub(crate) struct ReferenceArguments {
    /// The page
    pub(crate) page: Page,
}

/// A page of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Page {
    /// Every key of the configuration file
    Config,
    /// Every metric
    Metrics,
    /// Every reason for which Pillion answers or ends an exchange itself
    Errors,
    /// Every command and option
    Cli,
}
