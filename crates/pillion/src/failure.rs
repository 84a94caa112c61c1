//! Why a command did not do what it was asked, and the code that the process ends with.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use pillion_model::config::Diagnostic;
use pillion_runtime::causes::Causes;

use crate::print;

/// A command that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What the process ends with.
    code: u8,
    /// For people, whole: what, why, what to do.
    message: String,
}

impl Failure {
    /// The command line is wrong.
    pub(crate) fn usage(message: &str) -> Self {
        Self { code: 2, message: format!("pillion: error: {message}") }
    }

    /// The process could not do what it was asked for; `doing` says what, `error` why.
    pub(crate) fn doing(doing: &str, error: &dyn Error) -> Self {
        Self { code: 1, message: format!("pillion: error: {doing}: {}", Causes(error)) }
    }

    /// An error that says by itself what was being done.
    pub(crate) fn because(error: &dyn Error) -> Self {
        Self { code: 1, message: format!("pillion: error: {}", Causes(error)) }
    }

    /// The app did not start; `code` is what a shell would report.
    pub(crate) fn app(code: u8, error: &dyn Error) -> Self {
        Self { code, message: format!("pillion: error: {error}") }
    }

    /// A configuration with these problems.
    pub(crate) fn refused(problems: &[Diagnostic]) -> Self {
        Self { code: 2, message: list(problems) }
    }

    /// The same with another code.
    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Says it on standard error.
    pub(crate) fn report(&self) -> ExitCode {
        print::error(&self.message);
        ExitCode::from(self.code)
    }
}

/// Every problem, with an empty line between two.
pub(crate) fn list(problems: &[Diagnostic]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")
}

/// The name of a file in messages.
pub(crate) fn named(path: &Path) -> String {
    path.display().to_string()
}
