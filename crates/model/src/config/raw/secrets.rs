//! The section `secrets`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::{
    ApiAddress, FileMode, FileName, FilePath, HeaderValue, Line, Name, Passage, Period, ServerUrl,
    Share, SignalName, Size, Timeout,
};
use super::{file_name_schema, label_schema, name_schema};

/// The secrets role, and configuration sync, which is the same transaction with other sources. It
/// exists when there is a set, a variable or the interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Secrets {
    /// The OpenBao or Vault server.
    pub server: Server,
    /// What is fetched from the server.
    #[schemars(extend("propertyNames" = name_schema(), "maxProperties" = 1_000))]
    pub secrets: BTreeMap<String, Secret>,
    /// Configuration that is fetched from elsewhere.
    #[schemars(extend("propertyNames" = name_schema(), "maxProperties" = 1_000))]
    pub configs: BTreeMap<String, ConfigSource>,
    /// Sets of files that change together, each in a folder of its own.
    #[schemars(extend("propertyNames" = name_schema(), "maxProperties" = 1_000))]
    pub sets: BTreeMap<String, FileSet>,
    /// What the environment of the supervised app gets.
    pub environment: Environment,
    /// The local HTTP interface: a `VAULT_ADDR` for the app.
    pub api: Api,
    /// What is kept for a start without the server.
    pub cache: Cache,
    /// What `/ready`, and the start of the app, wait for.
    pub readiness: Readiness,
    /// The most that a set, or a configuration source, may bring.
    pub limits: SetLimits,
}

/// The OpenBao or Vault server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where it is: `https://HOST:8200`, or `unix:/PATH` of a local agent.
    #[schemars(extend("x-default" = "required where there are secrets"))]
    pub url: Option<ServerUrl>,
    /// PEM file of the authorities that are trusted.
    #[schemars(extend("x-default" = "those of the system"))]
    pub ca: Option<FilePath>,
    /// The name that the server's certificate must have.
    #[schemars(extend("x-default" = "the host of the URL"))]
    pub server_name: Option<Line>,
    /// The namespace of every request.
    #[schemars(extend("x-default" = "none"))]
    pub namespace: Option<Line>,
    /// Who we are.
    pub auth: Auth,
    /// From the start of a request to the end of its answer.
    pub timeout: Period,
    /// The first wait while the server is away; it doubles, with jitter.
    pub backoff: Period,
    /// The longest wait.
    pub backoff_max: Period,
    /// The part of a lease's life after which it is renewed.
    pub renew_at: Share,
    /// Whether leases and token are revoked when the process ends, also when a reload has named
    /// another server by then.
    pub revoke_on_exit: bool,
    /// The most bytes of one answer, also of those that the local interface passes on.
    #[schemars(extend("x-min" = "1KiB", "x-max" = "256MiB"))]
    pub answer_bytes: Size,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            url: None,
            ca: None,
            server_name: None,
            namespace: None,
            auth: Auth::default(),
            timeout: Period::from_secs(10),
            backoff: Period::from_millis(500),
            backoff_max: Period::from_secs(60),
            renew_at: Share::RENEW_AT,
            revoke_on_exit: false,
            answer_bytes: Size::from_bytes(4 << 20),
        }
    }
}

/// Who we are to the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// How we show it.
    pub method: AuthMethod,
    /// Path of the mount. Not with `token_file`.
    #[schemars(extend("x-default" = "approle, jwt, kubernetes or cert"))]
    pub mount: Option<Line>,
    /// The role. With `jwt`, `kubernetes` and `certificate`.
    #[schemars(extend("x-default" = "required; any that fits with certificate"))]
    pub role: Option<Line>,
    /// File with the token (`token_file`) or the JSON Web Token (`jwt`, `kubernetes`).
    #[schemars(extend("x-default" = "required; the pod's service account with kubernetes"))]
    pub file: Option<FilePath>,
    /// File with the role id. With `approle`.
    #[schemars(extend("x-default" = "required with approle"))]
    pub role_id_file: Option<FilePath>,
    /// File with the secret id. With `approle`.
    #[schemars(extend("x-default" = "none"))]
    pub secret_id_file: Option<FilePath>,
    /// Whether the token or secret id in the file is wrapped, and unwrapped first. With
    /// `token_file` and `approle`.
    #[schemars(extend("x-default" = "false"))]
    pub wrapped: Option<bool>,
    /// Whether the file of the secret id is removed once it was used. With `approle`.
    #[schemars(extend("x-default" = "false"))]
    pub remove: Option<bool>,
    /// PEM file of our certificate chain. With `certificate`.
    #[schemars(extend("x-default" = "required with certificate"))]
    pub certificate: Option<FilePath>,
    /// PEM file of its key. With `certificate`.
    #[schemars(extend("x-default" = "required with certificate"))]
    pub key: Option<FilePath>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            method: AuthMethod::TokenFile,
            mount: None,
            role: None,
            file: None,
            role_id_file: None,
            secret_id_file: None,
            wrapped: None,
            remove: None,
            certificate: None,
            key: None,
        }
    }
}

/// How we show who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// A token in a file.
    TokenFile,
    /// AppRole.
    #[serde(rename = "approle")]
    AppRole,
    /// A JSON Web Token in a file.
    Jwt,
    /// The service account of a pod.
    Kubernetes,
    /// A TLS client certificate.
    Certificate,
}

/// One thing that is fetched from the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Secret {
    /// Its path, without `/v1/`: `secret/shop` (KV 1 and 2), `database/creds/shop`,
    /// `pki/issue/web`.
    #[schemars(extend("x-default" = "required"))]
    pub path: Option<Line>,
    /// Values that make it a write, such as `common_name` of a certificate.
    #[schemars(extend("propertyNames" = label_schema(), "maxProperties" = 64))]
    pub data: BTreeMap<String, Line>,
    /// How often a secret without a lease is looked at again.
    pub interval: Period,
    /// A certain version of a KV 2 secret.
    #[schemars(range(min = 1, max = 1_000_000_000), extend("x-default" = "the newest"))]
    pub version: Option<u64>,
}

impl Default for Secret {
    fn default() -> Self {
        Self { path: None, data: BTreeMap::new(), interval: Period::from_secs(30), version: None }
    }
}

/// Configuration that is fetched from elsewhere: exactly one of `files`, `http` and `etcd`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigSource {
    /// A file, or a folder such as a ConfigMap volume. It is watched.
    #[schemars(extend("x-default" = "none"))]
    pub files: Option<FilePath>,
    /// A URL. It is asked again with the ETag of the last answer.
    #[schemars(extend("x-default" = "none"))]
    pub http: Option<ServerUrl>,
    /// An etcd server, `http://HOST:2379`. Keys below `prefix` are watched.
    #[schemars(extend("x-default" = "none"))]
    pub etcd: Option<ServerUrl>,
    /// The prefix of the keys; it is cut from their names. Only with `etcd`.
    #[schemars(extend("x-default" = "required with etcd"))]
    pub prefix: Option<Line>,
    /// How often it is asked. Only with `http`.
    #[schemars(extend("x-default" = "30s"))]
    pub interval: Option<Period>,
    /// File whose first line is sent as a bearer token. Only with `http`.
    #[schemars(extend("x-default" = "none"))]
    pub token_file: Option<FilePath>,
    /// PEM file of the authorities that are trusted. With `http` and `etcd`.
    #[schemars(extend("x-default" = "those of the system"))]
    pub ca: Option<FilePath>,
    /// PEM file of our certificate chain. Only with `etcd`.
    #[schemars(extend("x-default" = "none"))]
    pub certificate: Option<FilePath>,
    /// PEM file of its key. Only with `etcd`.
    #[schemars(extend("x-default" = "none"))]
    pub key: Option<FilePath>,
}

/// Files that change together: one transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FileSet {
    /// The folder; best on a memory file system. Each file is there under its own name.
    #[schemars(extend("x-default" = "required"))]
    pub directory: Option<FilePath>,
    /// The files, by name relative to the folder.
    #[schemars(extend("propertyNames" = file_name_schema(), "maxProperties" = 1_000))]
    pub files: BTreeMap<String, FileContent>,
    /// What is checked before the new files take the place of the old.
    #[schemars(length(max = 64))]
    pub checks: Vec<SetCheck>,
    /// How the app is told.
    pub tell: Tell,
    /// How the app confirms that it uses the new files; nothing: the telling itself went well.
    pub confirm: Confirm,
    /// How long telling and confirmation may take together; then the old files come back.
    pub confirm_timeout: Period,
    /// How long old leases live on after the confirmation.
    pub grace: Period,
    /// Old versions of the files that are kept.
    #[schemars(range(min = 0, max = 100))]
    pub keep: u32,
}

impl Default for FileSet {
    fn default() -> Self {
        Self {
            directory: None,
            files: BTreeMap::new(),
            checks: Vec::new(),
            tell: Tell::default(),
            confirm: Confirm::default(),
            confirm_timeout: Period::from_secs(30),
            grace: Period::from_secs(60),
            keep: 1,
        }
    }
}

/// What is in a file: exactly one of `secret`, `config`, `template` and `text`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FileContent {
    /// A secret: one key of it, or, without `key`, all of it as a JSON object.
    #[schemars(extend("x-default" = "none"))]
    pub secret: Option<Name>,
    /// The key. Only with `secret`.
    #[schemars(extend("x-default" = "all of it, as JSON"))]
    pub key: Option<Line>,
    /// All files of a configuration source; the name is the folder that they are put into.
    #[schemars(extend("x-default" = "none"))]
    pub config: Option<Name>,
    /// A template in a file.
    #[schemars(extend("x-default" = "none"))]
    pub template: Option<FilePath>,
    /// A template as it stands here.
    #[schemars(extend("x-default" = "none"))]
    pub text: Option<Passage>,
    /// What the template is written in.
    #[schemars(extend("x-default" = "consul for a file that ends in .ctmpl or .tpl, else jinja"))]
    pub language: Option<TemplateLanguage>,
    /// Permission bits; never readable by everybody.
    pub mode: FileMode,
    /// The user that owns it, by name or number.
    #[schemars(extend("x-default" = "who runs Pillion"))]
    pub owner: Option<Line>,
    /// The group that owns it.
    #[schemars(extend("x-default" = "the group of the owner"))]
    pub group: Option<Line>,
}

/// What a template is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TemplateLanguage {
    /// Jinja.
    Jinja,
    /// consul-template.
    Consul,
}

/// What is checked: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SetCheck {
    /// This file is JSON.
    #[schemars(extend("x-default" = "none"))]
    pub json: Option<FileName>,
    /// This file is YAML.
    #[schemars(extend("x-default" = "none"))]
    pub yaml: Option<FileName>,
    /// The file in `json` follows this JSON Schema.
    #[schemars(extend("x-default" = "none"))]
    pub schema: Option<FilePath>,
    /// The key in the file `key` belongs to the certificate in this one.
    #[schemars(extend("x-default" = "none"))]
    pub certificate: Option<FileName>,
    /// The file with the key.
    #[schemars(extend("x-default" = "the same as certificate"))]
    pub key: Option<FileName>,
    /// A command that ends with 0. It is run in the folder of the new version.
    #[schemars(length(max = 64), extend("x-default" = "none"))]
    pub command: Vec<Line>,
}

/// How the app is told: at most one of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tell {
    /// A signal to the supervised app, such as `HUP`.
    #[schemars(extend("x-default" = "none"))]
    pub signal: Option<SignalName>,
    /// A restart of the supervised app.
    #[schemars(extend("x-default" = "false"))]
    pub restart: Option<bool>,
    /// A command.
    #[schemars(length(max = 64), extend("x-default" = "none"))]
    pub command: Vec<Line>,
    /// A URL that is posted to.
    #[schemars(extend("x-default" = "none"))]
    pub url: Option<ServerUrl>,
    /// The method. Only with `url`.
    #[schemars(extend("x-default" = "POST"))]
    pub method: Option<super::Method>,
}

/// How the app confirms: at most one of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Confirm {
    /// It is ready (`app.ready`), asked until it is.
    #[schemars(extend("x-default" = "false"))]
    pub ready: Option<bool>,
    /// This command ends with 0, asked until it does.
    #[schemars(length(max = 64), extend("x-default" = "none"))]
    pub command: Vec<Line>,
    /// This URL answers 2xx, asked until it does.
    #[schemars(extend("x-default" = "none"))]
    pub url: Option<ServerUrl>,
}

/// What the environment of the supervised app gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Environment {
    /// Each variable, by name.
    #[schemars(extend("propertyNames" = label_schema(), "maxProperties" = 256))]
    pub variables: BTreeMap<String, Variable>,
    /// Whether a change restarts the app.
    pub restart: bool,
    /// How long the app may take until it is ready after such a restart; then the old variables come
    /// back.
    pub confirm_timeout: Period,
}

impl Default for Environment {
    fn default() -> Self {
        Self { variables: BTreeMap::new(), restart: false, confirm_timeout: Period::from_secs(60) }
    }
}

/// Where a variable has its value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Variable {
    /// The secret.
    #[schemars(extend("x-default" = "required"))]
    pub secret: Option<Name>,
    /// The key in it.
    #[schemars(extend("x-default" = "required"))]
    pub key: Option<Line>,
}

/// The local HTTP interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Where: `127.0.0.1:PORT`, `unix:/PATH` or `off`. Loopback alone.
    pub listen: ApiAddress,
    /// Whether requests without a token get ours.
    pub auto_auth: bool,
    /// The most answers that are kept; the oldest go first.
    #[schemars(range(min = 0, max = 100_000))]
    pub entries: u32,
    /// The most bytes that all kept answers have together.
    #[schemars(extend("x-min" = "0B", "x-max" = "1GiB"))]
    pub kept_bytes: Size,
    /// The most bytes of one request's body; a longer one is answered 413.
    #[schemars(extend("x-min" = "1KiB", "x-max" = "256MiB"))]
    pub body_bytes: Size,
    /// Connections that are served at once; those that come later wait.
    #[schemars(range(min = 1, max = 10_000))]
    pub connections: u32,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: ApiAddress::default(),
            auto_auth: true,
            entries: 1_000,
            kept_bytes: Size::from_bytes(16 << 20),
            body_bytes: Size::from_bytes(1 << 20),
            connections: 64,
        }
    }
}

/// What is kept for a start without the server, sealed. `docs/internals/sealed-cache.md` says what
/// that protects, and what not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// The file. With `key_file`.
    #[schemars(extend("x-default" = "none: nothing is kept"))]
    pub file: Option<FilePath>,
    /// File with the key: 32 bytes, or 64 hexadecimal digits.
    #[schemars(extend("x-default" = "required with file"))]
    pub key_file: Option<FilePath>,
    /// How old it may be to be used.
    pub max_age: Period,
}

impl Default for Cache {
    fn default() -> Self {
        Self { file: None, key_file: None, max_age: Period::from_secs(86_400) }
    }
}

/// What `/ready`, and the start of the app, wait for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Readiness {
    /// Whether the first delivery of everything is waited for.
    pub wait: bool,
    /// Secrets that could not be refreshed for longer make us not ready.
    pub max_stale: Timeout,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { wait: true, max_stale: Timeout::Off }
    }
}

/// The most that a set, or a configuration source, may bring. What is more is refused, and what was
/// delivered stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SetLimits {
    /// Files of one set, and of one configuration source.
    #[schemars(range(min = 1, max = 16_384))]
    pub files: u32,
    /// Bytes of one set, and of one configuration source, all files together. They are in memory
    /// while a change is under way.
    #[schemars(extend("x-min" = "1KiB", "x-max" = "1GiB"))]
    pub bytes: Size,
}

impl Default for SetLimits {
    fn default() -> Self {
        Self { files: 1_024, bytes: Size::from_bytes(16 << 20) }
    }
}
