//! The roles beside the proxy: started when the configuration names them, told of each change, and
//! ended in order.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use pillion_logs::enrich::Defaults;
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
    defaults: Defaults,
    app: AppControl,
    supervised: bool,
    secrets_status: pillion_secrets::Status,
}

/// A role that may be there or not.
struct Slot<T>(Option<(Role, watch::Sender<Arc<T>>)>);

impl Roles {
    /// No role runs yet. `outputs` are those that [`captured`] asked for; `service` is what the app
    /// is called where nothing else is configured; `supervised` says whether there will be an app
    /// that is started by us.
    pub(super) fn new(
        outputs: AppOutputs,
        service: Option<String>,
        app: AppControl,
        supervised: bool,
        registry: &Registry,
    ) -> Self {
        let defaults = Defaults { host: host_name(), service };
        let outputs = Arc::new(outputs);
        let (logs, secrets) = (Slot(None), Slot(None));
        let secrets_status = pillion_secrets::Status::new(registry);
        Self { logs, secrets, outputs, defaults, app, supervised, secrets_status }
    }

    /// What the secrets role does, for the admin interface.
    pub(super) fn secrets_status(&self) -> pillion_secrets::Status {
        self.secrets_status.clone()
    }

    /// Starts, changes and ends roles, so that they are as these settings say. A role that is no
    /// longer named ends at its ease: what it has is delivered until `deadline`.
    pub(super) fn apply(&mut self, settings: &Settings, sidecar: &Sidecar, deadline: Instant) {
        let started = self.apply_secrets(settings, sidecar, deadline);
        said("secrets", started);
        let started = self.apply_logs(settings, sidecar, deadline);
        said("logs", started);
    }

    fn apply_secrets(
        &mut self,
        settings: &Settings,
        sidecar: &Sidecar,
        deadline: Instant,
    ) -> io::Result<()> {
        let (app, supervised, status) = (&self.app, self.supervised, &self.secrets_status);
        let make = |settings| {
            let context = pillion_secrets::Context {
                settings,
                board: sidecar.board.clone(),
                app: app.clone(),
                supervised,
                lifecycle: sidecar.lifecycle.clone(),
                registry: sidecar.registry.clone(),
                status: status.clone(),
            };
            move |stop| pillion_secrets::run(context.clone(), stop)
        };
        let registry = &sidecar.registry;
        self.secrets.apply("secrets", settings.secrets.as_ref(), registry, deadline, make)
    }

    fn apply_logs(
        &mut self,
        settings: &Settings,
        sidecar: &Sidecar,
        deadline: Instant,
    ) -> io::Result<()> {
        let (outputs, defaults) = (&self.outputs, &self.defaults);
        let make = |settings| {
            let context = pillion_logs::Context {
                settings,
                board: sidecar.board.clone(),
                defaults: defaults.clone(),
                status: sidecar.logs.clone(),
                outputs: outputs.clone(),
                once: None,
            };
            move |stop| pillion_logs::run(context.clone(), stop)
        };
        let registry = &sidecar.registry;
        self.logs.apply("logs", settings.logs.as_ref(), registry, deadline, make)
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
        E: std::error::Error,
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

/// The name of this machine or pod; empty where it has none.
pub(crate) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map(|name| name.trim().to_owned()).unwrap_or_default()
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
