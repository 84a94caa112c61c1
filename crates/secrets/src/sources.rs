//! Configuration from elsewhere: files and `ConfigMap` volumes, HTTP, etcd. Each source gives whole
//! states of its files, one after another, and says when it last knew that it is up to date.

mod etcd;
mod files;
mod http;
mod pace;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use pillion_client::{Options, Tls};
use pillion_model::secrets::{ConfigOrigin, Limits};
use pillion_runtime::board::Secret;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::location::LocationError;
use crate::store::{DraftError, FileName};
pub use pace::Chance;
use pace::Pace;

/// All files of a source at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// What is in each; configuration may well hold a password.
    pub files: BTreeMap<FileName, Secret>,
    /// What the source calls this state, for people: a revision, an `ETag`, a time.
    pub version: String,
}

/// Why a source has no files to give. It is asked again, after a wait that grows.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It is not configured as it has to be.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// A file or folder cannot be read.
    #[error("cannot read {}: {reason}", .path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// No answer.
    #[error("{0}{more}", more = way_out(.0))]
    Client(#[from] pillion_client::Error),
    /// An answer that says no.
    #[error("{url} answered {status}")]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
    },
    /// An answer that is not what it has to be.
    #[error("{url} answered something else than expected: {what}")]
    Answer {
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        what: String,
    },
    /// A name or an amount that no set can have.
    #[error(transparent)]
    Unfit(#[from] DraftError),
}

/// What to do about an answer that is too large.
fn way_out(error: &pillion_client::Error) -> &'static str {
    match is_too_large(error) {
        true => "; raise secrets.limits.bytes, or have less",
        false => "",
    }
}

fn is_too_large(error: &pillion_client::Error) -> bool {
    matches!(error, pillion_client::Error::TooLarge { .. })
}

impl SourceError {
    /// The limit that there was too much for, as its key below `secrets`.
    pub(crate) fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Unfit(error) => error.limit(),
            Self::Client(error) => is_too_large(error).then_some("limits.bytes"),
            Self::Location(_) | Self::Read { .. } | Self::Status { .. } | Self::Answer { .. } => {
                None
            }
        }
    }
}

/// One source.
#[derive(Debug)]
pub struct Source {
    kind: Kind,
    pace: Pace,
    proof: Proof,
    last: Option<Files>,
}

#[derive(Debug)]
enum Kind {
    Files(Box<files::FilesSource>),
    Http(Box<http::HttpSource>),
    Etcd(Box<etcd::EtcdSource>),
}

/// When a source last knew that it is up to date.
#[derive(Debug)]
struct Proof(watch::Sender<Option<Instant>>);

impl Proof {
    fn give(&self) {
        self.0.send_replace(Some(Instant::now()));
    }
}

impl Source {
    /// A source; nothing is read or asked yet. To be called in a Tokio runtime. `chance` gives
    /// numbers from 0 to 1, for waits.
    ///
    /// # Errors
    /// A URL or a file of the TLS settings does not fit.
    pub fn new(origin: &ConfigOrigin, limits: Limits, chance: Chance) -> Result<Self, SourceError> {
        let options = |ca: &Option<PathBuf>, identity: Option<(PathBuf, PathBuf)>| Options {
            tls: Tls { ca: ca.clone(), identity, server_name: None },
            body_limit: limits.bytes,
            ..Options::default()
        };
        let kind = match origin {
            ConfigOrigin::Files(path) => {
                Kind::Files(Box::new(files::FilesSource::new(path.clone(), limits)))
            }
            ConfigOrigin::Http { url, ca, token, interval } => {
                let token = token.clone();
                let options = options(ca, None);
                Kind::Http(Box::new(http::HttpSource::new(url, &options, token, *interval)?))
            }
            ConfigOrigin::Etcd { url, ca, identity, prefix } => {
                let options = options(ca, identity.clone());
                Kind::Etcd(Box::new(etcd::EtcdSource::new(url, &options, prefix, limits)?))
            }
        };
        let proof = Proof(watch::Sender::new(None));
        Ok(Self { kind, pace: Pace::new(chance), proof, last: None })
    }

    /// When the source last proved that what it gave is still so; `None`: never. That it runs, or
    /// has a connection, is no proof.
    #[must_use]
    pub fn proven(&self) -> watch::Receiver<Option<Instant>> {
        self.proof.0.subscribe()
    }

    /// The files: at once for the first time, then as soon as they are others. After an error the
    /// next call waits first. May be dropped and called again; then something may be read twice.
    ///
    /// # Errors
    /// They cannot be had now; what was given before still stands.
    pub async fn next(&mut self) -> Result<Files, SourceError> {
        loop {
            let Self { kind, pace, proof, last } = self;
            let given = match kind {
                Kind::Files(source) => source.next(pace, proof).await,
                Kind::Http(source) => source.next(pace, proof).await,
                Kind::Etcd(source) => source.next(pace, proof).await,
            };
            self.pace.learn(given.is_ok());
            let given = given?;
            if last.as_ref().is_none_or(|last| last.files != given.files) {
                *last = Some(given.clone());
                return Ok(given);
            }
        }
    }
}

/// How often a source that waits for news makes sure that it is not waiting in vain.
const SILENCE: Duration = Duration::from_secs(30);
