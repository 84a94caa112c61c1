//! Why the server did not do what was asked, and what to do about it.

use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;

use super::answer::Answer;

/// Characters of the server's own messages that are shown.
const LONGEST_MESSAGE: usize = 400;
/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What was being done, and why it was not.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}: {trouble}")]
pub struct Error {
    /// A verb and its object: `read secret/data/db`.
    pub doing: String,
    /// Why not.
    pub trouble: Trouble,
}

/// Why the server did not do what was asked. The server's own words are in `said`, where it had
/// any; they begin with a space and a dash.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// There was no answer.
    #[error("{0}{more}", more = way_out(.0))]
    NoAnswer(pillion_client::Error),
    /// 503: its storage is not open.
    #[error("the server is sealed; it has to be unsealed by its operators{said}")]
    Sealed {
        /// What the server said.
        said: String,
    },
    /// 501.
    #[error("the server was never initialised: `bao operator init`")]
    NotInitialised,
    /// 472, 473, or 503 of a proxy before it.
    #[error("status {status}: no active server answers at this address{said}")]
    NotActive {
        /// The status.
        status: u16,
        /// What the server said.
        said: String,
    },
    /// 429.
    #[error("the server has had too many requests{said}")]
    TooMany {
        /// What it asks for with `Retry-After`.
        wait: Option<Duration>,
        /// What the server said.
        said: String,
    },
    /// 412: this server has not seen our last write yet; it will.
    #[error("this server has not seen yet what another one knows{said}")]
    Behind {
        /// What the server said.
        said: String,
    },
    /// 403, and nobody asked whether it is the token's fault.
    #[error("permission denied{said}")]
    Denied {
        /// What the server said.
        said: String,
    },
    /// 400 or 403 to a login.
    #[error("status {status}: the server refuses the login{said}; {advice}")]
    LoginRefused {
        /// The status.
        status: u16,
        /// What the server said.
        said: String,
        /// What to do, which depends on the way to log in.
        advice: &'static str,
    },
    /// 403 because the token does not live any more.
    #[error("the server does not know our token: it is wrong, was revoked, or its time is over")]
    TokenGone,
    /// 403 although the token lives.
    #[error("the token is valid, but none of its policies ({policies}) allows this{said}")]
    NotAllowed {
        /// The policies of the token.
        policies: String,
        /// What the server said.
        said: String,
    },
    /// 404.
    #[error("there is nothing at this path{said}; look at its spelling and at the mount's")]
    NotFound {
        /// What the server said.
        said: String,
    },
    /// A version of a KV 2 secret was deleted, and can be had back.
    #[error("version {version} was deleted at {at}; `bao kv undelete` brings it back")]
    Deleted {
        /// The version.
        version: u64,
        /// When, as the server writes it.
        at: String,
    },
    /// A version of a KV 2 secret was destroyed for good.
    #[error("version {version} was destroyed; a new one has to be written")]
    Destroyed {
        /// The version.
        version: u64,
    },
    /// The lease has ended or was revoked.
    #[error("the lease has ended or was revoked")]
    LeaseGone,
    /// 400 and other refusals.
    #[error("status {status}: the server refuses the request{said}")]
    Refused {
        /// The status.
        status: u16,
        /// What the server said.
        said: String,
    },
    /// 5xx.
    #[error("status {status}: the server failed{said}")]
    Failed {
        /// The status.
        status: u16,
        /// What the server said.
        said: String,
    },
    /// A status of success, with something else than the API's answers.
    #[error("the answer is not one of this API: {0}")]
    Odd(String),
    /// The request cannot be written.
    #[error("{0}")]
    Request(String),
    /// What we are known by cannot be had.
    #[error("{0}")]
    Credential(String),
}

impl Error {
    pub(crate) fn new(doing: impl Into<String>, trouble: Trouble) -> Self {
        Self { doing: doing.into(), trouble }
    }
}

/// What to do about an answer that is too large, where it is for the configuration to say.
pub(crate) fn way_out(error: &pillion_client::Error) -> &'static str {
    match error {
        pillion_client::Error::TooLarge { .. } => "; raise secrets.server.answer_bytes",
        pillion_client::Error::Connect { .. }
        | pillion_client::Error::Timeout { .. }
        | pillion_client::Error::Broken { .. }
        | pillion_client::Error::Request { .. } => "",
    }
}

impl Trouble {
    /// Whether any other request to this server would fare the same.
    #[must_use]
    pub fn is_of_the_server(&self) -> bool {
        match self {
            Self::NoAnswer(error) => matches!(error, pillion_client::Error::Connect { .. }),
            Self::Sealed { .. }
            | Self::NotInitialised
            | Self::NotActive { .. }
            | Self::TooMany { .. } => true,
            Self::Behind { .. }
            | Self::Denied { .. }
            | Self::LoginRefused { .. }
            | Self::TokenGone
            | Self::NotAllowed { .. }
            | Self::NotFound { .. }
            | Self::Deleted { .. }
            | Self::Destroyed { .. }
            | Self::LeaseGone
            | Self::Refused { .. }
            | Self::Failed { .. }
            | Self::Odd(_)
            | Self::Request(_)
            | Self::Credential(_) => false,
        }
    }

    /// The word in metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NoAnswer(_) => "no_answer",
            Self::Sealed { .. } => "sealed",
            Self::NotInitialised => "not_initialised",
            Self::NotActive { .. } => "not_active",
            Self::TooMany { .. } => "too_many_requests",
            Self::Behind { .. } => "behind",
            Self::Denied { .. } | Self::NotAllowed { .. } => "denied",
            Self::LoginRefused { .. } => "login_refused",
            Self::TokenGone => "token_gone",
            Self::NotFound { .. } => "not_found",
            Self::Deleted { .. } | Self::Destroyed { .. } => "deleted",
            Self::LeaseGone => "lease_gone",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "server_failed",
            Self::Odd(_) => "odd_answer",
            Self::Request(_) => "bad_request",
            Self::Credential(_) => "credential",
        }
    }

    /// The limit of ours that the answer was too large for, as its key below `secrets`.
    pub(crate) fn limit(&self) -> Option<&'static str> {
        match self {
            Self::NoAnswer(pillion_client::Error::TooLarge { .. }) => Some("server.answer_bytes"),
            _ => None,
        }
    }

    /// How long the server asks us to wait.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::TooMany { wait, .. } => *wait,
            _ => None,
        }
    }
}

/// What an answer of failure means. `secrets` are what it must not repeat.
pub(crate) fn trouble(answer: &Answer, secrets: &[&str]) -> Trouble {
    let words = answer.words();
    let said = said(&words, secrets);
    let mentions = |text: &str| words.iter().any(|word| word.contains(text));
    match answer.status {
        _ if mentions("lease not found") || mentions("invalid lease") => Trouble::LeaseGone,
        StatusCode::FORBIDDEN => Trouble::Denied { said },
        StatusCode::NOT_FOUND if !answer.is_of_the_api() => {
            Trouble::Odd("status 404; is its URL that of an OpenBao or Vault server?".to_owned())
        }
        StatusCode::NOT_FOUND => Trouble::NotFound { said },
        StatusCode::BAD_REQUEST if answer.wants_tls() => {
            Trouble::Odd("it speaks HTTPS alone; begin its URL with https://".to_owned())
        }
        StatusCode::PRECONDITION_FAILED => Trouble::Behind { said },
        StatusCode::TOO_MANY_REQUESTS => Trouble::TooMany { wait: wait(answer), said },
        StatusCode::NOT_IMPLEMENTED => Trouble::NotInitialised,
        StatusCode::SERVICE_UNAVAILABLE if mentions("sealed") => Trouble::Sealed { said },
        StatusCode::SERVICE_UNAVAILABLE => Trouble::NotActive { status: 503, said },
        status if matches!(status.as_u16(), 472 | 473) => {
            Trouble::NotActive { status: status.as_u16(), said }
        }
        status if status.is_server_error() => Trouble::Failed { status: status.as_u16(), said },
        status => Trouble::Refused { status: status.as_u16(), said },
    }
}

/// `Retry-After` in seconds; its other form, a date, is not in use here.
fn wait(answer: &Answer) -> Option<Duration> {
    let seconds = answer.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

/// The server's words as the end of a sentence, on one line, without what nobody may see.
fn said(words: &[String], secrets: &[&str]) -> String {
    let mut text = words.join("; ");
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "[secret]");
    }
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(LONGEST_MESSAGE) {
        _ if text.is_empty() => String::new(),
        Some((end, _)) => format!(" – {}…", text.get(..end).unwrap_or_default()),
        None => format!(" – {text}"),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer::new(status, HeaderMap::new(), Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn every_status_says_what_it_means_and_what_the_server_said() {
        for (status, body, text) in [
            (
                400,
                r#"{"errors":["no such role"]}"#,
                "status 400: the server refuses the request – no such role",
            ),
            (400, r#"{"errors":["lease not found"]}"#, "the lease has ended or was revoked"),
            (
                403,
                r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#,
                "permission denied – 1 error occurred: * permission denied",
            ),
            (
                404,
                r#"{"errors":[]}"#,
                "there is nothing at this path; look at its spelling and at the mount's",
            ),
            (
                404,
                r#"{"data":null,"warnings":["Invalid path"]}"#,
                "there is nothing at this path – Invalid path; look at its spelling and at the mount's",
            ),
            (
                412,
                r#"{"errors":["index"]}"#,
                "this server has not seen yet what another one knows – index",
            ),
            (
                404,
                "<html>Not Found</html>",
                "the answer is not one of this API: status 404; is its URL that of an \
                 OpenBao or Vault server?",
            ),
            (
                400,
                "Client sent an HTTP request to an HTTPS server.\n",
                "the answer is not one of this API: it speaks HTTPS alone; begin its URL with https://",
            ),
            (429, "slow down", "the server has had too many requests"),
            (472, "", "status 472: no active server answers at this address"),
            (473, "", "status 473: no active server answers at this address"),
            (500, r#"{"errors":["a","b"]}"#, "status 500: the server failed – a; b"),
            (501, "{}", "the server was never initialised: `bao operator init`"),
            (502, "<html>", "status 502: the server failed"),
            (
                503,
                r#"{"errors":["Vault is sealed"]}"#,
                "the server is sealed; it has to be unsealed by its operators – Vault is sealed",
            ),
            (503, "", "status 503: no active server answers at this address"),
        ] {
            assert_eq!(trouble(&answer(status, body), &[]).to_string(), text, "{status} {body}");
        }
    }

    #[test]
    fn secrets_that_the_server_repeats_are_taken_out_and_long_words_are_cut() {
        let body = r#"{"errors":["token s.abc and id hunter2 are bad"]}"#;
        let text = trouble(&answer(400, body), &["s.abc", "hunter2", ""]).to_string();
        assert!(text.ends_with("– token [secret] and id [secret] are bad"), "{text}");
        let body = format!(r#"{{"errors":["{}"]}}"#, "é".repeat(LONGEST_MESSAGE + 1));
        let text = trouble(&answer(400, &body), &[]).to_string();
        assert_eq!(text.chars().filter(|char| *char == 'é').count(), LONGEST_MESSAGE);
    }

    #[test]
    fn a_server_may_ask_for_a_wait_but_not_for_any() {
        for (value, wait) in [
            ("7", Some(7)),
            ("100000", Some(300)),
            ("-1", None),
            ("Fri, 31 Dec 1999 23:59:59 GMT", None),
        ] {
            let mut busy = answer(429, "");
            busy.headers.insert(RETRY_AFTER, value.parse().unwrap());
            assert_eq!(trouble(&busy, &[]).wait(), wait.map(Duration::from_secs), "{value}");
        }
    }
}
