//! What a role may ask of the supervised app's keeper: a signal, or a restart.

use nix::sys::signal::Signal;
use tokio::sync::{mpsc, oneshot};

/// Orders that may wait.
const WAITING: usize = 16;

/// What a role asks for.
#[derive(Debug)]
pub enum AppOrder {
    /// Sends the app a signal.
    Signal(Signal, oneshot::Sender<Result<(), Refusal>>),
    /// Ends the app in order and starts it again, with the environment that holds then. Answered
    /// once it has been started.
    Restart(oneshot::Sender<Result<Started, Refusal>>),
}

/// An app that was started again, for as long as somebody wants to know whether it gets ready.
#[derive(Debug)]
pub struct Started(oneshot::Receiver<String>);

impl Started {
    /// One that has just been started, and where it is said how it ended, should it end before it is
    /// ready. Whoever does not want to know drops the other end.
    #[must_use]
    pub fn new() -> (oneshot::Sender<String>, Self) {
        let (ended, receiver) = oneshot::channel();
        (ended, Self(receiver))
    }

    /// Waits until it has ended before it was ready, and says how: "ended with code 1". Waits for ever
    /// where it does not.
    pub async fn ended(self) -> String {
        match self.0.await {
            Ok(how) => how,
            Err(_) => std::future::pending().await,
        }
    }
}

/// Why it was not done; one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// The end of a role.
#[derive(Clone, Debug)]
pub struct AppControl(mpsc::Sender<AppOrder>);

/// The end of whoever has the app.
pub type AppOrders = mpsc::Receiver<AppOrder>;

impl AppControl {
    /// Both ends.
    #[must_use]
    pub fn new() -> (Self, AppOrders) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Sends the app a signal.
    ///
    /// # Errors
    /// There is no app, or it does not run.
    pub async fn signal(&self, signal: Signal) -> Result<(), Refusal> {
        self.ask(|answer| AppOrder::Signal(signal, answer)).await
    }

    /// Ends the app in order and starts it again. As long as what this returns is held and the app is
    /// not ready, its end is not ours: a further restart is waited for.
    ///
    /// # Errors
    /// There is no app, or it cannot be started.
    pub async fn restart(&self) -> Result<Started, Refusal> {
        self.ask(AppOrder::Restart).await
    }

    async fn ask<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> AppOrder,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let gone = || Refusal("there is no supervised app".to_owned());
        self.0.send(order(answer)).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}
