//! What happens to the app, and what follows from it.

use std::time::Duration;

use nix::sys::signal::Signal;
use pillion_runtime::board::{Refusal, Started};
use pillion_runtime::say;
use pillion_runtime::supervise::{App, Exit, StartError};
use tokio::sync::oneshot;

use super::super::app::Beside;
use super::super::banner::where_the_app_is;
use super::super::events::watch_condition;
use super::super::look::Place;
use super::super::sidecar::APP;
use super::{Life, Stage};
use crate::failure::Failure;

/// An app that failed after a role restarted it is started again after this time, whatever
/// `app.restart` says, unless the role asks for that before: files and variables are the old ones then.
const TRIAL_WAIT: Duration = Duration::from_secs(5);

impl Life {
    /// Starts the app for the first time: at once, or when its secrets are there.
    ///
    /// # Errors
    /// It cannot be started.
    pub(in crate::run) async fn start_app(&mut self, app: App) -> Result<(), Failure> {
        let lifecycle = &self.sidecar.lifecycle;
        if lifecycle.status().missing.contains_key(pillion_secrets::CONDITION) {
            say!(Info, "the app is started when its secrets are there");
            self.sources.app_may_start =
                Some(watch_condition(lifecycle, pillion_secrets::CONDITION));
            self.app_waits = Some(app);
            return Ok(());
        }
        self.start_app_now(app).await.map_err(|error| Failure::app(error.exit_code(), &error))
    }

    /// Everything is there that the app's start waited for.
    pub(super) async fn start_waiting_app(&mut self) {
        self.sources.app_may_start = None;
        let Some(app) = self.app_waits.take().filter(|_| self.ending.is_none()) else { return };
        if let Err(error) = self.start_app_now(app).await {
            say!(Error, "{error}");
            self.code = error.exit_code();
            self.end("the app cannot be started");
        }
    }

    async fn start_app_now(&mut self, app: App) -> Result<(), StartError> {
        let settings = &self.reloads.settings().app;
        let mut app = Beside::new(app, settings, self.sidecar.addresses.ports());
        let environment = self.sidecar.board.environment.current();
        let pid = app.start(environment).await?;
        self.sources.app = Some(app);
        self.app_started(pid);
        Ok(())
    }

    /// Whether the sidecar is not ready before the app is. Without a way in, nobody needs its port.
    pub(super) fn waits_for_app(&self) -> bool {
        self.sidecar.addresses.inbound.is_some()
    }

    pub(super) fn signal_app(&self, signal: Signal) {
        if let Some(app) = &self.sources.app {
            app.signal(signal);
        }
    }

    /// A role signals the app.
    pub(super) fn role_signals(&self, signal: Signal) -> Result<(), Refusal> {
        match &self.sources.app {
            Some(app) if app.is_running() => {
                app.signal(signal);
                Ok(())
            }
            Some(_) => Err(Refusal("the app does not run now".to_owned())),
            None => Err(Refusal("there is no supervised app".to_owned())),
        }
    }

    /// A role asks for a restart of the app. It is answered when the app has been started again.
    pub(super) fn role_restarts(&mut self, answer: oneshot::Sender<Result<Started, Refusal>>) {
        let app = self.sources.app.as_mut().filter(|_| self.ending.is_none());
        let Some(app) = app else {
            drop(answer.send(Err(Refusal("there is no supervised app that goes on".to_owned()))));
            return;
        };
        self.restart_asked.push(answer);
        // It is no failure if it ends now.
        self.trials.clear();
        self.restart_wait = Some(Duration::ZERO);
        if app.is_running() {
            app.stop();
            self.sidecar.proxy.set_app(None);
            self.app_missing("it is restarted");
        } else {
            app.rest_no_longer();
        }
    }

    fn app_started(&mut self, pid: u32) {
        self.restart_wait = None;
        for asked in self.restart_asked.drain(..) {
            let (ended, started) = Started::new();
            drop(asked.send(Ok(started)));
            self.trials.push(ended);
        }
        self.sidecar.proxy.set_app(None);
        self.app_view.send_modify(|view| {
            view.expected = true;
            (view.pid, view.place) = (Some(pid), None);
        });
        self.app_missing("it listens on no port yet");
    }

    pub(super) fn app_listens(&self, place: Option<Place>) {
        match &place {
            Some(_) => self.app_missing("it does not answer app.ready with a 2xx status yet"),
            // An app that is about to end closes its port first, and still answers on it.
            None if self.ending.is_some() => return,
            None => {
                self.app_missing("it no longer listens on a port");
                say!(Warn, "the app no longer listens on a port");
            }
        }
        self.sidecar.proxy.set_app(place.as_ref().map(|place| place.address));
        self.app_view.send_modify(|view| view.place = place);
    }

    pub(super) fn app_ready(&mut self) {
        self.trials.clear();
        self.sidecar.lifecycle.meet(APP);
        if self.announced {
            let place = where_the_app_is(&self.app_view.borrow());
            say!(Info, "the app is ready", app = place);
        }
        self.announce();
    }

    /// A worker without a port is as good as one whose port is late: we go on looking, and say what
    /// to do about it.
    pub(super) fn app_late(&mut self) {
        if self.waits_for_app() {
            match &self.app_view.borrow().place {
                None => say!(
                    Warn,
                    "the app listens on no port yet: inbound answers 503 until it does (is there \
                     none to come, use --inbound off)"
                ),
                Some(place) => {
                    say!(
                        Warn,
                        "the app is not ready yet: it does not answer app.ready with a 2xx status",
                        app = place.text
                    );
                }
            }
        }
        self.announce();
    }

    pub(super) fn app_ended(&mut self, exit: Exit, ran: Duration) {
        self.code = exit.code();
        self.sidecar.proxy.set_app(None);
        self.app_view.send_modify(|view| (view.pid, view.place) = (None, None));
        if exit != Exit::Code(0) {
            say!(Info, "the app {exit}");
        }
        let is_on_trial = self.is_on_trial(exit);
        let app = self.sources.app.as_mut().filter(|_| self.stage == Stage::Serving);
        if let Some(app) = app
            && let Some(wait) = match is_on_trial {
                true => Some(TRIAL_WAIT),
                false => app.restart_after(exit, ran),
            }
        {
            app.stop();
            self.restart_wait = Some(wait);
            self.app_missing("it failed, and is started again");
            return;
        }
        self.end("the app ended");
    }

    /// Tells those who restarted the app, and wait for it to be ready, how it ended. Whether there is
    /// one: it takes back what it changed, and asks for another restart.
    fn is_on_trial(&mut self, exit: Exit) -> bool {
        let told = self.trials.drain(..).map(|trial| trial.send(exit.to_string()));
        told.filter(Result::is_ok).count() > 0
    }

    /// Nothing of the app is left: either it is started again, or the end goes on.
    pub(super) fn app_gone(&mut self, exit: Exit) {
        let wait = self.restart_wait.take().filter(|_| self.ending.is_none());
        if let (Some(wait), Some(app)) = (wait, &mut self.sources.app) {
            say!(Info, "the app is started again", in_ms = wait.as_millis());
            app.rest(wait);
        }
        if self.stage == Stage::StoppingApp {
            self.code = exit.code();
            self.drain_outbound();
        }
    }

    pub(super) async fn restart_app(&mut self) {
        let Some(app) = &mut self.sources.app else { return };
        match app.start(self.sidecar.board.environment.current()).await {
            Ok(pid) => {
                self.restarts.inc();
                self.app_started(pid);
            }
            Err(error) => {
                say!(Error, "{error}");
                self.code = error.exit_code();
                self.end("the app cannot be started again");
            }
        }
    }

    fn app_missing(&self, why: &str) {
        if self.waits_for_app() {
            self.sidecar.lifecycle.miss(APP, why);
        }
    }
}
