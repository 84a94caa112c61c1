//! The role as the rest of the program sees it.

use std::sync::Arc;

use pillion_model::logs::Logs;
use pillion_runtime::board::Board;
use pillion_runtime::metrics::Registry;
use pillion_runtime::role::{Followed, Stop};
use pillion_runtime::supervise::AppOutputs;

/// What the role works with.
#[derive(Clone, Debug)]
pub struct Context {
    /// What it does; swapped on a reload.
    pub settings: Followed<Logs>,
    /// What other roles tell.
    pub board: Board,
    /// Where its metrics go.
    pub registry: Registry,
    /// What the app writes, where it is captured.
    pub outputs: Arc<AppOutputs>,
}

/// Why the role cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// Runs the role until it is told to end; what is under way then is delivered, or kept on disk.
///
/// # Errors
/// Its state folder cannot be used.
pub async fn run(_context: Context, mut stop: Stop) -> Result<(), Error> {
    stop.asked().await;
    Ok(())
}
