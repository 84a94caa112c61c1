//! Waiting for something to become true.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long a test waits for what ought to happen at once. Long, because tests share a small
/// machine; it is only ever spent by a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

const STEP: Duration = Duration::from_millis(5);

/// Waits until `holds` is true.
///
/// # Panics
/// When that takes longer than [`PATIENCE`]; `what` says what was waited for.
pub fn eventually(what: impl Debug, mut holds: impl FnMut() -> bool) {
    eventually_some(what, || holds().then_some(()));
}

/// Waits until `find` finds something, and returns it.
///
/// # Panics
/// When that takes longer than [`PATIENCE`]; `what` says what was waited for.
pub fn eventually_some<T>(what: impl Debug, find: impl FnMut() -> Option<T>) -> T {
    some_within(PATIENCE, what, find)
}

/// [`eventually_some`] for what may take longer on a machine at rest already.
pub(crate) fn some_within<T>(
    limit: Duration,
    what: impl Debug,
    mut find: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain for: {what:?}");
        std::thread::sleep(STEP);
    }
}
