//! The HTTP API of OpenBao and Vault, as far as it is needed here.
//!
//! Each function is one request (and, once for each mount, the question what is mounted there).
//! When to ask, and how often, is decided above: [`crate::broker`], [`crate::session`].

mod answer;
mod error;
mod mounts;
mod request;
mod token;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use pillion_client::{Client, Options, Target, TargetError, Tls, TlsError};
use pillion_model::secrets::{Auth, SecretSource, Server};
use pillion_runtime::board::Secret;
use pillion_runtime::say;
use serde::Deserialize;
use tokio::sync::Semaphore;

use answer::{Answer, VersionMetadata};
pub(crate) use error::way_out;
pub use error::{Error, Trouble};
use mounts::{Engine, Mounts, Versioned};
use request::Call;
pub use token::Grant;
pub(crate) use token::Unwrapped;

use crate::fetched::{Fetched, Lease};
use crate::flights::Flights;

/// Requests that are under way at once. A sidecar is one of thousands that ask the same server.
const AT_ONCE: usize = 4;

/// A client of one server. Clones share everything.
#[derive(Clone, Debug)]
pub struct Bao(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    server: Server,
    target: Target,
    /// Made anew when the files of a client certificate may have changed.
    client: Mutex<Client>,
    places: Semaphore,
    mounts: Mounts,
    /// Questions about what is mounted: at the start, all secrets want to know the same.
    asking: Flights<()>,
    requests: AtomicU64,
}

/// Why a client cannot be made of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The URL is none.
    #[error("{0}")]
    Target(#[from] TargetError),
    /// A certificate or key cannot be read, or does not fit.
    #[error("{0}")]
    Tls(#[from] TlsError),
}

/// What the metadata of a KV 2 secret says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newest {
    /// The version that a read would bring.
    Version(u64),
    /// Only a read can tell.
    Unknown,
}

#[derive(Deserialize)]
struct Metadata {
    current_version: u64,
    #[serde(default)]
    versions: std::collections::BTreeMap<u64, VersionMetadata>,
}

#[derive(Deserialize)]
struct Mounted {
    path: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    options: Option<std::collections::BTreeMap<String, String>>,
}

impl Bao {
    /// A client of `server`. Reads the certificate files; opens no connection yet.
    ///
    /// # Errors
    /// The URL or a file is not what it should be.
    pub fn new(server: &Server) -> Result<Self, SetupError> {
        let target: Target = server.url.parse()?;
        let client = Mutex::new(client(server, &target)?);
        Ok(Self(Arc::new(Inner {
            server: server.clone(),
            target,
            client,
            places: Semaphore::new(AT_ONCE),
            mounts: Mounts::default(),
            asking: Flights::default(),
            requests: AtomicU64::new(0),
        })))
    }

    /// How it was configured.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.0.server
    }

    /// What requests of others are passed on with.
    pub(crate) fn client(&self) -> Client {
        self.0.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests were sent so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        // Relaxed: a number for people, ordered with nothing.
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Reads the files of the client certificate again: what connects from now on shows it.
    pub(crate) fn reconnect(&self) -> Result<(), SetupError> {
        let client = client(&self.0.server, &self.0.target)?;
        *self.0.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
        Ok(())
    }

    /// Reads or writes what `source` says, in the way that its engine wants it.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn fetch(&self, token: &Secret, source: &SecretSource) -> Result<Fetched, Error> {
        let path = &source.path;
        if !source.data.is_empty() {
            let values: Vec<_> =
                source.data.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            return self.write(token, path, &values).await;
        }
        match self.versioned(token, path).await? {
            Some(secret) => self.read_version(token, path, &secret, source.version).await,
            None => self.read(token, path).await,
        }
    }

    /// Reads a path as it is.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn read(&self, token: &Secret, path: &str) -> Result<Fetched, Error> {
        let doing = || format!("read {path}");
        let at = SystemTime::now();
        let answer =
            self.ok(doing, Call::read(path).token(token), &[]).await.inspect_err(|error| {
                if matches!(error.trouble, Trouble::NotFound { .. }) {
                    self.0.mounts.forget(path);
                }
            })?;
        self.fetched(doing, &answer, at)
    }

    /// Writes values to a path, and returns what the server answers: a certificate, for example.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn write(
        &self,
        token: &Secret,
        path: &str,
        values: &[(&str, &str)],
    ) -> Result<Fetched, Error> {
        let doing = || format!("write {path}");
        let at = SystemTime::now();
        let answer = self.ok(doing, Call::write(path, values).token(token), &[]).await?;
        self.fetched(doing, &answer, at)
    }

    /// The newest version of a KV 2 secret, for the price of its metadata.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn newest(&self, token: &Secret, path: &str) -> Result<Newest, Error> {
        let Some(secret) = self.versioned(token, path).await? else { return Ok(Newest::Unknown) };
        let doing = || format!("look for a new version of {path}");
        let answer = match self.ok(doing, Call::read(&secret.metadata()).token(token), &[]).await {
            Ok(answer) => answer,
            Err(error) => return unless_hidden(error),
        };
        let metadata = answer.envelope().and_then(|parts| parts.data::<Metadata>());
        let metadata = metadata.map_err(|trouble| Error::new(doing(), trouble))?;
        let newest = metadata.current_version;
        let is_gone = |state: &VersionMetadata| state.destroyed || !state.deletion_time.is_empty();
        // A deletion time may lie ahead: the read will tell.
        Ok(match metadata.versions.get(&newest).is_some_and(is_gone) {
            true => Newest::Unknown,
            false => Newest::Version(newest),
        })
    }

    /// Extends a lease, so that it ends after `increment`, if the server lets it.
    ///
    /// # Errors
    /// See [`Trouble`]; [`Trouble::LeaseGone`] where there is none any more.
    pub async fn renew(
        &self,
        token: &Secret,
        id: &str,
        increment: Duration,
    ) -> Result<Lease, Error> {
        let doing = || format!("renew the lease of {}", engine_path(id));
        let seconds = increment.as_secs().to_string();
        let values = [("lease_id", id), ("increment", seconds.as_str())];
        let call = Call::write("sys/leases/renew", &values).token(token);
        let answer = self.ok(doing, call, &[id]).await?;
        let parts = answer.envelope().map_err(|trouble| Error::new(doing(), trouble))?;
        parts.lease().ok_or_else(|| Error::new(doing(), Trouble::Odd("no lease".to_owned())))
    }

    /// Ends a lease. One that has ended already is no error.
    ///
    /// # Errors
    /// See [`Trouble`]. The policy `default` does not allow it: the token needs `update` on
    /// `sys/leases/revoke`.
    pub async fn revoke(&self, token: &Secret, id: &str) -> Result<(), Error> {
        let doing = || {
            let path = engine_path(id);
            format!("revoke the lease of {path} (needs `update` on sys/leases/revoke)")
        };
        let call = Call::write("sys/leases/revoke", &[("lease_id", id)]).token(token);
        match self.ok(doing, call, &[id]).await {
            Err(Error { trouble: Trouble::LeaseGone, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// The KV 2 secret that a path means, if it means one.
    async fn versioned(&self, token: &Secret, path: &str) -> Result<Option<Versioned>, Error> {
        let known = match self.0.mounts.of(path) {
            Some(known) => known,
            None => self.ask_for_mount(token, path).await?,
        };
        let (mount, engine) = known;
        Ok(match engine {
            // Other parts of the engine's interface are taken as they are.
            Engine::Kv2 if is_inside(&mount, path, "metadata/") => None,
            Engine::Kv2 if is_inside(&mount, path, "subkeys/") => None,
            Engine::Kv2 => Some(Versioned::new(&mount, path)),
            Engine::Other => None,
        })
    }

    /// One question for all paths that begin alike, which most often are of one mount.
    async fn ask_for_mount(&self, token: &Secret, path: &str) -> Result<(String, Engine), Error> {
        let mut ours = None;
        let asking = async { ours = Some(self.look_up_mount(token, path).await) };
        self.0.asking.join(path.split('/').next().unwrap_or(path), || asking).await;
        match (ours, self.0.mounts.of(path)) {
            (Some(ours), _) => ours,
            (None, Some(known)) => Ok(known),
            // Another one has asked in vain, or about another mount.
            (None, None) => self.look_up_mount(token, path).await,
        }
    }

    /// Asks what is mounted, as the official tools do. A token that may not know is no fault: the
    /// path is then taken as it is, and the server says what is wrong with it.
    async fn look_up_mount(&self, token: &Secret, path: &str) -> Result<(String, Engine), Error> {
        let doing = || format!("look up what is mounted at {path}");
        let call = format!("sys/internal/ui/mounts/{path}");
        let found = match self.ok(doing, Call::read(&call).token(token), &[]).await {
            Ok(answer) => answer.envelope().and_then(|parts| parts.data::<Mounted>()),
            Err(Error { trouble: Trouble::Denied { .. } | Trouble::NotFound { .. }, .. }) => {
                return Ok((path.to_owned(), Engine::Other));
            }
            Err(error) => return Err(error),
        };
        let mounted = found.map_err(|trouble| Error::new(doing(), trouble))?;
        let version = mounted.options.as_ref().and_then(|options| options.get("version"));
        let engine = match (mounted.kind.as_str(), version.map(String::as_str)) {
            ("kv", Some("2")) => Engine::Kv2,
            _ => Engine::Other,
        };
        self.0.mounts.note(mounted.path.clone(), engine);
        Ok((mounted.path, engine))
    }

    async fn read_version(
        &self,
        token: &Secret,
        path: &str,
        secret: &Versioned,
        version: Option<u64>,
    ) -> Result<Fetched, Error> {
        let fail = |trouble| Error::new(format!("read {path}"), trouble);
        let at = SystemTime::now();
        let call = Call::read(&secret.data()).version(version).token(token);
        let answer = self.ask(call).await.map_err(fail)?;
        if answer.status == StatusCode::NOT_FOUND {
            self.0.mounts.forget(path);
            let gone = answer.version_is_gone();
            return Err(fail(gone.unwrap_or_else(|| error::trouble(&answer, &[]))));
        }
        let token = token.reveal_text().unwrap_or_default();
        let answer = successful(answer, &[token]).map_err(fail)?;
        answer.envelope().and_then(|parts| parts.fetched_version(at)).map_err(fail)
    }

    fn fetched(
        &self,
        doing: impl Fn() -> String,
        answer: &Answer,
        at: SystemTime,
    ) -> Result<Fetched, Error> {
        let parts = answer.envelope().map_err(|trouble| Error::new(doing(), trouble))?;
        for warning in parts.warnings.iter().flatten() {
            say!(Warn, "the secrets server warns", request = doing(), warning = warning);
        }
        parts.fetched(at).map_err(|trouble| Error::new(doing(), trouble))
    }

    /// One request and its answer, if it is one of success. `secrets` are what errors must not
    /// repeat beside the token.
    async fn ok(
        &self,
        doing: impl Fn() -> String,
        call: Call<'_>,
        secrets: &[&str],
    ) -> Result<Answer, Error> {
        let token = call.token_text();
        let answer = self.ask(call).await.map_err(|trouble| Error::new(doing(), trouble))?;
        let secrets: Vec<&str> = secrets.iter().copied().chain(token).collect();
        successful(answer, &secrets).map_err(|trouble| Error::new(doing(), trouble))
    }

    async fn ask(&self, call: Call<'_>) -> Result<Answer, Trouble> {
        let request = call.request(self.0.server.namespace.as_deref())?;
        let client = self.client();
        // It is never closed: an error cannot be, and would let the request through.
        let _place = self.0.places.acquire().await;
        // Relaxed: as in `requests`.
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        let answer = client.send(request).await.map_err(Trouble::NoAnswer)?;
        let (head, body) = answer.into_parts();
        Ok(Answer::new(head.status, head.headers, body))
    }
}

fn client(server: &Server, target: &Target) -> Result<Client, SetupError> {
    let identity = match &server.auth {
        Auth::Certificate { certificate, key, .. } => Some((certificate.clone(), key.clone())),
        Auth::TokenFile { .. }
        | Auth::AppRole { .. }
        | Auth::Jwt { .. }
        | Auth::Kubernetes { .. } => None,
    };
    let options = Options {
        tls: Tls { ca: server.ca.clone(), identity, server_name: server.server_name.clone() },
        timeout: server.timeout,
        body_limit: server.answer_bytes,
        idle_connections: 1,
        ..Options::default()
    };
    Ok(Client::new(target.clone(), &options)?)
}

fn successful(answer: Answer, secrets: &[&str]) -> Result<Answer, Trouble> {
    match answer.status.is_success() {
        true => Ok(answer),
        false => Err(error::trouble(&answer, secrets)),
    }
}

/// Who may not see the metadata still may read.
fn unless_hidden(error: Error) -> Result<Newest, Error> {
    match error.trouble {
        Trouble::Denied { .. } | Trouble::NotFound { .. } => Ok(Newest::Unknown),
        _ => Err(error),
    }
}

fn is_inside(mount: &str, path: &str, part: &str) -> bool {
    path.strip_prefix(mount).is_some_and(|rest| rest.starts_with(part))
}

/// The path that made a lease: its id without the last part, which names it alone.
fn engine_path(lease: &str) -> &str {
    lease.rsplit_once('/').map_or(lease, |(path, _)| path)
}
