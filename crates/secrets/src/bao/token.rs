//! Requests about tokens: logging in, renewing, unwrapping.

use std::time::{Duration, SystemTime};

use pillion_runtime::board::Secret;
use serde::Deserialize;

use super::answer::Answer;
use super::request::Call;
use super::{Bao, Error, Trouble};
use crate::fetched::Fetched;

/// A token, and how long it lives.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The token.
    pub token: Secret,
    /// The server's name for it, which may be shown.
    pub accessor: String,
    /// What it may do.
    pub policies: Vec<String>,
    /// From now on; `None`: it does not end.
    pub duration: Option<Duration>,
    /// Whether its life can be extended.
    pub renewable: bool,
}

/// A response-wrapping token, as the server knows it.
#[derive(Debug, Deserialize)]
pub(crate) struct Wrapping {
    /// The request whose answer is wrapped.
    pub(crate) creation_path: String,
}

/// What unwrapping brought.
pub(crate) enum Unwrapped {
    /// The answer was that of a login or a new token.
    Token(Secret),
    /// The answer had data.
    Data(Fetched),
}

#[derive(Deserialize)]
struct SelfLookup {
    #[serde(default)]
    accessor: String,
    #[serde(default)]
    policies: Vec<String>,
    /// Seconds; 0 for a token that never ends.
    #[serde(default)]
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

impl Bao {
    /// Sends credentials to the login of an auth method and returns the token.
    pub(crate) async fn log_in(
        &self,
        path: &str,
        credentials: &[(&str, &str)],
    ) -> Result<Grant, Error> {
        let doing = || format!("log in to {} at {path}", self.server().url);
        let secrets: Vec<&str> = credentials.iter().map(|(_, value)| *value).collect();
        let answer = self.ok(doing, Call::write(path, credentials), &secrets).await?;
        granted(doing, &answer)
    }

    /// What the server knows about a token.
    ///
    /// # Errors
    /// See [`Trouble`]; [`Trouble::TokenGone`] where it does not know it.
    pub async fn look_up_self(&self, token: &Secret) -> Result<Grant, Error> {
        let doing = || "look up our token".to_owned();
        let call = Call::read("auth/token/lookup-self").token(token);
        let answer = self.ok(doing, call, &[]).await.map_err(token_gone)?;
        let found = answer.envelope().and_then(|parts| parts.data::<SelfLookup>());
        let found = found.map_err(|trouble| Error::new(doing(), trouble))?;
        Ok(Grant {
            token: token.clone(),
            accessor: found.accessor,
            policies: found.policies,
            duration: seconds(found.ttl),
            renewable: found.renewable,
        })
    }

    /// Extends the life of a token.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn renew_self(&self, token: &Secret) -> Result<Grant, Error> {
        let doing = || "renew our token".to_owned();
        let call = Call::write("auth/token/renew-self", &[]).token(token);
        let answer = self.ok(doing, call, &[]).await?;
        granted(doing, &answer)
    }

    /// Ends a token, and with it every lease that it has.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn revoke_self(&self, token: &Secret) -> Result<(), Error> {
        let doing = || "revoke our token".to_owned();
        let call = Call::write("auth/token/revoke-self", &[]).token(token);
        match self.ok(doing, call, &[]).await.map_err(token_gone) {
            Err(Error { trouble: Trouble::TokenGone, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// What the server knows about a wrapping token. Does not use it up.
    pub(crate) async fn look_up_wrapping(&self, wrapping: &Secret) -> Result<Wrapping, Error> {
        let doing = || "look up the wrapping token".to_owned();
        let text = wrapping.reveal_text().unwrap_or_default();
        let call = Call::write("sys/wrapping/lookup", &[("token", text)]);
        let answer = self.ok(doing, call, &[text]).await?;
        let found = answer.envelope().and_then(|parts| parts.data());
        found.map_err(|trouble| Error::new(doing(), trouble))
    }

    /// What a wrapping token wraps. It works once.
    pub(crate) async fn unwrap(&self, wrapping: &Secret) -> Result<Unwrapped, Error> {
        let doing = || "unwrap what the wrapping token stands for".to_owned();
        let call = Call::write("sys/wrapping/unwrap", &[]).token(wrapping);
        let at = SystemTime::now();
        let answer = self.ok(doing, call, &[]).await?;
        let parts = answer.envelope().map_err(|trouble| Error::new(doing(), trouble))?;
        match parts.auth {
            Some(granted) => Ok(Unwrapped::Token(granted.client_token)),
            None => Ok(Unwrapped::Data(
                parts.fetched(at).map_err(|trouble| Error::new(doing(), trouble))?,
            )),
        }
    }
}

fn granted(doing: impl Fn() -> String, answer: &Answer) -> Result<Grant, Error> {
    let none = || Trouble::Odd("no token in it".to_owned());
    let granted = answer.envelope().and_then(|parts| parts.auth.ok_or_else(none));
    let granted = granted.map_err(|trouble| Error::new(doing(), trouble))?;
    Ok(Grant {
        token: granted.client_token,
        accessor: granted.accessor,
        policies: granted.policies,
        duration: seconds(granted.lease_duration),
        renewable: granted.renewable,
    })
}

/// A life of no seconds is one without an end.
fn seconds(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// These requests are allowed to every token (by the policy `default`), if it lives.
fn token_gone(error: Error) -> Error {
    match error.trouble {
        Trouble::Denied { .. } => Error::new(error.doing, Trouble::TokenGone),
        _ => error,
    }
}
