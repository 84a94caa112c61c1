//! What is checked of a new version before any name leads to it.

mod document;
mod key_pair;

use std::path::Path;
use std::time::{Duration, SystemTime};

use pillion_model::secrets::SetCheck;
use pillion_runtime::board::Secret;

use crate::commands::{self, CommandError, Order};
use crate::store::{Draft, DraftFile};
pub use document::SchemaError;
pub use key_pair::PairError;

/// What is checked.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The files.
    pub draft: &'a Draft,
    /// Where they are written.
    pub folder: &'a Path,
    /// How long a command may take.
    pub limit: Duration,
    /// What must not be shown of what a command says.
    pub secrets: &'a [Secret],
    /// The time by which certificates are judged.
    pub now: SystemTime,
}

/// Why a version is not let in. No message quotes what is in a file.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The file that is to be checked is not there.
    #[error("{0} is to be checked, but is no file of the set; correct its name in `checks`")]
    Missing(String),
    /// It is not what it has to be.
    #[error("{file} is not well-formed {form}: line {line}, column {column}: {reason}")]
    Malformed {
        /// The file.
        file: String,
        /// The form.
        form: &'static str,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser says.
        reason: String,
    },
    /// A schema does not accept it.
    #[error("{file}: {error}")]
    Schema {
        /// The file.
        file: String,
        /// What is wrong with it, or with the schema.
        error: SchemaError,
    },
    /// Certificate and key do not fit.
    #[error("{certificate} and {key}: {error}")]
    Pair {
        /// The file with the certificates.
        certificate: String,
        /// The file with the key.
        key: String,
        /// What is wrong with them.
        error: PairError,
    },
    /// A command refuses it.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// Makes one check. What is not right, but no reason to keep the version out, is returned.
///
/// # Errors
/// The version must not be used.
pub async fn check(check: &SetCheck, subject: Subject<'_>) -> Result<Vec<String>, CheckError> {
    match check {
        SetCheck::Json(name) => document::json(subject.file(name)?)?,
        SetCheck::Yaml(name) => document::yaml(subject.file(name)?)?,
        SetCheck::Schema { file, schema } => document::schema(subject.file(file)?, schema)
            .map_err(|error| CheckError::Schema { file: file.clone(), error })?,
        SetCheck::KeyPair { certificate, key } => {
            let (chain, secret) = (subject.file(certificate)?, subject.file(key)?);
            let checked =
                key_pair::check(chain.content.reveal(), secret.content.reveal(), subject.now);
            return checked
                .map(|warning| {
                    warning.map(|it| format!("{certificate}: {it}")).into_iter().collect()
                })
                .map_err(|error| CheckError::Pair {
                    certificate: certificate.clone(),
                    key: key.clone(),
                    error,
                });
        }
        SetCheck::Command(words) => {
            let Subject { folder, limit, secrets, .. } = subject;
            commands::run(Order { words, folder, limit, secrets }).await?;
        }
    }
    Ok(Vec::new())
}

impl<'a> Subject<'a> {
    fn file(&self, name: &str) -> Result<&'a DraftFile, CheckError> {
        self.draft.file(name).ok_or_else(|| CheckError::Missing(name.to_owned()))
    }
}

#[cfg(test)]
mod tests;
