//! The roles beside the proxy: started when the configuration names them, told of each change, and
//! ended in order.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use pillion_model::settings::Roles as Settings;
use pillion_runtime::board::AppControl;
use pillion_runtime::metrics::Registry;
use pillion_runtime::role::{Followed, Role, Stop};
use pillion_runtime::say;
use pillion_runtime::supervise::{AppOutputs, Captured};
use tokio::sync::watch;

use super::Sidecar;

/// Every role beside the proxy.
pub(crate) struct Roles {
    logs: Slot<pillion_model::logs::Logs>,
    secrets: Slot<pillion_model::secrets::Secrets>,
    outputs: Arc<AppOutputs>,
    app: AppControl,
}

/// A role that may be there or not.
struct Slot<T>(Option<(Role, watch::Sender<Arc<T>>)>);

impl Roles {
    /// No role runs yet. `outputs` are those that [`captured`] asked for.
    pub(super) fn new(outputs: AppOutputs, app: AppControl) -> Self {
        Self { logs: Slot(None), secrets: Slot(None), outputs: Arc::new(outputs), app }
    }

    /// Starts, changes and ends roles, so that they are as these settings say. A role that is no
    /// longer named ends at its ease: what it has is delivered until `deadline`.
    pub(super) fn apply(&mut self, settings: &Settings, sidecar: &Sidecar, deadline: Instant) {
        let registry = &sidecar.registry;
        let (board, app) = (&sidecar.board, &self.app);
        let lifecycle = &sidecar.lifecycle;
        let started = self.secrets.apply(
            "secrets",
            settings.secrets.as_ref(),
            registry,
            deadline,
            |settings| {
                let context = pillion_secrets::Context {
                    settings,
                    board: board.clone(),
                    app: app.clone(),
                    lifecycle: lifecycle.clone(),
                    registry: registry.clone(),
                };
                move |stop| pillion_secrets::run(context.clone(), stop)
            },
        );
        said("secrets", started);
        let outputs = &self.outputs;
        let started =
            self.logs.apply("logs", settings.logs.as_ref(), registry, deadline, |settings| {
                let context = pillion_logs::Context {
                    settings,
                    board: board.clone(),
                    registry: registry.clone(),
                    outputs: outputs.clone(),
                };
                move |stop| pillion_logs::run(context.clone(), stop)
            });
        said("logs", started);
    }

    /// Ends all of them: secrets first, which may have something to log.
    pub(super) async fn end(&mut self, deadline: Instant) {
        self.secrets.end(deadline).await;
        self.logs.end(deadline).await;
    }
}

impl<T: Send + Sync + 'static> Slot<T> {
    fn apply<F, R, E>(
        &mut self,
        name: &'static str,
        settings: Option<&Arc<T>>,
        registry: &Registry,
        deadline: Instant,
        make: impl FnOnce(Followed<T>) -> R,
    ) -> io::Result<()>
    where
        R: FnMut(Stop) -> F + Send + 'static,
        F: Future<Output = Result<(), E>> + 'static,
        E: std::fmt::Display,
    {
        match (&self.0, settings) {
            (None, None) => {}
            (None, Some(settings)) => {
                let (sender, followed) = watch::channel(settings.clone());
                self.0 = Some((Role::start(name, registry, make(followed))?, sender));
            }
            (Some((_, sender)), Some(settings)) => drop(sender.send(settings.clone())),
            (Some((role, _)), None) => {
                role.stop(deadline);
                self.0 = None;
            }
        }
        Ok(())
    }

    async fn end(&mut self, deadline: Instant) {
        if let Some((mut role, _)) = self.0.take() {
            role.stop(deadline);
            role.ended().await;
        }
    }
}

/// A role that cannot be started takes nobody with it.
fn said(role: &str, started: io::Result<()>) {
    if let Err(error) = started {
        say!(Error, "a role cannot be started; the others go on", role = role, error = error);
    }
}

/// Which outputs of the app the logs role reads.
pub(super) fn captured(settings: &Settings) -> Captured {
    use pillion_model::logs::Input;
    let sources = settings.logs.iter().flat_map(|logs| &logs.sources);
    let app = sources.filter_map(|source| match &source.input {
        Input::App(app) => Some(app),
        Input::Files(_) | Input::Listen(_) => None,
    });
    app.fold(Captured::default(), |captured, app| Captured {
        stdout: captured.stdout || app.stdout,
        stderr: captured.stderr || app.stderr,
    })
}
