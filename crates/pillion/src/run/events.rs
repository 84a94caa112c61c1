//! Everything that can happen while the process lives: one closed list, from all sources.

use std::future::pending;
use std::time::Duration;

use pillion_model::snapshot::Direction;
use pillion_runtime::board::{AppOrder, AppOrders};
use pillion_runtime::lifecycle::Lifecycle;
use pillion_runtime::say;
use pillion_runtime::signals::{Received, Signals};
use pillion_runtime::supervise::Exit;
use pillion_runtime::watch::FileWatch;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Interval;

use super::app::Beside;
use super::drain::Draining;
use super::look::Place;
use super::reload::Reloaded;

/// Something that happened.
pub(super) enum Event {
    /// A signal arrived.
    Signal(Received),
    /// The admin interface asks for something.
    Order(Order),
    /// A role asks for something of the app.
    Role(AppOrder),
    /// Everything is there that the app's start waited for.
    AppMayStart,
    /// The configuration file has other contents.
    FileChanged,
    /// The app's first process has ended, after this time.
    AppEnded { exit: Exit, ran: Duration },
    /// Nothing of the app is left, after a stop.
    AppGone(Exit),
    /// The app is to be started again.
    RestartDue,
    /// The app listens here now, or no longer.
    AppListens(Option<Place>),
    /// The app is ready for traffic.
    AppReady,
    /// The app has not been ready for as long as `app.port_timeout`.
    AppLate,
    /// Nothing is in flight any more in this direction, or the time for it is over.
    Drained(Direction),
    /// The service manager wants to hear from us.
    KeepAlive,
}

/// What the admin interface can ask for.
pub(crate) enum Order {
    /// Read the configuration again, and answer what came of it.
    Reload(oneshot::Sender<Reloaded>),
    /// Take no more connections; finish what is in flight; live on.
    Drain(&'static str),
    /// Drain, then end.
    End(&'static str),
}

/// Where events come from.
pub(super) struct Sources {
    pub(super) signals: Signals,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) role_orders: AppOrders,
    pub(super) file: Option<Background>,
    pub(super) app: Option<Beside>,
    pub(super) app_may_start: Option<Background>,
    pub(super) draining: Draining,
    pub(super) keep_alive: Option<Interval>,
}

impl Sources {
    /// The next event. Every arm is cancel-safe: what is not returned now is returned later.
    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            received = signal(&mut self.signals) => Event::Signal(received),
            Some(order) = self.orders.recv() => Event::Order(order),
            Some(order) = self.role_orders.recv() => Event::Role(order),
            event = next_of(&mut self.app_may_start) => event,
            event = next_of(&mut self.file) => event,
            event = of_app(&mut self.app) => event,
            direction = self.draining.finished() => Event::Drained(direction),
            () = due(&mut self.keep_alive) => Event::KeepAlive,
        }
    }
}

async fn signal(signals: &mut Signals) -> Received {
    match signals.next().await {
        Ok(received) => received,
        Err(error) => {
            // It never comes back. The app and its traffic do not suffer from it.
            say!(
                Error,
                "signals cannot be received any more: use the admin interface",
                error = error
            );
            pending().await
        }
    }
}

/// A task that tells of events, and ends when this is dropped. What waits for a time has to be one:
/// in [`Sources::next`] every other event would begin the wait anew.
pub(super) struct Background {
    events: mpsc::Receiver<Event>,
    task: JoinHandle<()>,
}

impl Background {
    /// Starts the task.
    pub(super) fn spawn<F>(work: impl FnOnce(mpsc::Sender<Event>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, events) = mpsc::channel(1);
        Self { events, task: tokio::spawn(work(sender)) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The next event of a task; never one where there is none. Cancel-safe.
pub(super) async fn next_of(background: &mut Option<Background>) -> Event {
    let event = match background {
        Some(background) => background.events.recv().await,
        None => None,
    };
    match event {
        Some(event) => event,
        None => pending().await,
    }
}

/// Tells once the condition is met.
pub(super) fn watch_condition(lifecycle: &Lifecycle, condition: &'static str) -> Background {
    let mut status = lifecycle.watch();
    Background::spawn(move |events| async move {
        if status.wait_for(|status| !status.missing.contains_key(condition)).await.is_ok() {
            drop(events.send(Event::AppMayStart).await);
        }
    })
}

/// Tells whenever the file has other contents.
pub(super) fn watch_file(mut file: FileWatch) -> Background {
    Background::spawn(|events| async move {
        loop {
            file.changed().await;
            if events.send(Event::FileChanged).await.is_err() {
                return;
            }
        }
    })
}

async fn of_app(app: &mut Option<Beside>) -> Event {
    match app {
        Some(app) => app.next().await,
        None => pending().await,
    }
}

async fn due(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => pending().await,
    }
}
