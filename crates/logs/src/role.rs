//! The role as the rest of the program sees it: started with a context, told of changes, ended in
//! order.

use std::sync::Arc;
use std::time::Duration;

use pillion_model::logs::Logs;
use pillion_runtime::board::Board;
use pillion_runtime::role::{Followed, Stop};
use pillion_runtime::say;
use pillion_runtime::supervise::AppOutputs;

use crate::enrich::Defaults;
use crate::flow::{Generation, Left, OutletError, Patience};
use crate::status::StatusBoard;
use crate::tail::{Positions, PositionsError};

/// What the role works with.
#[derive(Clone, Debug)]
pub struct Context {
    /// What it does; swapped on a reload.
    pub settings: Followed<Logs>,
    /// What other roles tell.
    pub board: Board,
    /// What a record says of its origin where nothing is configured.
    pub defaults: Defaults,
    /// Where it says how it stands.
    pub status: StatusBoard,
    /// What the app writes, where it is captured.
    pub outputs: Arc<AppOutputs>,
    /// Whether it reads what is there, delivers that, and ends.
    pub once: Option<Once>,
}

/// How long that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    /// It ends too where for so long nothing more could be read, and no sink took anything; `None`:
    /// never.
    pub give_up: Option<Duration>,
}

/// Why the role cannot go on, or did not do all that it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] PositionsError),
    /// A glob cannot be used.
    #[error(transparent)]
    Glob(#[from] crate::tail::GlobError),
    /// A sink cannot be used.
    #[error("sink {name}: {error}")]
    Sink {
        /// Its name.
        name: String,
        /// Why.
        error: OutletError,
    },
    /// An expression is too large.
    #[error("a regular expression of the logs configuration cannot be used: {0}")]
    Expression(#[from] regex::Error),
    /// Our own outputs cannot be had.
    #[error("cannot show what the app writes: {0}")]
    Outputs(std::io::Error),
    /// The app's outputs cannot be read.
    #[error(transparent)]
    App(#[from] crate::source::AppError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] crate::source::BindError),
    /// Something was not delivered.
    #[error("{0}")]
    Left(Left),
}

/// Runs the role until it is told to end, or, once, until all is done. What is under way at the end
/// is delivered, or kept on disk.
///
/// # Errors
/// What it is configured with cannot be used; once: something was not delivered.
pub async fn run(mut context: Context, mut stop: Stop) -> Result<(), Error> {
    loop {
        let settings = context.settings.borrow_and_update().clone();
        let positions = settings.state.as_deref().map(Positions::open).transpose()?;
        let generation = Generation::start(&settings, &context, positions.as_ref())?;
        let patience = tokio::select! {
            () = generation.ended() => Patience::WhileSomethingMoves,
            _ = stop.asked() => Patience::UntilTold,
            changed = context.settings.changed() => match changed {
                Ok(()) => Patience::For(RELOAD),
                // Whoever could change the settings is gone, and will tell us to stop.
                Err(_) => {
                    stop.asked().await;
                    Patience::UntilTold
                }
            }
        };
        let is_over = !matches!(patience, Patience::For(_));
        let left = generation.end(patience, &mut stop).await;
        if context.once.is_some() && is_over {
            return left.map_or(Ok(()), |left| Err(Error::Left(left)));
        }
        if let Some(left) = left {
            say!(Warn, "the logs that are left come with the next start", left = left);
        }
        if is_over {
            return Ok(());
        }
        say!(Info, "the logs role goes on with its new configuration");
    }
}

/// How long a reload waits for what is on its way; the rest goes to the disk buffer, or is read
/// again.
const RELOAD: Duration = Duration::from_secs(5);
