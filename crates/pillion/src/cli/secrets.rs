//! The options of `pillion secrets`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use pillion_model::config::ListenAddress;
use pillion_model::config::raw::secrets::{FileMode, Period, ServerUrl};

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
    pub(crate) server: ServerUrl,
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
