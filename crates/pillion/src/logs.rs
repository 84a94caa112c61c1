//! `pillion logs`: ship files in one line, look at a running shipper, check disk buffers.

mod fsck;
mod progress;
mod status;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pillion_logs::enrich::Defaults;
use pillion_logs::status::StatusBoard;
use pillion_logs::{Context, Error, Once, run};
use pillion_model::config::{self, Ship};
use pillion_model::logs::{Logs, Output};
use pillion_runtime::board::Board;
use pillion_runtime::metrics::Registry;
use pillion_runtime::role::{Stop, Stopper};
use pillion_runtime::say;
use pillion_runtime::signals::{Blocked, Intent, Signals};
use pillion_runtime::supervise::AppOutputs;
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::cli::{LogsCommand, ShipArguments};
use crate::failure::Failure;
use crate::metrics::SERIES_LIMIT;
use crate::panics;
use crate::run::host_name;
use progress::Progress;

/// How long the end may take after the first signal.
const END: Duration = Duration::from_secs(30);

/// One of the commands.
///
/// # Errors
/// Its own.
pub(crate) fn command(command: LogsCommand) -> Result<u8, Failure> {
    match command {
        LogsCommand::Ship(arguments) => ship(arguments),
        LogsCommand::Status(arguments) => status::command(&arguments),
        LogsCommand::Fsck(arguments) => fsck::command(&arguments),
    }
}

/// `pillion logs ship`: the role alone, with what the command line says for its configuration.
fn ship(arguments: ShipArguments) -> Result<u8, Failure> {
    let once = arguments.once.then(|| Once { give_up: arguments.give_up.get() });
    let loaded = config::ship(&Ship {
        files: arguments.files,
        parse: arguments.parse,
        to: arguments.to,
        state: arguments.state,
        compress: arguments.compress,
    });
    let loaded = loaded.map_err(|problems| Failure::refused(&problems))?;
    let Some(logs) = loaded.roles.logs else {
        return Err(Failure::usage("no file and no sink: see pillion logs ship --help"));
    };
    panics::watch();
    let blocked =
        Blocked::block().map_err(|error| Failure::doing("cannot receive signals", &error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::doing("cannot start the runtime", &error))?;
    let shipped = LocalSet::new().block_on(&runtime, async {
        let signals =
            blocked.listen().map_err(|error| Failure::doing("cannot receive signals", &error))?;
        ship_until_told(logs, once, signals).await
    });
    runtime.shutdown_background();
    shipped
}

async fn ship_until_told(
    logs: Arc<Logs>,
    once: Option<Once>,
    signals: Signals,
) -> Result<u8, Failure> {
    let to_terminal = logs.sinks.iter().any(|sink| matches!(sink.output, Output::Stdout(_)));
    // Nobody changes it; the role only has to believe that somebody could.
    let (_settings, settings) = watch::channel(logs);
    let status = StatusBoard::new(&Registry::new(SERIES_LIMIT));
    let (stopper, stop) = Stopper::new();
    let context = Context {
        settings,
        board: Board::default(),
        defaults: Defaults { host: host_name(), service: None },
        status: status.clone(),
        outputs: Arc::new(AppOutputs::default()),
        once,
    };
    let progress = Progress::new(status, !to_terminal);
    let shipped = shipping(context, stop, stopper, signals, &progress).await;
    progress.finish();
    match shipped {
        Ok(()) => Ok(0),
        Err(error) => Err(Failure::because(&error)),
    }
}

/// Ships to the end, or until a second signal cuts it; once, the first does.
async fn shipping(
    context: Context,
    stop: Stop,
    stopper: Stopper,
    mut signals: Signals,
    progress: &Progress,
) -> Result<(), Error> {
    let mut is_cut = context.once.is_some();
    let running = run(context, stop);
    tokio::pin!(running);
    loop {
        tokio::select! {
            ended = &mut running => return ended,
            () = progress.shown() => {}
            received = signals.next() => match received {
                Ok(received) if matches!(received.intent(), Intent::Drain { .. }) => {
                    let now = Instant::now();
                    stopper.stop(if is_cut { now } else { now + END });
                    is_cut = true;
                }
                Ok(_) => {}
                Err(error) => {
                    say!(Error, "signals cannot be received any more", error = error);
                    return running.await;
                }
            },
        }
    }
}
