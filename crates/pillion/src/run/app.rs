//! The app as the life of the process sees it: how far it is, where it listens, how it ends.

use std::future::pending;
use std::time::Duration;

use nix::sys::signal::Signal;
use pillion_model::settings::AppSettings;
use pillion_runtime::board::Secret;
use pillion_runtime::say;
use pillion_runtime::supervise::{App, Exit, StartError};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::events::{Background, Event, next_of};
use super::look::{Place, look};
use super::restarts::Restarts;
use super::sidecar::chance;

/// An app that did not end on its own signal has this long after SIGTERM.
const LAST_GRACE: Duration = Duration::from_secs(1);
/// An end by force waits this long for the kernel to take the processes away.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);
/// What the app ends with when it is killed and nobody sees how: as by SIGKILL.
const KILLED: Exit = Exit::Signal(Signal::SIGKILL as i32);

/// What is known about the app, for the admin interface.
#[derive(Clone, Debug, Default)]
pub(crate) struct AppView {
    /// Whether there is one: started by us, or named by `app.port`.
    pub(crate) expected: bool,
    /// Its process, while it runs beside us.
    pub(crate) pid: Option<u32>,
    /// Where it listens.
    pub(crate) place: Option<Place>,
    /// Path that answers 2xx when it is ready.
    pub(crate) ready_path: Option<String>,
}

/// The app beside us.
pub(super) struct Beside {
    app: App,
    settings: AppSettings,
    /// Our own ports, which are never the app's.
    ours: Vec<u16>,
    state: State,
    /// While it runs.
    look: Option<Background>,
    restarts: Restarts,
}

/// How far the app is.
#[derive(Clone, Copy, Debug)]
enum State {
    Running {
        since: Instant,
    },
    /// Its first process has ended; what it left behind may go on.
    Ended,
    /// It had a signal of its own, and until then to follow it.
    Leaving {
        until: Instant,
    },
    /// All of it is being ended, by force from then on.
    Stopping {
        until: Instant,
    },
    /// Nothing of it is left.
    Gone,
    /// Nothing of it is left, and it is started again then.
    Resting {
        until: Instant,
    },
}

impl Beside {
    /// An app that is not started yet.
    pub(super) fn new(app: App, settings: &AppSettings, ours: Vec<u16>) -> Self {
        let restarts = Restarts::new(settings.restart);
        let settings = settings.clone();
        Self { app, settings, ours, state: State::Gone, look: None, restarts }
    }

    /// Starts it, and begins to look for its port. Returns its process id.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) async fn start(
        &mut self,
        environment: Vec<(String, Secret)>,
    ) -> Result<u32, StartError> {
        if let Err(error) = self.app.set_environment(environment) {
            say!(Error, "the app's environment stays as it was", error = error);
        }
        let pid = self.app.start().await?;
        self.state = State::Running { since: Instant::now() };
        self.look = Some(look(&self.settings, self.app.keeper_pid(), &self.ours));
        Ok(pid)
    }

    /// The wait before it is started again, if it is, now that it has ended.
    pub(super) fn restart_after(&mut self, exit: Exit, ran: Duration) -> Option<Duration> {
        self.restarts.after(exit, ran, chance())
    }

    /// Ends all of it: SIGTERM, and SIGKILL at the end of its stop timeout.
    pub(super) fn stop(&mut self) {
        self.state = State::Stopping { until: Instant::now() + self.settings.stop_timeout };
    }

    /// Whether its first process runs.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// Lets it end by itself, for its stop timeout: it had a signal of its own.
    pub(super) fn let_go(&mut self) {
        let until = Instant::now() + self.settings.stop_timeout;
        self.state = match self.state {
            State::Running { .. } => State::Leaving { until },
            _ => State::Stopping { until },
        };
    }

    /// Starts it again after this time.
    pub(super) fn rest(&mut self, wait: Duration) {
        self.state = State::Resting { until: Instant::now() + wait };
    }

    /// Starts it again at once, if it rests.
    pub(super) fn rest_no_longer(&mut self) {
        if let State::Resting { until } = &mut self.state {
            *until = Instant::now();
        }
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) {
        if let Err(error) = self.app.signal(signal) {
            say!(Warn, "the app does not get {signal}", error = error);
        }
    }

    /// Kills all of it, now. Returns how the app ended.
    pub(super) async fn kill(&mut self) -> Exit {
        let killed = self.app.stop(Duration::ZERO);
        timeout_at(Instant::now() + KILL_TIMEOUT, killed).await.unwrap_or(KILLED)
    }

    /// What happens to it next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Event {
        let Self { app, state, look, .. } = self;
        tokio::select! {
            event = state.next(app) => {
                *look = None;
                event
            }
            event = next_of(look) => event,
        }
    }
}

impl State {
    async fn next(&mut self, app: &mut App) -> Event {
        loop {
            match *self {
                Self::Running { since } => {
                    let exit = app.exited().await;
                    *self = Self::Ended;
                    return Event::AppEnded { exit, ran: since.elapsed() };
                }
                Self::Ended | Self::Gone => return pending().await,
                Self::Leaving { until } => {
                    let ended = timeout_at(until, app.exited()).await;
                    let grace = if ended.is_ok() { Duration::ZERO } else { LAST_GRACE };
                    *self = Self::Stopping { until: until.max(Instant::now() + grace) };
                }
                Self::Stopping { until } => {
                    let exit = app.stop(until.saturating_duration_since(Instant::now())).await;
                    *self = Self::Gone;
                    return Event::AppGone(exit);
                }
                Self::Resting { until } => {
                    sleep_until(until).await;
                    *self = Self::Gone;
                    return Event::RestartDue;
                }
            }
        }
    }
}
