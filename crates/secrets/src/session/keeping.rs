//! The task that keeps tokens alive.

use std::future;
use std::sync::Arc;
use std::time::SystemTime;

use pillion_runtime::say;
use pillion_runtime::watch::FileWatch;
use tokio::sync::{mpsc, watch};

use super::kept::{Kept, after};
use super::{Order, Session, SessionId, Sessions};
use crate::auth::Logins;
use crate::bao::{Bao, Error, Grant, Trouble};
use crate::chance::{chance, wait};
use crate::clock::until;

/// Old sessions that are kept; of more, the oldest is given up.
const OLD_LIMIT: usize = 8;

/// Keeps tokens alive while [`Keeping::run`] runs.
#[derive(Debug)]
pub struct Keeping {
    bao: Bao,
    logins: Logins,
    current: Option<Kept>,
    /// Replaced, with leases that may not be: the oldest first.
    old: Vec<Kept>,
    /// When to log in, if that is needed.
    login: Option<SystemTime>,
    failures: u32,
    trouble: Option<Arc<Error>>,
    last_id: u64,
    sessions: watch::Sender<Sessions>,
    orders: mpsc::Receiver<Order>,
}

impl Keeping {
    pub(super) fn new(
        bao: Bao,
        adopted: Option<Session>,
        sessions: watch::Sender<Sessions>,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        let now = SystemTime::now();
        let last_id = adopted.as_ref().map_or(0, |session| session.id.0);
        let current = adopted.map(|session| Kept::adopted(session, now));
        let login = match &current {
            Some(kept) => kept.login(bao.server().renew_at, now),
            None => Some(now),
        };
        let keeping = Self {
            logins: Logins::new(bao.clone()),
            bao,
            current,
            old: Vec::new(),
            login,
            failures: 0,
            trouble: None,
            last_id,
            sessions,
            orders,
        };
        keeping.publish();
        keeping
    }

    /// Logs in, renews, logs in again: until [`super::Tokens::end`] was called, or nobody has
    /// [`super::Tokens`] any more, as after a reload with another server.
    pub async fn run(mut self) {
        let mut file = self.logins.watched().map(FileWatch::new);
        loop {
            tokio::select! {
                () = until(self.due()) => self.act().await,
                order = self.orders.recv() => match order {
                    Some(Order::Release(id)) => self.release(id).await,
                    Some(Order::Lost(id)) => self.lost(id),
                    Some(Order::End(done)) => {
                        self.end().await;
                        // An error: whoever asked does not wait any more.
                        let _sent = done.send(());
                        return;
                    }
                    None => return self.end().await,
                },
                () = changed(file.as_mut()) => self.login = Some(SystemTime::now()),
            }
        }
    }

    /// The earliest of what is due.
    fn due(&self) -> Option<SystemTime> {
        let sessions = self.current.iter().chain(&self.old);
        sessions.filter_map(Kept::due).chain(self.login).min()
    }

    async fn act(&mut self) {
        let now = SystemTime::now();
        let renew_at = self.bao.server().renew_at;
        for kept in self.current.iter_mut().chain(&mut self.old) {
            kept.renew_if_due(&self.bao, now).await;
        }
        let now = SystemTime::now();
        self.old.retain(|kept| !kept.has_ended(now));
        // One that is extended no more is replaced at once: the more time its leases have.
        let needs_another = self.current.as_ref().is_none_or(|kept| kept.was_capped());
        self.current.take_if(|kept| kept.has_ended(now));
        if self.login.is_none() && (needs_another || self.current.is_none()) {
            self.login = Some(now);
        }
        if self.login.is_some_and(|login| login <= now) {
            self.log_in(renew_at).await;
        }
        self.publish();
    }

    async fn log_in(&mut self, renew_at: f64) {
        match self.logins.log_in().await {
            Ok(grant) if self.is_current(&grant) => self.same_token(),
            Ok(grant) => self.begin(grant, renew_at).await,
            Err(error) => self.login_failed(error),
        }
    }

    fn is_current(&self, grant: &Grant) -> bool {
        self.current.as_ref().is_some_and(|kept| kept.session.token == grant.token)
    }

    /// The file still holds the token that is known.
    fn same_token(&mut self) {
        let lives_on = |kept: &Kept| kept.session.renewable || kept.session.expires.is_none();
        if self.current.as_ref().is_some_and(lives_on) {
            (self.login, self.failures, self.trouble) = (None, 0, None);
            return;
        }
        let what = "it still holds the token that ends and that the server does not extend; \
                    whoever looks after the file has to replace it";
        let error = Error::new("take a new token from the file", Trouble::Credential(what.into()));
        self.login_failed(error);
    }

    async fn begin(&mut self, grant: Grant, renew_at: f64) {
        let now = SystemTime::now();
        self.last_id += 1;
        let session = Session::new(SessionId(self.last_id), grant, now);
        let policies = session.policies.join(",");
        let accessor = &session.accessor;
        say!(Info, "logged in to the secrets server", accessor = accessor, policies = policies);
        (self.failures, self.trouble) = (0, None);
        let kept = Kept::new(session, renew_at, now);
        self.login = kept.login(renew_at, now);
        self.old.extend(self.current.replace(kept));
        if self.old.len() > OLD_LIMIT {
            let oldest = self.old.remove(0);
            say!(Warn, "too many old tokens wait for their leases to be replaced: one is given up");
            self.revoke(&oldest.session).await;
        }
    }

    fn login_failed(&mut self, error: Error) {
        self.failures = self.failures.saturating_add(1);
        let wait = wait(self.failures, self.bao.server().backoff, chance());
        let wait = error.trouble.wait().map_or(wait, |asked| asked.max(wait));
        self.login = Some(after(SystemTime::now(), wait));
        let again = wait.as_millis();
        say!(Warn, "no token of the secrets server", error = error, again_in_ms = again);
        self.trouble = Some(Arc::new(error));
    }

    async fn release(&mut self, id: SessionId) {
        let Some(at) = self.old.iter().position(|kept| kept.session.id == id) else { return };
        let released = self.old.remove(at);
        self.publish();
        self.revoke(&released.session).await;
    }

    fn lost(&mut self, id: SessionId) {
        self.old.retain(|kept| kept.session.id != id);
        if self.current.take_if(|kept| kept.session.id == id).is_some() {
            say!(Warn, "our token was revoked, or its time is over");
            // After a failed login its time stands: nobody is hammered.
            if self.failures == 0 {
                self.login = Some(SystemTime::now());
            }
        }
        self.publish();
    }

    async fn end(&mut self) {
        let sessions: Vec<_> = self.old.drain(..).chain(self.current.take()).collect();
        if self.bao.server().revoke_on_exit {
            for kept in sessions {
                self.revoke(&kept.session).await;
            }
        }
        self.publish();
    }

    /// Ends a token that was made for us; one from a file belongs to somebody else.
    async fn revoke(&self, session: &Session) {
        if !self.logins.are_ours() {
            return;
        }
        if let Err(error) = self.bao.revoke_self(&session.token).await {
            say!(Warn, "an old token lives on until its time is over", error = error);
        }
    }

    fn publish(&self) {
        self.sessions.send_replace(Sessions {
            current: self.current.as_ref().map(|kept| kept.session.clone()),
            old: self.old.iter().map(|kept| kept.session.clone()).collect(),
            trouble: self.trouble.clone(),
        });
    }
}

async fn changed(file: Option<&mut FileWatch>) {
    match file {
        Some(file) => file.changed().await,
        None => future::pending().await,
    }
}
