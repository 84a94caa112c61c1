//! Our tokens: got by logging in, renewed, and replaced in time.
//!
//! Leases belong to the token that they were got with, and die with it. So a token that another has
//! replaced is kept alive, for as long as the server lets it, until whoever holds the leases has
//! replaced them and says so.

mod keeping;
mod kept;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pillion_runtime::board::Secret;
use tokio::sync::{mpsc, oneshot, watch};

use crate::bao::{Bao, Error, Grant};
pub use keeping::Keeping;

/// Orders that may wait.
const WAITING: usize = 64;

/// One token of ours.
#[derive(Clone, Debug)]
pub struct Session {
    /// Which one, in the life of this process.
    pub id: SessionId,
    /// The token.
    pub token: Secret,
    /// The server's name for it, which may be shown.
    pub accessor: String,
    /// What it may do.
    pub policies: Vec<String>,
    /// When it ends unless it is renewed; `None`: never.
    pub expires: Option<SystemTime>,
    /// Whether the server goes on extending it, so that [`Self::expires`] moves.
    pub renewable: bool,
}

/// Which session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All tokens of ours. A lease whose session is not among them is dead.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    /// The one to ask with; `None` before the first login, and while there is no way to log in.
    pub current: Option<Arc<Session>>,
    /// Those that it has replaced and that may still have leases, the oldest first.
    pub old: Vec<Arc<Session>>,
    /// Why the last login failed, if it did.
    pub trouble: Option<Arc<Error>>,
}

impl Sessions {
    /// The session with this id, if it lives.
    #[must_use]
    pub fn find(&self, id: SessionId) -> Option<&Arc<Session>> {
        self.old.iter().chain(&self.current).find(|session| session.id == id)
    }

    /// When the leases of this session die: they do, if it is not extended any more. A session that
    /// is gone has ended at `now`.
    #[must_use]
    pub fn end_of(&self, id: SessionId, now: SystemTime) -> Option<SystemTime> {
        match self.find(id) {
            Some(session) if session.renewable => None,
            Some(session) => session.expires,
            None => Some(now),
        }
    }
}

/// What [`Keeping`] is asked for. Clones ask the same.
#[derive(Clone, Debug)]
pub struct Tokens {
    sessions: watch::Receiver<Sessions>,
    orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
enum Order {
    Release(SessionId),
    Lost(SessionId),
    End(oneshot::Sender<()>),
}

impl Tokens {
    /// The tokens of a server, and what has to be run to have any. `adopted` is a token from an
    /// earlier life of this process, with the leases that it has.
    #[must_use]
    pub fn new(bao: Bao, adopted: Option<Session>) -> (Self, Keeping) {
        let (orders, waiting) = mpsc::channel(WAITING);
        let (sender, sessions) = watch::channel(Sessions::default());
        let keeping = Keeping::new(bao, adopted, sender, waiting);
        (Self { sessions, orders }, keeping)
    }

    /// The tokens as they change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Sessions> {
        self.sessions.clone()
    }

    /// The token to ask with.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Session>> {
        self.sessions.borrow().current.clone()
    }

    /// Nothing depends on this old session any more: it is ended. The current one stays.
    pub async fn release(&self, id: SessionId) {
        self.order(Order::Release(id)).await;
    }

    /// The server does not know this session any more: a new one is needed.
    pub async fn lost(&self, id: SessionId) {
        self.order(Order::Lost(id)).await;
    }

    /// Ends every token that was made for us, and with them all leases, if that is configured. To
    /// be called last, and waited for. The same happens, with nobody waiting, when nobody has
    /// [`Tokens`] any more.
    pub async fn end(&self) {
        let (done, ended) = oneshot::channel();
        self.order(Order::End(done)).await;
        // An error: nobody keeps tokens any more, so there is nothing to end.
        let _ended = ended.await;
    }

    async fn order(&self, order: Order) {
        // An error: nobody keeps tokens any more.
        let _sent = self.orders.send(order).await;
    }
}

impl Session {
    fn new(id: SessionId, grant: Grant, now: SystemTime) -> Self {
        let Grant { token, accessor, policies, duration, renewable } = grant;
        let expires = duration.and_then(|duration| now.checked_add(duration));
        let renewable = renewable && expires.is_some();
        Self { id, token, accessor, policies, expires, renewable }
    }

    fn left(&self, now: SystemTime) -> Option<Duration> {
        self.expires.map(|expires| expires.duration_since(now).unwrap_or_default())
    }
}
