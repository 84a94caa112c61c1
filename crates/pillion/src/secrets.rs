//! `pillion secrets`: the role by itself, and a look at the one of a sidecar.

mod status;
mod sync;

use crate::cli::SecretsCommand;
use crate::failure::Failure;

/// `pillion secrets sync …` and `pillion secrets status …`.
///
/// # Errors
/// Something could not be delivered, or nobody answers.
pub(crate) fn command(command: SecretsCommand) -> Result<u8, Failure> {
    match command {
        SecretsCommand::Sync(arguments) => sync::command(arguments),
        SecretsCommand::Status(arguments) => status::command(&arguments),
    }
}
