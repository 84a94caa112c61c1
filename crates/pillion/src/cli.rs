//! The command line: every command with its options, as `--help` shows it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use pillion_model::config::ListenAddress;
use pillion_model::config::raw::secrets::{FileMode, Period};

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

/// What `pillion secrets` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Keep files up to date with secrets of an OpenBao or Vault server
    Sync(SyncArguments),
    /// Show what the secrets role of a sidecar does: versions, leases, errors, what the app confirmed
    Status(StatusArguments),
}

/// Options of `pillion secrets sync`.
#[derive(Debug, Args)]
#[command(after_long_help = SYNC_NOTES)]
pub(crate) struct SyncArguments {
    /// The server: https://HOST:8200, or unix:/PATH of a local agent
    #[arg(long, value_name = "URL")]
    pub(crate) server: String,
    /// File with the token; it is read again when it changes
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: PathBuf,
    /// A secret and the file that it is written to; without #KEY, all its keys as a JSON object. May
    /// be given several times
    #[arg(long = "secret", value_name = "PATH#KEY=NAME")]
    pub(crate) secrets: Vec<WantedSecret>,
    /// A template and the file that it is rendered to; consul-template's language where it ends in
    /// .ctmpl or .tpl, else Jinja, where a secret goes by its path. May be given several times
    #[arg(long = "template", value_name = "FILE=NAME")]
    pub(crate) templates: Vec<WantedTemplate>,
    /// Folder for the files, best on a memory file system
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Command for /bin/sh that tells the app of new files; unless it ends with 0, the old files come
    /// back
    #[arg(long, value_name = "CMD")]
    pub(crate) exec: Option<String>,
    /// Deliver once and end: with 0, or with 1 and a message when anything failed
    #[arg(long)]
    pub(crate) once: bool,
    /// PEM file of the authorities that are trusted [default: those of the system]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The namespace of every request
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// How often secrets without a lease are looked at again
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub(crate) interval: Period,
    /// How long leases of old files live on
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub(crate) grace: Period,
    /// Permission bits of the files; never readable by everybody
    #[arg(long, value_name = "MODE", default_value = "0400")]
    pub(crate) mode: FileMode,
}

const SYNC_NOTES: &str = "\
The files change together: each change is written beside the old files, put in their place by one \
link, told with --exec, and taken back when that fails. SIGTERM and SIGINT end it in order: a change \
that is under way is finished, and the files stay.";

/// `PATH#KEY=NAME`.
#[derive(Clone, Debug)]
pub(crate) struct WantedSecret {
    /// The path on the server.
    pub(crate) path: String,
    /// One key; `None`: all of them.
    pub(crate) key: Option<String>,
    /// The file.
    pub(crate) file: String,
}

impl FromStr for WantedSecret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (secret, file) = in_two(text, "PATH#KEY=NAME")?;
        let (path, key) = match secret.split_once('#') {
            Some((path, key)) => (path, Some(key.to_owned())),
            None => (secret, None),
        };
        if path.is_empty() || key.as_deref() == Some("") {
            return Err("write PATH#KEY=NAME, or PATH=NAME for all keys".to_owned());
        }
        Ok(Self { path: path.to_owned(), key, file: file.to_owned() })
    }
}

/// `FILE=NAME`.
#[derive(Clone, Debug)]
pub(crate) struct WantedTemplate {
    /// The template.
    pub(crate) template: PathBuf,
    /// The file.
    pub(crate) file: String,
}

impl FromStr for WantedTemplate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (template, file) = in_two(text, "FILE=NAME")?;
        Ok(Self { template: template.into(), file: file.to_owned() })
    }
}

/// What is before the last `=`, and the name after it.
fn in_two<'a>(text: &'a str, form: &str) -> Result<(&'a str, &'a str), String> {
    let parts = text.rsplit_once('=').filter(|(what, name)| !what.is_empty() && !name.is_empty());
    parts.ok_or_else(|| format!("write {form}"))
}

/// Options of `pillion secrets status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// The admin interface of the sidecar: IP:PORT or unix:/PATH
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15000")]
    pub(crate) admin: ListenAddress,
    /// Print the whole state as JSON
    #[arg(long)]
    pub(crate) json: bool,
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
