//! `pillion run`: the sidecar first, then the app beside it, and both to their end.
//!
//! The order of the start is the order of [`ride`] and `begin`; what happens afterwards is one loop,
//! `life::Life::run`.

mod app;
mod banner;
mod drain;
mod events;
mod life;
mod look;
mod ready_file;
mod reload;
mod restarts;
mod roles;
mod sidecar;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use pillion_model::config::{self, Loaded, Overrides};
use pillion_runtime::code_pages::release_after;
use pillion_runtime::envelope::raise_open_files;
use pillion_runtime::say;
use pillion_runtime::signals::Blocked;
use pillion_runtime::supervise::Keeper;

pub(crate) use app::AppView;
pub(crate) use events::Order;
pub(crate) use look::ask;
pub(crate) use reload::{ConfigView, Reloaded};
pub(crate) use roles::host_name;
pub(crate) use sidecar::{Addresses, Sidecar};

use crate::cli::RunArguments;
use crate::failure::Failure;
use crate::heap;
use crate::panics;
use life::Life;

/// What a process is started for.
pub(crate) struct Plan {
    /// The configuration at the start.
    pub(crate) loaded: Loaded,
    /// Where it is read again.
    pub(crate) source: Source,
    /// Program and arguments of the app; empty for a sidecar alone.
    pub(crate) app: Vec<OsString>,
    /// Where to say that the sidecar serves.
    pub(crate) ready_file: Option<PathBuf>,
}

/// Where the configuration comes from.
pub(crate) struct Source {
    /// The file; without one there is nothing to read again.
    pub(crate) file: Option<PathBuf>,
    /// What the command line says; it wins over the file.
    pub(crate) overrides: Overrides,
}

/// `pillion run [-- CMD…]`. Returns the code that the process ends with.
///
/// # Errors
/// The configuration is refused, or sidecar or app cannot start.
pub(crate) fn command(arguments: RunArguments) -> Result<u8, Failure> {
    let overrides = Overrides {
        inbound: arguments.inbound,
        outbound: arguments.outbound,
        admin: arguments.admin,
        app_port: arguments.app_port,
        has_app: !arguments.app.is_empty(),
    };
    let loaded = match &arguments.config {
        Some(file) => config::load(file, &overrides),
        None => config::defaults(&overrides),
    };
    ride(Plan {
        loaded: loaded.map_err(|problems| Failure::refused(&problems))?,
        source: Source { file: arguments.config, overrides },
        app: arguments.app,
        ready_file: arguments.ready_file,
    })
}

/// Runs sidecar and app to their end. Returns the code that the process ends with.
///
/// # Errors
/// Sidecar or app cannot start.
pub(crate) fn ride(plan: Plan) -> Result<u8, Failure> {
    // Before any thread, and before signals are blocked: the app inherits what the keeper has.
    let keeper = match plan.app.is_empty() {
        true => None,
        false => Some(
            Keeper::fork(
                plan.loaded.settings.app.stop_timeout,
                roles::captured(&plan.loaded.roles),
            )
            .map_err(|error| Failure::doing("cannot start the keeper of the app", &error))?,
        ),
    };
    panics::watch();
    let blocked =
        Blocked::block().map_err(|error| Failure::doing("cannot receive signals", &error))?;
    if let Err(error) = raise_open_files() {
        say!(Warn, "the limit of open files stays as it is", error = error);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::doing("cannot start the control runtime", &error))?;
    let code = runtime.block_on(begin(plan, keeper, blocked));
    // A name lookup that hangs does not hold the end up.
    runtime.shutdown_background();
    code
}

/// Sidecar first, app second, then the life of both.
async fn begin(plan: Plan, mut keeper: Option<Keeper>, blocked: Blocked) -> Result<u8, Failure> {
    let signals =
        blocked.listen().map_err(|error| Failure::doing("cannot receive signals", &error))?;
    if let Some(path) = &plan.ready_file {
        ready_file::remove(path);
    }
    // What lasts is not to lie scattered among what only the reading needed.
    heap::release();
    let sidecar = Sidecar::start(&plan.loaded, keeper.is_some())?;
    tokio::spawn(release_after(sidecar.lifecycle.watch()));
    let outputs = keeper.as_mut().map(Keeper::take_outputs).unwrap_or_default();
    let of_app = (outputs, service(&plan.app));
    let mut life = Life::new(sidecar, signals, plan.loaded, plan.source, of_app);
    if let Some(path) = &plan.ready_file {
        ready_file::write(path, life.addresses())?;
    }
    if let Some(keeper) = keeper {
        let app = keeper
            .into_app(plan.app)
            .map_err(|error| Failure::doing("cannot start the app", &error))?;
        life.start_app(app).await?;
    }
    // Boxed: it holds the state of every source of events.
    Ok(Box::pin(life.run()).await)
}

/// What the app is called where nobody says it: its program.
fn service(command: &[OsString]) -> Option<String> {
    let program = Path::new(command.first()?).file_name()?;
    Some(program.to_string_lossy().into_owned())
}
