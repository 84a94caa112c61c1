//! The role as the rest of the program sees it.

use pillion_model::secrets::Secrets;
use pillion_runtime::board::{AppControl, Board};
use pillion_runtime::lifecycle::Lifecycle;
use pillion_runtime::metrics::Registry;
use pillion_runtime::role::{Followed, Stop};

/// The condition that everything was delivered once, and is fresh enough.
pub const CONDITION: &str = "secrets";

/// What the role works with.
#[derive(Clone, Debug)]
pub struct Context {
    /// What it does; swapped on a reload.
    pub settings: Followed<Secrets>,
    /// Where it says what it delivered.
    pub board: Board,
    /// The app, to be told and restarted.
    pub app: AppControl,
    /// Where it says whether [`CONDITION`] is met.
    pub lifecycle: Lifecycle,
    /// Where its metrics go.
    pub registry: Registry,
}

/// Why the role cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// Runs the role until it is told to end.
///
/// # Errors
/// A folder that it delivers to cannot be used.
pub async fn run(_context: Context, mut stop: Stop) -> Result<(), Error> {
    stop.asked().await;
    Ok(())
}
