//! One server as it is configured now: its client, its tokens, and the secrets that are had from it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pillion_client::Client;
use pillion_model::secrets::{SecretSource, Server};
use pillion_runtime::say;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet, spawn_local};
use tokio::time::timeout_at;

use super::House;
use super::cached::Cached;
use super::ledger::Ledger;
use super::secret::{Claim, SecretTask, Shown, Value};
use crate::bao::{Bao, SetupError};
use crate::broker::Broker;
use crate::fetched::Lease;
use crate::session::{Session, Tokens};
use crate::status::ServerState;

/// A connection to one server.
pub(super) struct Connection {
    bao: Bao,
    bank: Rc<Bank>,
    secrets: RefCell<BTreeMap<String, Weak<Shown>>>,
    /// Shows our tokens.
    following: JoinHandle<()>,
}

/// What the secrets of one server have in common. It lives as long as one of them has a lease that
/// is used, also when the configuration names another server by then.
pub(super) struct Bank {
    pub(super) broker: Broker,
    pub(super) house: Rc<House>,
    pub(super) ledger: Rc<Ledger>,
    pub(super) cached: Rc<Cached>,
    /// Becomes true when every lease is to be revoked. The tasks of secrets look at it until they
    /// have ended.
    revoke: watch::Sender<bool>,
    /// Leases that could not be revoked then.
    pub(super) unrevoked: Cell<usize>,
    /// Ends old sessions.
    releasing: JoinHandle<()>,
    /// Saves what is kept for the next start.
    saving: JoinHandle<()>,
}

impl Bank {
    /// Whether leases and tokens end with the process.
    pub(super) fn revokes_on_exit(&self) -> bool {
        self.broker.revokes_on_exit()
    }

    /// Revokes every lease and ends the tokens.
    async fn end(self: Rc<Self>) {
        self.revoke.send_replace(true);
        self.revoke.closed().await;
        self.broker.tokens().end().await;
    }
}

/// The process ends: revokes every lease and ends our tokens, up to `deadline`, at each server for
/// which that is configured.
pub(super) async fn end(banks: impl Iterator<Item = Rc<Bank>>, deadline: Instant) {
    let banks: Vec<_> = banks.filter(|bank| bank.revokes_on_exit()).collect();
    if banks.is_empty() {
        return;
    }
    let mut ending = JoinSet::new();
    for bank in &banks {
        ending.spawn_local(bank.clone().end());
    }
    let all = async { while ending.join_next().await.is_some() {} };
    let is_in_time = timeout_at(deadline.into(), all).await.is_ok();
    let unrevoked: usize = banks.iter().map(|bank| bank.unrevoked.get()).sum();
    match (is_in_time, unrevoked) {
        (true, 0) => {
            say!(Info, "all leases are revoked, and the tokens that were made for us");
        }
        (true, _) => say!(Warn, "some leases could not be revoked", leases = unrevoked),
        (false, _) => {
            say!(Warn, "there was no time to revoke all leases; they end by themselves");
        }
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        // They have the last ends of what keeps our tokens alive, which ends with them.
        self.releasing.abort();
        self.saving.abort();
    }
}

impl Connection {
    /// Begins to log in, unless there is an `adopted` token of the last process.
    ///
    /// # Errors
    /// The client cannot be made: a URL or file is not what it should be.
    pub(super) fn new(
        server: &Server,
        adopted: Option<Session>,
        cached: Rc<Cached>,
        house: Rc<House>,
    ) -> Result<Rc<Self>, SetupError> {
        let bao = Bao::new(server)?;
        let (tokens, keeping) = Tokens::new(bao.clone(), adopted);
        house.status.server(Some(ServerState {
            url: server.url.clone(),
            bao: Some(bao.clone()),
            sessions: tokens.watch().borrow().clone(),
            trouble: None,
        }));
        spawn_local(keeping.run());
        let ledger = Rc::<Ledger>::default();
        let releasing = spawn_local(ledger.clone().run(tokens.clone()));
        let saving = spawn_local(cached.clone().run(tokens.clone()));
        let following = spawn_local(follow(tokens.clone(), house.clone()));
        Ok(Rc::new(Self {
            bank: Rc::new(Bank {
                broker: Broker::new(bao.clone(), tokens),
                house,
                ledger,
                cached,
                revoke: watch::Sender::new(false),
                unrevoked: Cell::new(0),
                releasing,
                saving,
            }),
            bao,
            secrets: RefCell::default(),
            following,
        }))
    }

    /// What lives on until the last lease is let go.
    pub(super) fn bank(&self) -> Weak<Bank> {
        Rc::downgrade(&self.bank)
    }

    /// What passes requests of others on, and how the server is configured.
    pub(super) fn client(&self) -> (Client, Server) {
        (self.bao.client(), self.bao.server().clone())
    }

    /// Leaves the status, and what is kept for the next start, to the connection that takes the place
    /// of this one.
    pub(super) fn step_back(&self) {
        self.following.abort();
        self.bank.saving.abort();
    }

    /// Our tokens.
    pub(super) fn tokens(&self) -> Tokens {
        self.bank.broker.tokens().clone()
    }

    /// The values of a secret, as they change. All who want the same get the same.
    pub(super) fn secret(&self, source: &Arc<SecretSource>) -> watch::Receiver<Option<Value>> {
        let identity = format!("{source:?}");
        let mut secrets = self.secrets.borrow_mut();
        secrets.retain(|_, shown| shown.strong_count() > 0);
        if let Some(shown) = secrets.get(&identity).and_then(Weak::upgrade) {
            return shown.subscribe();
        }
        let (shown, receiver) = watch::channel(None);
        let shown = Rc::new(shown);
        secrets.insert(identity, Rc::downgrade(&shown));
        self.start(self.task(source.clone(), Some(shown)));
        receiver
    }

    /// Keeps a lease of an earlier life of this process alive until its claim is let go.
    pub(super) fn adopt(&self, name: &Arc<str>, lease: Lease) -> Rc<Claim> {
        let source = SecretSource {
            name: name.clone(),
            path: String::new(),
            data: Vec::new(),
            interval: Duration::MAX,
            version: None,
        };
        let mut task = self.task(Arc::new(source), None);
        let claim = task.adopt(lease);
        self.start(task);
        claim
    }

    fn task(&self, source: Arc<SecretSource>, shown: Option<Rc<Shown>>) -> SecretTask {
        SecretTask::new(source, self.bank.clone(), shown)
    }

    fn start(&self, task: SecretTask) {
        spawn_local(task.run(self.bank.revoke.subscribe()));
    }
}

/// Shows the tokens.
async fn follow(tokens: Tokens, house: Rc<House>) {
    let mut watch = tokens.watch();
    // Whoever keeps tokens ends with the last who wants some.
    drop(tokens);
    while watch.changed().await.is_ok() {
        let sessions = watch.borrow_and_update().clone();
        house.status.change(|state| {
            if let Some(server) = &mut state.server {
                server.sessions = sessions;
            }
        });
    }
}
