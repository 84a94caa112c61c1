//! From what a source reads to what waits for the sinks: lines become records, records lose what
//! must not leave, and each sink that takes a record gets it in its own form.
//!
//! Read first: [`lane::Lane::take`], which is the whole way of a block on one screen.

mod files;
pub(crate) mod lane;
pub(crate) mod outlet;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::record::UnixNanos;

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
