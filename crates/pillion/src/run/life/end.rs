//! The end, step by step, and the end by force.

use std::time::{Duration, Instant as Deadline};

use pillion_model::snapshot::Direction;
use pillion_runtime::say;
use pillion_runtime::signals::Received;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Life, Stage};

/// What a shell adds to the number of a signal.
const SIGNAL_CODE: i32 = 128;
/// Roles have at least this long to deliver what they have.
const ROLES_TIMEOUT: Duration = Duration::from_secs(2);
/// How long roles may take after that to keep what they could not deliver.
const ROLES_KEEP: Duration = Duration::from_secs(5);
/// Answers of the admin interface that are under way may take this long.
const ADMIN_TIMEOUT: Duration = Duration::from_millis(1500);

impl Life {
    /// Begins the end: a drain, then all that follows it.
    pub(super) fn end(&mut self, reason: &str) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(Instant::now() + self.drain_timeout());
        self.notify(|notifier| notifier.stopping(reason));
        self.drain(reason);
        if self.stage == Stage::Drained {
            self.stop_app();
        }
    }

    /// Begins the drain: not ready any more, and nothing new comes in.
    pub(super) fn drain(&mut self, reason: &str) {
        if self.stage != Stage::Serving {
            return;
        }
        self.sidecar.lifecycle.begin_drain(reason);
        // The end of the app has been spoken of.
        if self.sources.app.is_none() || self.app_view.borrow().pid.is_some() {
            say!(Info, "draining", reason = reason);
        }
        self.stage = Stage::DrainingInbound;
        let timeout = self.drain_timeout();
        self.sources.draining.begin(&self.sidecar.proxy, Direction::Inbound, timeout);
    }

    pub(super) fn inbound_drained(&mut self) {
        self.stage = Stage::Drained;
        if self.ending.is_some() {
            self.stop_app();
        }
    }

    fn stop_app(&mut self) {
        self.stage = Stage::StoppingApp;
        match &mut self.sources.app {
            Some(app) if self.app_told => app.let_go(),
            Some(app) => app.stop(),
            None => self.drain_outbound(),
        }
    }

    pub(super) fn drain_outbound(&mut self) {
        self.stage = Stage::DrainingOutbound;
        let left = self.ending.map(|at| at.saturating_duration_since(Instant::now()));
        let left = left.unwrap_or_default();
        self.sources.draining.begin(&self.sidecar.proxy, Direction::Outbound, left);
    }

    /// Ends everything now.
    pub(super) async fn force(&mut self, received: Received) {
        say!(Warn, "the end is forced: what is in flight is cut", signal = received.signal);
        self.code = match &mut self.sources.app {
            Some(app) => app.kill().await.code(),
            None => u8::try_from(SIGNAL_CODE + received.signal as i32).unwrap_or(u8::MAX),
        };
        self.ending = Some(Instant::now());
        self.stage = Stage::Over;
    }

    /// The last steps. Returns the code that the process ends with.
    pub(super) async fn finish(mut self) -> u8 {
        // Before the access log ends, which may be what they deliver.
        let left = self.ending.map(|at| at.saturating_duration_since(Instant::now()));
        let deadline = Deadline::now() + left.unwrap_or_default().max(ROLES_TIMEOUT);
        let over = deadline + ROLES_KEEP;
        drop(timeout_at(over.into(), self.roles.end(deadline)).await);
        self.sidecar.stop();
        self.sidecar.lifecycle.stopped();
        if let Some(admin) = self.admin {
            // Whoever still waits for an answer then is cut off.
            drop(timeout(ADMIN_TIMEOUT, admin).await);
        }
        self.code
    }

    fn drain_timeout(&self) -> Duration {
        self.reloads.settings().drain_timeout
    }
}
