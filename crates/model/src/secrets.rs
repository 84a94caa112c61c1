//! The secrets role as it is configured, and configuration sync, which is the same transaction with
//! other sources: resolved and checked.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::settings::Address;

/// What the secrets role does.
#[derive(Clone, Debug, PartialEq)]
pub struct Secrets {
    /// The OpenBao or Vault server; `None`: only configuration sync is used.
    pub server: Option<Server>,
    /// What is fetched from the server, by name.
    pub secrets: Vec<Arc<SecretSource>>,
    /// Configuration that is fetched from elsewhere, by name.
    pub configs: Vec<Arc<ConfigSource>>,
    /// Sets of files that change together.
    pub sets: Vec<Arc<FileSet>>,
    /// What the environment of the supervised app gets.
    pub environment: Environment,
    /// The local HTTP interface.
    pub api: Option<Api>,
    /// What is kept for a start without the server.
    pub cache: Option<Cache>,
    /// Whether `/ready` waits for the first delivery, and for how long staleness is accepted.
    pub readiness: Readiness,
    /// The most that a set, or a configuration source, may bring.
    pub limits: Limits,
}

/// An OpenBao or Vault server.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// `https://HOST:PORT`, or `unix:/PATH` of a local agent.
    pub url: Arc<str>,
    /// PEM file of trusted authorities; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The name that the server's certificate must have, where it is not the host of the URL.
    pub server_name: Option<String>,
    /// The namespace of every request.
    pub namespace: Option<String>,
    /// Who we are.
    pub auth: Auth,
    /// From the start of a request to the end of its answer.
    pub timeout: Duration,
    /// Waits between tries while the server is away: first, longest. Jittered.
    pub backoff: (Duration, Duration),
    /// The part of a lease's life after which it is renewed, above 0 and below 1; 0.67 by default.
    pub renew_at: f64,
    /// Whether leases and token are revoked when the process ends, also when a reload has named
    /// another server by then.
    pub revoke_on_exit: bool,
    /// The most bytes of one answer.
    pub answer_bytes: usize,
}

/// Who we are to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// A token in a file, read again when it changes.
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Whether the file holds a response-wrapping token that is unwrapped first, once.
        wrapped: bool,
    },
    /// AppRole.
    AppRole {
        /// Path of the mount, `approle`.
        mount: String,
        /// File with the role id.
        role_id: PathBuf,
        /// File with the secret id; `None` where the role needs none.
        secret_id: Option<PathBuf>,
        /// Whether the file holds a response-wrapping token that is unwrapped first.
        wrapped: bool,
        /// Whether the file is removed once it was used.
        remove: bool,
    },
    /// A JSON Web Token from a file, read again for each login.
    Jwt {
        /// Path of the mount, `jwt`.
        mount: String,
        /// The role.
        role: String,
        /// File with the token.
        path: PathBuf,
    },
    /// The service account of a pod.
    Kubernetes {
        /// Path of the mount, `kubernetes`.
        mount: String,
        /// The role.
        role: String,
        /// File with the token, `/var/run/secrets/kubernetes.io/serviceaccount/token`.
        path: PathBuf,
    },
    /// A TLS client certificate.
    Certificate {
        /// Path of the mount, `cert`.
        mount: String,
        /// The role; `None`: any that fits.
        role: Option<String>,
        /// PEM file of the chain.
        certificate: PathBuf,
        /// PEM file of the key.
        key: PathBuf,
    },
}

/// One thing that is fetched from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSource {
    /// Its name in files, templates, metrics and status.
    pub name: Arc<str>,
    /// Path as the server's API has it, without `/v1/`: `secret/data/db` or, for a KV 2 mount,
    /// also `secret/db`; `database/creds/app`; `pki/issue/web`.
    pub path: String,
    /// Values that make it a write: `common_name` of a certificate.
    pub data: Vec<(String, String)>,
    /// How often a secret without a lease is looked at again.
    pub interval: Duration,
    /// A certain version of a KV 2 secret.
    pub version: Option<u64>,
}

/// Configuration that is fetched from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSource {
    /// Its name in files, templates, metrics and status.
    pub name: Arc<str>,
    /// Where it is had.
    pub from: ConfigOrigin,
}

/// Where configuration is had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOrigin {
    /// A file, or all files of a folder such as a ConfigMap volume (`..data` is followed).
    Files(PathBuf),
    /// An HTTP server, asked again at this interval with the ETag of the last answer.
    Http {
        /// `http://` or `https://`.
        url: Arc<str>,
        /// PEM file of trusted authorities; `None`: those of the system.
        ca: Option<PathBuf>,
        /// File whose first line is sent as a bearer token.
        token: Option<PathBuf>,
        /// How often.
        interval: Duration,
    },
    /// Keys of etcd below a prefix, watched.
    Etcd {
        /// `http://HOST:2379`.
        url: Arc<str>,
        /// PEM file of trusted authorities; `None`: those of the system.
        ca: Option<PathBuf>,
        /// PEM files of certificate and key.
        identity: Option<(PathBuf, PathBuf)>,
        /// The prefix; it is cut from the names.
        prefix: String,
    },
}

/// Files that change together: one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSet {
    /// Its name in metrics and status.
    pub name: Arc<str>,
    /// The folder. It holds version folders, the link `current` to one of them, and a link for each
    /// file that leads through `current`.
    pub directory: PathBuf,
    /// The files.
    pub files: Vec<FileSpec>,
    /// What is checked before the link is swapped.
    pub checks: Vec<SetCheck>,
    /// How the app is told.
    pub tell: Tell,
    /// How the app confirms.
    pub confirm: Confirm,
    /// How long tell and confirmation may take together.
    pub confirm_timeout: Duration,
    /// How long the old version's leases live on after the confirmation.
    pub grace: Duration,
    /// Old versions that are kept beside the current one.
    pub keep: usize,
}

/// One file of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// Its name, relative to the directory; it may contain folders, never `..`.
    pub name: String,
    /// What is in it.
    pub content: Content,
    /// Permission bits; 0400 by default, never readable by everybody.
    pub mode: u32,
    /// User and group by name or number; `None`: ours.
    pub owner: Option<(String, String)>,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// One key of a secret.
    Key {
        /// Name of the secret.
        secret: Arc<str>,
        /// The key in its data.
        key: String,
    },
    /// All keys of a secret, as one JSON object.
    Json(Arc<str>),
    /// All files of a configuration source; the file's name is the folder they are put into.
    Config(Arc<str>),
    /// A template.
    Template(TemplateSource),
}

/// A template and its language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateSource {
    /// Where the text is.
    pub text: TemplateText,
    /// What it is written in.
    pub language: TemplateLanguage,
}

/// Where the text of a template is.
#[derive(Clone, PartialEq, Eq)]
pub enum TemplateText {
    /// In a file, read again when it changes.
    File(PathBuf),
    /// In the configuration.
    Inline(Arc<str>),
}

impl fmt::Debug for TemplateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            // It may contain what is not for everyone.
            Self::Inline(text) => write!(f, "inline, {} bytes", text.len()),
        }
    }
}

/// What a template is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateLanguage {
    /// `MiniJinja`.
    Jinja,
    /// consul-template: Go's `text/template` with its functions.
    Consul,
}

/// What is checked before the link is swapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetCheck {
    /// The file is well-formed JSON.
    Json(String),
    /// The file is well-formed YAML.
    Yaml(String),
    /// The file is a JSON document that this JSON Schema (a file) accepts.
    Schema {
        /// File of the set.
        file: String,
        /// The schema.
        schema: PathBuf,
    },
    /// The private key in one file belongs to the certificate in the other.
    KeyPair {
        /// PEM file of the set.
        certificate: String,
        /// PEM file of the set; may be the same.
        key: String,
    },
    /// A command that ends with 0; it is run in the new version's folder, whose path is in
    /// `PILLION_VERSION_DIR`.
    Command(Vec<String>),
}

/// How the app is told that a set has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tell {
    /// It finds out by itself.
    Nothing,
    /// A signal to the supervised app.
    Signal(i32),
    /// A restart of the supervised app.
    Restart,
    /// A command.
    Command(Vec<String>),
    /// An HTTP request.
    Http {
        /// Where to.
        url: Arc<str>,
        /// The method.
        method: String,
    },
}

/// How the app confirms that it uses the new version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// The tell went through: the signal was delivered, the command ended with 0, the status was
    /// 2xx.
    Told,
    /// The app is ready, asked until it is.
    Ready,
    /// A command ends with 0, asked until it does.
    Command(Vec<String>),
    /// A URL answers 2xx, asked until it does.
    Http(Arc<str>),
}

/// What the environment of the supervised app gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Name of the variable, secret and key.
    pub variables: Vec<(String, Arc<str>, String)>,
    /// Whether a change restarts the app.
    pub restart: bool,
    /// How long the app may take until it is ready after such a restart.
    pub confirm_timeout: Duration,
}

/// The local HTTP interface, a `VAULT_ADDR` for the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// A loopback address or a Unix socket.
    pub address: Address,
    /// Whether requests without a token get ours.
    pub auto_auth: bool,
    /// The most answers that are kept.
    pub entries: usize,
    /// The most bytes that all kept answers have together.
    pub kept_bytes: usize,
    /// The most bytes of one request's body.
    pub body_bytes: usize,
    /// Connections that are served at once.
    pub connections: usize,
}

/// What is kept for a start without the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// The sealed file.
    pub path: PathBuf,
    /// File with the key: 32 bytes, or 64 hexadecimal digits.
    pub key: PathBuf,
    /// How old it may be to be used.
    pub max_age: Duration,
}

/// What `/ready` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the first delivery of everything is waited for, also by the app's start.
    pub wait: bool,
    /// Secrets that could not be refreshed for longer than this make us not ready; `None`: never.
    pub max_stale: Option<Duration>,
}

/// The most that one set, or one configuration source, may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files.
    pub files: usize,
    /// Bytes, all files together.
    pub bytes: usize,
}
