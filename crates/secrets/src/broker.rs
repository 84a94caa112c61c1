//! Secrets for those who need them, without ever asking the server more than makes sense: one
//! request for all who want the same, and after a failure none before its time.

mod circuit;

use std::sync::Arc;
use std::time::Duration;

use pillion_model::secrets::SecretSource;
use tokio::time::Instant;

use crate::bao::{Bao, Error, Newest, Trouble};
use crate::chance::chance;
use crate::fetched::{Fetched, Lease};
use crate::flights::Flights;
use crate::session::{Session, SessionId, Tokens};
use circuit::Circuits;

/// How long one waits for a token before the request counts as failed.
const TOKEN_PATIENCE: Duration = Duration::from_secs(1);

/// Asks the server. Clones share everything.
#[derive(Clone, Debug)]
pub struct Broker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bao: Bao,
    tokens: Tokens,
    circuits: Circuits,
    flights: Flights<Result<Held, Failure>>,
}

/// What was fetched, and with which token: its lease dies with that.
#[derive(Clone, Debug)]
pub struct Held {
    /// The values.
    pub fetched: Arc<Fetched>,
    /// The session that its lease belongs to.
    pub session: SessionId,
}

/// Why there is no answer, and when it makes sense to ask again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// Why. Where the server was not asked, because it failed a moment ago: why it failed then.
    pub error: Arc<Error>,
    /// How long it makes no sense to ask again: until then the same failure is the answer.
    pub wait: Duration,
}

impl Failure {
    /// The error, for who asked. What is of the server is the same for all, whoever was the one to
    /// ask it.
    pub(crate) fn reason(&self) -> String {
        match self.error.trouble.is_of_the_server() {
            true => self.error.trouble.to_string(),
            false => self.error.to_string(),
        }
    }
}

/// What a look at a secret without a lease brought.
#[derive(Clone, Debug)]
pub enum Look {
    /// It is what it was.
    Unchanged,
    /// It was read; whether its values are others, only a comparison tells.
    Fetched(Held),
}

impl Broker {
    /// Asks with these tokens.
    #[must_use]
    pub fn new(bao: Bao, tokens: Tokens) -> Self {
        let circuits = Circuits::new(bao.server().backoff);
        Self(Arc::new(Inner { bao, tokens, circuits, flights: Flights::default() }))
    }

    /// The tokens that it asks with.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// The part of a lease's life after which it is renewed.
    pub(crate) fn renew_at(&self) -> f64 {
        self.0.bao.server().renew_at
    }

    /// Whether leases and tokens end with the process.
    pub(crate) fn revokes_on_exit(&self) -> bool {
        self.0.bao.server().revoke_on_exit
    }

    /// Fetches a secret. All who want the same at the same time get the same: one set of dynamic
    /// credentials, not one for each.
    ///
    /// # Errors
    /// The server said no, or was not asked because it did a moment ago.
    pub async fn fetch(&self, source: &SecretSource) -> Result<Held, Failure> {
        self.0.flights.join(&identity(source), || self.fetch_now(source)).await
    }

    async fn fetch_now(&self, source: &SecretSource) -> Result<Held, Failure> {
        let doing = || format!("fetch {}", source.path);
        let (fetched, session) = self
            .ask(&source.path, doing, async |bao, session| bao.fetch(&session.token, source).await)
            .await?;
        Ok(Held { fetched: Arc::new(fetched), session })
    }

    /// Looks whether a secret without a lease has changed: by the version alone where it has one,
    /// else by reading it.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub async fn look(&self, source: &SecretSource, last: &Fetched) -> Result<Look, Failure> {
        if last.version.is_some() {
            let doing = || format!("look for a new version of {}", source.path);
            let path = &source.path;
            let (newest, _) = self
                .ask(path, doing, async |bao, session| bao.newest(&session.token, path).await)
                .await?;
            let is_pinned = source.version.is_some();
            match newest {
                Newest::Version(version) if is_pinned || Some(version) == last.version => {
                    return Ok(Look::Unchanged);
                }
                Newest::Version(_) | Newest::Unknown => {}
            }
        }
        Ok(Look::Fetched(self.fetch(source).await?))
    }

    /// Extends a lease. What comes back is the lease alone, never data.
    ///
    /// # Errors
    /// As [`Self::fetch`]; with [`Trouble::LeaseGone`] the lease has to be replaced.
    pub async fn renew(&self, id: &str, increment: Duration) -> Result<Lease, Failure> {
        let doing = || "renew a lease".to_owned();
        let renewed = self
            .ask(id, doing, async |bao, session| bao.renew(&session.token, id, increment).await)
            .await?;
        Ok(renewed.0)
    }

    /// Ends a lease.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub async fn revoke(&self, id: &str) -> Result<(), Failure> {
        let doing = || "revoke a lease".to_owned();
        self.ask(id, doing, async |bao, session| bao.revoke(&session.token, id).await).await?;
        Ok(())
    }

    /// One request, if its path and the server are not known to fail.
    async fn ask<T>(
        &self,
        path: &str,
        doing: impl Fn() -> String,
        request: impl AsyncFnOnce(&Bao, &Session) -> Result<T, Error>,
    ) -> Result<(T, SessionId), Failure> {
        let circuits = &self.0.circuits;
        // First: whoever is admitted has to ask, because others wait for what that brings.
        let Some(session) = self.session().await else {
            return Err(self.no_token(doing()));
        };
        circuits.admit(path, Instant::now())?;
        let result = match request(&self.0.bao, &session).await {
            Err(error) => Err(self.diagnosed(error, &session).await),
            answered => answered,
        };
        match result {
            Ok(answer) => {
                circuits.succeeded(path);
                Ok((answer, session.id))
            }
            Err(error) => Err(circuits.failed(path, error, Instant::now(), chance())),
        }
    }

    /// The current session; at the start, and after one was lost, a new one is on its way.
    async fn session(&self) -> Option<Arc<Session>> {
        let mut sessions = self.0.tokens.watch();
        let found = sessions.wait_for(|sessions| sessions.current.is_some());
        // An error of either: nobody logs in, or not soon enough.
        let sessions = tokio::time::timeout(TOKEN_PATIENCE, found).await.ok()?.ok()?;
        sessions.current.clone()
    }

    /// No circuit is opened for this: nobody was asked.
    fn no_token(&self, doing: String) -> Failure {
        let trouble = self.0.tokens.watch().borrow().trouble.clone();
        let error = trouble.unwrap_or_else(|| {
            let what = "there is no token yet".to_owned();
            Arc::new(Error::new(doing, Trouble::Credential(what)))
        });
        let wait = crate::chance::wait(1, self.0.bao.server().backoff, chance());
        Failure { error, wait }
    }

    /// A 403 may be the token's fault or its policies'. The token itself is asked.
    async fn diagnosed(&self, error: Error, session: &Session) -> Error {
        let Trouble::Denied { said } = error.trouble else { return error };
        let trouble = match self.0.bao.look_up_self(&session.token).await {
            Ok(grant) => Trouble::NotAllowed { policies: grant.policies.join(", "), said },
            Err(Error { trouble: Trouble::TokenGone, .. }) => {
                self.0.tokens.lost(session.id).await;
                Trouble::TokenGone
            }
            Err(_) => Trouble::Denied { said },
        };
        Error::new(error.doing, trouble)
    }
}

/// Who asks for this asks for the same.
fn identity(source: &SecretSource) -> String {
    let SecretSource { path, data, version, name: _, interval: _ } = source;
    // Quoted, so that no text can look like another's end.
    format!("{path:?} {data:?} {version:?}")
}
