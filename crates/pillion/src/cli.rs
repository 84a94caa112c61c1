//! The command line: every command with its options, as `--help` shows it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use pillion_model::config::ListenAddress;

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
