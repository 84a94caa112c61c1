//! From what a source reads to what waits for the sinks: lines become records, records lose what
//! must not leave, and each sink that takes a record gets it in its own form.
//!
//! Read first: [`lane::Lane::take`], which is the whole way of a block on one screen.

mod feeds;
mod files;
mod generation;
mod lane;
mod outlet;
mod show;
mod stall;

pub use generation::Left;
pub(crate) use generation::{Generation, Patience};
pub use outlet::OutletError;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::record::UnixNanos;

/// Waits until then; for ever where there is no such time.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    pub(crate) unix: UnixNanos,
}

impl Moment {
    /// This one.
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { now: Instant::now(), unix: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX) }
    }
}
