//! What went wrong, and what the reader can do about it.

use std::fmt;

/// A failed step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    what: String,
    fix: Option<String>,
}

impl Failure {
    /// A failure that says `what` went wrong.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), fix: None }
    }

    /// Adds what the reader can do about it; the advice nearest to the cause stays.
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix.get_or_insert_with(|| fix.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.fix {
            Some(fix) => write!(f, "\n  to fix it: {fix}"),
            None => Ok(()),
        }
    }
}

/// Says what was being done when something failed.
pub(crate) trait Doing<T> {
    /// Turns an error into a [`Failure`] that begins with what was being done.
    fn doing(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}
