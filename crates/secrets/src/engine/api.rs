//! The local HTTP interface, opened as it is configured, and again when the server is another one.

use std::sync::Arc;
use std::time::Duration;

use pillion_client::Client;
use pillion_model::secrets::{Api, Server};
use pillion_runtime::board::Secret;
use pillion_runtime::causes::Causes;
use pillion_runtime::say;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

use super::connection::Connection;
use crate::api::{LocalApi, bind};
use crate::chance::{chance, wait};
use crate::session::Tokens;
use crate::status::Status;

/// Waits after an address that cannot be opened: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The interface, while it runs. It ends with this.
pub(super) struct Running {
    made_for: (Api, Server),
    _stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// Whether this is what is wanted.
    pub(super) fn is_for(&self, api: &Api, server: &Server) -> bool {
        self.made_for == (api.clone(), server.clone())
    }

    /// Opens the interface as soon as the one before has let go of its address.
    pub(super) fn start(
        api: Api,
        connection: &Connection,
        status: Status,
        before: Option<Self>,
    ) -> Self {
        let (stop, stopped) = watch::channel(());
        let (client, server) = connection.client();
        let tokens = connection.tokens();
        let (settings, namespace) = (api.clone(), server.namespace.clone());
        let task = spawn_local(async move {
            if let Some(Self { task, _stop: stop, .. }) = before {
                drop(stop);
                // An error: it has ended too.
                let _ended = task.await;
            }
            serve(&settings, client, namespace.as_deref(), tokens, &status, stopped).await;
        });
        Self { made_for: (api, server), _stop: stop, task }
    }
}

async fn serve(
    settings: &Api,
    client: Client,
    namespace: Option<&str>,
    tokens: Tokens,
    status: &Status,
    mut stopped: watch::Receiver<()>,
) {
    let mut failures = 0;
    let bound = loop {
        match bind(settings) {
            Ok(bound) => break bound,
            Err(error) => {
                failures += 1;
                let wait = wait(failures, BACKOFF, chance());
                let again = wait.as_millis();
                say!(
                    Error,
                    "the secrets API is not served",
                    error = Causes(&error),
                    again_in_ms = again
                );
                tokio::select! {
                    () = sleep(wait) => {}
                    _ = stopped.changed() => return,
                }
            }
        }
    };
    say!(Info, "the secrets API is served", address = bound.address());
    let (token, ours) = watch::channel(None);
    let api = Arc::new(LocalApi::new(settings, client, namespace, ours, status.counters()));
    let _shown = status.serves(bound.address().to_string());
    let stop = async move {
        // Nobody sends: it ends when whoever could is gone.
        let _gone = stopped.changed().await;
    };
    tokio::select! {
        served = api.serve(bound, stop) => if let Err(error) = served {
            say!(Error, "the secrets API is not served any more", error = Causes(&error));
        },
        () = hand_on(tokens, &token) => {}
    }
}

/// Hands each new token on to the interface.
async fn hand_on(tokens: Tokens, to: &watch::Sender<Option<Secret>>) {
    let mut sessions = tokens.watch();
    drop(tokens);
    loop {
        let token = sessions.borrow_and_update().current.as_ref().map(|it| it.token.clone());
        to.send_replace(token);
        if sessions.changed().await.is_err() {
            return;
        }
    }
}
