//! The life of the process from the first request to its end: everything that can happen, and what
//! is done about it.
//!
//! The end has one order: not ready any more → inbound takes nothing new and finishes what is in
//! flight → the app is stopped → outbound finishes, which the app may have needed until then → the
//! access log is flushed.

mod app;
mod end;

use std::io;
use std::time::{Duration, Instant as Deadline};

use nix::sys::signal::Signal;
use pillion_model::config::Loaded;
use pillion_model::settings::AppSettings;
use pillion_model::snapshot::Direction;
use pillion_runtime::board::{AppControl, AppOrder, Refusal, Started};
use pillion_runtime::metrics::Counter;
use pillion_runtime::notify::Notifier;
use pillion_runtime::say;
use pillion_runtime::signals::{Intent, Received, Signals};
use pillion_runtime::supervise::{App, AppOutputs};
use pillion_runtime::watch::FileWatch;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::app::AppView;
use super::drain::Draining;
use super::events::{Event, Order, Sources, watch_file};
use super::look::Place;
use super::reload::{Reloaded, Reloads};
use super::roles::Roles;
use super::sidecar::on_loopback;
use super::{Addresses, Sidecar, Source, banner};
use crate::admin;
use crate::metrics::APP_RESTARTS;

/// Orders of the admin interface that may wait.
const ORDERS: usize = 16;
/// A second SIGTERM this soon is the first one again: some supervisors send it to the process and
/// then to its whole group.
const ECHO: Duration = Duration::from_millis(100);

/// What the service manager shows.
const SERVING: &str = "serving";

/// Sidecar and app, and how far they are.
pub(super) struct Life {
    sidecar: Sidecar,
    roles: Roles,
    reloads: Reloads,
    sources: Sources,
    stage: Stage,
    /// Once the process is to end: when outbound has to have finished.
    ending: Option<Instant>,
    /// When the first signal asked for the end.
    signalled_at: Option<Instant>,
    /// Whether the app got a signal of its own that asks it to end.
    app_told: bool,
    /// While an app that failed is cleared away: the wait before its next start.
    restart_wait: Option<Duration>,
    /// Who asked for a restart of the app, and is told when it has been started.
    restart_asked: Vec<oneshot::Sender<Result<Started, Refusal>>>,
    /// Who has restarted the app that is not ready yet, and wants to know how it ends.
    trials: Vec<oneshot::Sender<String>>,
    /// The app, while its secrets are waited for.
    app_waits: Option<App>,
    app_view: watch::Sender<AppView>,
    restarts: Counter,
    notifier: Option<Notifier>,
    announced: bool,
    admin: Option<JoinHandle<()>>,
    /// What the process ends with.
    code: u8,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    DrainingInbound,
    /// Inbound is done. After `POST /drain` this lasts until the end is asked for.
    Drained,
    StoppingApp,
    DrainingOutbound,
    Over,
}

impl Life {
    /// Serves admin and watches the configuration file. There is no app yet.
    pub(super) fn new(
        mut sidecar: Sidecar,
        signals: Signals,
        loaded: Loaded,
        source: Source,
        (outputs, service): (AppOutputs, Option<String>),
    ) -> Self {
        let reloads = Reloads::new(loaded, source, &sidecar.registry);
        let app_view = watch::Sender::new(given_app(&reloads.settings().app));
        let (orders, received) = mpsc::channel(ORDERS);
        let (control, role_orders) = AppControl::new();
        let supervised = reloads.supervises();
        let mut roles = Roles::new(outputs, service, control, supervised, &sidecar.registry);
        roles.apply(&reloads.loaded().roles, &sidecar, Deadline::now());
        let admin = sidecar.admin.take().map(|bound| {
            let view = admin::View {
                sidecar: admin::Shared::of(&sidecar),
                config: reloads.view(),
                app: app_view.subscribe(),
                secrets: roles.secrets_status(),
                orders,
            };
            tokio::spawn(admin::serve(bound, view))
        });
        let notifier = notifier();
        let sources = Sources {
            signals,
            orders: received,
            role_orders,
            file: reloads.file().map(|file| watch_file(FileWatch::new(file))),
            app: None,
            app_may_start: None,
            draining: Draining::default(),
            keep_alive: notifier.as_ref().and_then(Notifier::keep_alive).map(every),
        };
        Self {
            restarts: sidecar.registry.counter(&APP_RESTARTS, &[]),
            sidecar,
            roles,
            reloads,
            sources,
            stage: Stage::Serving,
            ending: None,
            signalled_at: None,
            app_told: false,
            restart_wait: None,
            restart_asked: Vec::new(),
            trials: Vec::new(),
            app_waits: None,
            app_view,
            notifier,
            announced: false,
            admin,
            code: 0,
        }
    }

    /// Where the sidecar listens.
    pub(super) fn addresses(&self) -> &Addresses {
        &self.sidecar.addresses
    }

    /// Lives to the end. Returns the code that the process ends with.
    pub(super) async fn run(mut self) -> u8 {
        if self.reloads.catch_up(&self.sidecar) {
            self.apply_roles();
        }
        if self.sources.app.is_none() || !self.waits_for_app() {
            self.announce();
        }
        while self.stage != Stage::Over {
            match self.sources.next().await {
                Event::Signal(received) => self.signalled(received).await,
                Event::Role(AppOrder::Signal(signal, answer)) => {
                    drop(answer.send(self.role_signals(signal)));
                }
                Event::Role(AppOrder::Restart(answer)) => self.role_restarts(answer),
                Event::AppMayStart => self.start_waiting_app().await,
                Event::Order(Order::Reload(answer)) => drop(answer.send(self.reload())),
                Event::Order(Order::Drain(reason)) => self.drain(reason),
                Event::Order(Order::End(reason)) => self.end(reason),
                Event::FileChanged => drop(self.reload()),
                Event::AppEnded { exit, ran } => self.app_ended(exit, ran),
                Event::AppGone(exit) => self.app_gone(exit),
                Event::RestartDue => self.restart_app().await,
                Event::AppListens(place) => self.app_listens(place),
                Event::AppReady => self.app_ready(),
                Event::AppLate => self.app_late(),
                Event::Drained(Direction::Inbound) => self.inbound_drained(),
                Event::Drained(Direction::Outbound) => self.stage = Stage::Over,
                Event::KeepAlive => self.notify(Notifier::alive),
            }
        }
        self.finish().await
    }

    async fn signalled(&mut self, received: Received) {
        match received.intent() {
            Intent::Drain { forward } => match self.signalled_at {
                Some(at) if received.signal == Signal::SIGTERM && at.elapsed() < ECHO => {}
                Some(_) => self.force(received).await,
                None => {
                    self.signalled_at = Some(Instant::now());
                    self.app_told = received.from_terminal || forward.is_some();
                    forward.into_iter().for_each(|signal| self.signal_app(signal));
                    self.end(received.signal.as_str());
                }
            },
            Intent::Reload => {
                self.sidecar.access_log.reopen();
                self.reload();
            }
            Intent::Forward(signal) => self.signal_app(signal),
            Intent::Nothing => {}
        }
    }

    fn reload(&mut self) -> Reloaded {
        self.notify(Notifier::reloading);
        let reloaded = self.reloads.reload(&self.sidecar);
        if matches!(reloaded, Reloaded::Applied { .. }) {
            self.apply_roles();
        }
        if self.announced {
            self.notify(|notifier| notifier.ready(SERVING));
        }
        reloaded
    }

    /// Roles that are no longer named have as long as a drain.
    fn apply_roles(&mut self) {
        let deadline = Deadline::now() + self.reloads.settings().drain_timeout;
        self.roles.apply(&self.reloads.loaded().roles, &self.sidecar, deadline);
    }

    /// Says once, to people and to the service manager, that everything is there.
    fn announce(&mut self) {
        if !std::mem::replace(&mut self.announced, true) {
            let loaded = self.reloads.loaded();
            let app = self.app_view.borrow().clone();
            banner::show(&self.sidecar.addresses, &app, &loaded);
            self.notify(|notifier| notifier.ready(SERVING));
        }
    }

    fn notify(&self, tell: impl FnOnce(&Notifier) -> io::Result<()>) {
        if let Some(notifier) = &self.notifier
            && let Err(error) = tell(notifier)
        {
            say!(Warn, "the service manager does not hear us", error = error);
        }
    }
}

/// The connection to the service manager, where there is one that can be reached.
fn notifier() -> Option<Notifier> {
    Notifier::from_environment().unwrap_or_else(|error| {
        say!(Warn, "the service manager cannot be reached", error = error);
        None
    })
}

/// The app that somebody else starts, if its port was given.
fn given_app(settings: &AppSettings) -> AppView {
    let given = settings.port.map(on_loopback);
    AppView {
        expected: given.is_some(),
        pid: None,
        place: given.map(|address| Place { address, text: format!("{address} (app.port)") }),
        ready_path: settings.ready_path.clone(),
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
