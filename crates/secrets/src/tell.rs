//! Telling the app that a set has changed, and hearing from it that it uses the new version.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use nix::sys::signal::Signal;
use pillion_client::Options;
use pillion_model::config::shown;
use pillion_model::secrets::{Confirm, Tell};
use pillion_runtime::board::{AppControl, Refusal, Secret, Started};
use tokio::time::{Instant, sleep, timeout_at};

use crate::commands::{self, CommandError, Order};
use crate::location::{Location, LocationError};

/// Waits between questions: the first, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The most bytes of an answer that is only looked at for its status.
const ANSWER: usize = 64 << 10;

/// Whether the app is ready; where not, one sentence that says what is missing.
pub type Ready<'a> =
    dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> + Send + Sync + 'a;

/// How the app is reached.
#[derive(Clone, Copy)]
pub struct App<'a> {
    /// The supervised app.
    pub control: &'a AppControl,
    /// Asks whether it is ready.
    pub ready: &'a Ready<'a>,
}

/// Where a hook runs, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The folder of the version.
    pub folder: &'a Path,
    /// What must not be shown of what a command says.
    pub secrets: &'a [Secret],
    /// When to give up.
    pub deadline: Instant,
}

/// Why the app was not told, or has not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// There is no such signal.
    #[error("there is no signal {0}; write its name, such as HUP")]
    Signal(i32),
    /// Whoever has the app refuses.
    #[error("the app cannot be told: {0}")]
    Refused(#[from] Refusal),
    /// The command.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The method.
    #[error("{0} is not a method of HTTP; write GET or POST")]
    Method(String),
    /// The URL.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// No answer.
    #[error(transparent)]
    Http(#[from] pillion_client::Error),
    /// An answer that is none of success.
    #[error("{url} answered {status}, and not 2xx")]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
    },
    /// It was restarted, and ended before it confirmed.
    #[error("the app {0} after its restart")]
    Ended(String),
    /// The app is not ready.
    #[error("the app is not ready: {0}")]
    NotReady(String),
    /// The time was up.
    #[error("it took longer than `confirm_timeout`; see why the app takes so long, or raise it")]
    Timeout,
}

/// Tells the app. Returns the app where it was restarted for that.
///
/// # Errors
/// It was not told, or not in time.
pub async fn tell(
    tell: &Tell,
    app: App<'_>,
    scene: Scene<'_>,
) -> Result<Option<Started>, TellError> {
    let telling = async {
        match tell {
            Tell::Nothing => {}
            Tell::Signal(number) => {
                let signal = Signal::try_from(*number).map_err(|_| TellError::Signal(*number))?;
                app.control.signal(signal).await?;
            }
            Tell::Restart => return Ok(Some(app.control.restart().await?)),
            Tell::Command(words) => command(words, scene).await?,
            Tell::Http { url, method } => http(url, method, scene).await?,
        }
        Ok(None)
    };
    timeout_at(scene.deadline, Box::pin(telling)).await.unwrap_or(Err(TellError::Timeout))
}

/// Waits until the app confirms: asks, and asks again after a wait that grows. It cannot any more once
/// `started` has ended.
///
/// # Errors
/// It has not confirmed in time: the reason of the last refusal.
pub async fn confirm(
    confirm: &Confirm,
    app: App<'_>,
    scene: Scene<'_>,
    started: Option<Started>,
) -> Result<(), TellError> {
    let mut last = TellError::Timeout;
    let mut wait = WAITS.0;
    let asking = async {
        loop {
            match ask(confirm, app, scene).await {
                Ok(()) => return,
                Err(error) => last = error,
            }
            sleep(wait).await;
            wait = (wait * 2).min(WAITS.1);
        }
    };
    let ended = async {
        match started {
            Some(started) => started.ended().await,
            None => std::future::pending().await,
        }
    };
    let how = tokio::select! {
        biased;
        asked = timeout_at(scene.deadline, Box::pin(asking)) => match asked {
            Ok(()) => return Ok(()),
            Err(_) => None,
        },
        how = ended => Some(how),
    };
    Err(how.map_or(last, TellError::Ended))
}

async fn ask(confirm: &Confirm, app: App<'_>, scene: Scene<'_>) -> Result<(), TellError> {
    match confirm {
        Confirm::Told => Ok(()),
        Confirm::Ready => (app.ready)().await.map_err(TellError::NotReady),
        Confirm::Command(words) => command(words, scene).await,
        Confirm::Http(url) => http(url, Method::GET.as_str(), scene).await,
    }
}

async fn command(words: &[String], scene: Scene<'_>) -> Result<(), TellError> {
    let Scene { folder, secrets, .. } = scene;
    Ok(commands::run(Order { words, folder, limit: left(scene), secrets }).await?)
}

async fn http(url: &str, method: &str, scene: Scene<'_>) -> Result<(), TellError> {
    let method =
        Method::from_bytes(method.as_bytes()).map_err(|_| TellError::Method(method.to_owned()))?;
    let options = Options { timeout: left(scene), body_limit: ANSWER, ..Options::default() };
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = method;
    let status = Location::new(url, &options)?.send(request).await?.status();
    match status.is_success() {
        true => Ok(()),
        false => Err(TellError::Status { url: shown(url), status: status.as_u16() }),
    }
}

fn left(scene: Scene<'_>) -> Duration {
    scene.deadline.saturating_duration_since(Instant::now())
}
