//! What roles tell each other without knowing each other: one writes, any number read, and a reader
//! works as well when nobody writes.

mod app;
mod delivered;
mod exchanges;
mod secret;

pub use app::{AppControl, AppOrder, AppOrders, Refusal};
pub use delivered::Delivered;
pub use exchanges::{ExchangeIds, Exchanges, InFlight, Window};
pub use secret::Secret;

/// The board of one process. Clones are the same board.
#[derive(Clone, Debug, Default)]
pub struct Board {
    /// Every secret that was handed to the app: what must not appear in a log.
    pub delivered: Delivered,
    /// The requests that the app is serving.
    pub exchanges: Exchanges,
}
