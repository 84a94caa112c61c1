//! What roles tell each other without knowing each other: one writes, any number read, and a reader
//! works as well when nobody writes.

mod app;
mod delivered;
mod environment;
mod exchanges;
mod secret;

pub use app::{AppControl, AppOrder, AppOrders, Refusal, Started};
pub use delivered::Delivered;
pub use environment::AppEnvironment;
pub use exchanges::{ExchangeIds, Exchanges, Window, WorkerExchanges};
pub use secret::Secret;

/// The board of one process. Clones are the same board.
#[derive(Clone, Debug, Default)]
pub struct Board {
    /// Every secret that was handed to the app: what must not appear in a log.
    pub delivered: Delivered,
    /// The requests that the app is serving.
    pub exchanges: Exchanges,
    /// What the app's environment gets beside ours.
    pub environment: AppEnvironment,
}
