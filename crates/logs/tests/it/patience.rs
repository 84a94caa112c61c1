//! Waiting without standing in the way of what is waited for.

use std::time::{Duration, Instant};

use pillion_testkit::PATIENCE;

/// Waits until something holds, while the tasks of this thread go on.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
