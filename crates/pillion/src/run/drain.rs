//! One drain under way, as something to wait for.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pillion_model::snapshot::Direction;
use pillion_proxy::{Drained, Proxy};
use pillion_runtime::say;

/// At most one drain.
#[derive(Default)]
pub(super) struct Draining(Option<Drain>);

struct Drain {
    direction: Direction,
    drained: Pin<Box<dyn Future<Output = Drained>>>,
}

impl Draining {
    /// Begins to drain one direction.
    pub(super) fn begin(&mut self, proxy: &Arc<Proxy>, direction: Direction, timeout: Duration) {
        let proxy = Arc::clone(proxy);
        let drained = Box::pin(async move { proxy.drain(direction, timeout).await });
        self.0 = Some(Drain { direction, drained });
    }

    /// Waits for its end; for ever where none is under way. Cancel-safe.
    pub(super) async fn finished(&mut self) -> Direction {
        let Some(Drain { direction, drained }) = &mut self.0 else { return pending().await };
        let (direction, Drained { cut }) = (*direction, drained.await);
        self.0 = None;
        if cut > 0 {
            let direction = direction.label();
            say!(
                Warn,
                "connections are cut at the end of drain.timeout",
                direction = direction,
                connections = cut
            );
        }
        direction
    }
}
