//! The role as the rest of the program sees it.

use std::convert::Infallible;

use pillion_model::secrets::Secrets;
use pillion_runtime::board::{AppControl, Board};
use pillion_runtime::dumps;
use pillion_runtime::lifecycle::Lifecycle;
use pillion_runtime::metrics::Registry;
use pillion_runtime::role::{Followed, Stop};
use pillion_runtime::say;

use crate::engine::Engine;
use crate::status::Status;

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
    /// Whether an app is started by this process, once everything is delivered.
    pub supervised: bool,
    /// Where it says whether [`CONDITION`] is met.
    pub lifecycle: Lifecycle,
    /// Where its metrics go.
    pub registry: Registry,
    /// Where it shows what it does.
    pub status: Status,
}

/// Runs the role until it is told to end, within a [`tokio::task::LocalSet`]. What goes wrong is the
/// trouble of one secret, source or set, so it ends for no other reason.
///
/// # Errors
/// None; a role is something that may have some.
pub async fn run(mut context: Context, mut stop: Stop) -> Result<(), Infallible> {
    if let Err(error) = dumps::forbid() {
        say!(Warn, "a crash may write secrets to disk: dumps cannot be turned off", error = error);
    }
    let mut engine = Engine::new(&context);
    let deadline = loop {
        let settings = context.settings.borrow_and_update().clone();
        engine.apply(settings);
        tokio::select! {
            deadline = stop.asked() => break deadline,
            () = engine.retry() => {}
            changed = context.settings.changed() => if changed.is_err() {
                // Nobody changes them any more.
                break stop.asked().await;
            }
        }
    };
    engine.end(deadline).await;
    Ok(())
}
