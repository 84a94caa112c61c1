//! Texts that the program writes about itself: schema, completions, the pages of the reference.

mod cli;
mod errors;
mod metrics;

use clap::CommandFactory as _;
use pillion_model::config;

use crate::check::output;
use crate::cli::{Cli, CompletionsArguments, Page, ReferenceArguments};
use crate::failure::Failure;

/// `pillion schema`.
///
/// # Errors
/// Standard output cannot be written to.
pub(crate) fn schema() -> Result<u8, Failure> {
    output(&format!("{:#}", config::schema()))?;
    Ok(0)
}

/// `pillion completions SHELL`.
///
/// # Errors
/// Standard output cannot be written to.
pub(crate) fn completions(arguments: &CompletionsArguments) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "pillion", &mut script);
    output(&String::from_utf8_lossy(&script))?;
    Ok(0)
}

/// `pillion reference PAGE`.
///
/// # Errors
/// Standard output cannot be written to.
pub(crate) fn command(arguments: &ReferenceArguments) -> Result<u8, Failure> {
    let page = match arguments.page {
        Page::Config => config::reference(),
        Page::Metrics => metrics::page(),
        Page::Errors => errors::page(),
        Page::Cli => cli::page(),
    };
    output(&page)?;
    Ok(0)
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
