//! Waiting for a moment of the day: leases and certificates end by the wall clock.

use std::future;
use std::time::SystemTime;

/// Waits until a moment; `None` never comes.
pub(crate) async fn until(due: Option<SystemTime>) {
    match due {
        Some(due) => {
            let wait = due.duration_since(SystemTime::now()).unwrap_or_default();
            tokio::time::sleep(wait).await;
        }
        None => future::pending().await,
    }
}
