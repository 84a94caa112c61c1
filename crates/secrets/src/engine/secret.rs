//! One secret and its leases: fetched, kept alive, replaced in time, and revoked when nobody uses
//! them any more.
//!
//! Whoever uses a value holds its [`Claim`]. A value that another has replaced keeps its lease
//! until the last claim is let go, so sets that share a secret need not know of each other.

mod generation;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pillion_model::secrets::SecretSource;
use pillion_runtime::say;
use tokio::sync::{Notify, watch};

use super::connection::Bank;
use crate::bao::{Error, Trouble};
use crate::broker::{Failure, Held, Look};
use crate::chance::chance;
use crate::clock::until;
use crate::fetched::{Fetched, Lease};
use crate::lease::{Due, Life, Step};
use crate::metrics::{FETCHES, RENEWALS, REVOCATIONS};
use crate::session::{SessionId, Sessions};
use generation::Generation;

/// A server that has not answered for so long is away: what was kept from the last process is used.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a secret is now, and the right to use it.
#[derive(Clone, Debug)]
pub(super) struct Value {
    /// The values.
    pub(super) fetched: Arc<Fetched>,
    /// The first values have number 1, the next 2.
    pub(super) generation: u64,
    /// Their lease is not revoked while this is held.
    pub(super) claim: Rc<Claim>,
}

/// The right to use a lease.
#[derive(Debug)]
pub(super) struct Claim {
    /// `None` for values that have none.
    pub(super) lease: Option<Lease>,
    /// Somebody has found that these values do no good.
    given_up: Cell<bool>,
    let_go: Rc<Notify>,
}

impl Claim {
    fn new(lease: Option<Lease>, let_go: Rc<Notify>) -> Self {
        Self { lease, given_up: Cell::new(false), let_go }
    }

    /// Says that these values do no good.
    pub(super) fn give_up(&self) {
        self.given_up.set(true);
        self.let_go.notify_one();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.let_go.notify_one();
    }
}

/// What a secret is shown by: the newest value, as soon as there is one.
pub(super) type Shown = watch::Sender<Option<Value>>;

/// The task of one secret.
pub(super) struct SecretTask {
    /// Its number: a newer one for the same name has a greater one.
    number: u64,
    source: Arc<SecretSource>,
    bank: Rc<Bank>,
    /// `None` once nobody wants it any more.
    shown: Option<Rc<Shown>>,
    newest: Option<Generation>,
    /// Replaced, but still claimed; or let go, and not revoked yet.
    old: Vec<Generation>,
    let_go: Rc<Notify>,
    count: u64,
    /// While there is nothing yet: when it is tried again.
    retry: SystemTime,
    began: SystemTime,
}

impl SecretTask {
    /// A secret that is fetched as soon as this runs.
    pub(super) fn new(source: Arc<SecretSource>, bank: Rc<Bank>, shown: Option<Rc<Shown>>) -> Self {
        Self {
            number: bank.house.next_task(),
            source,
            bank,
            shown,
            newest: None,
            old: Vec::new(),
            let_go: Rc::default(),
            count: 0,
            retry: SystemTime::now(),
            began: SystemTime::now(),
        }
    }

    /// Takes on a lease of an earlier life of this process, which is kept alive until the claim is
    /// let go.
    pub(super) fn adopt(&mut self, lease: Lease) -> Rc<Claim> {
        let at = SystemTime::now();
        let claim = Rc::new(Claim::new(Some(lease.clone()), self.let_go.clone()));
        let data = BTreeMap::new();
        let fetched = Fetched { data, lease: Some(lease), version: None, at };
        let mut life = self.life(&fetched);
        // Nobody knows how old it is: it is extended at once.
        life.failed(at, Duration::ZERO);
        self.old.push(Generation {
            fetched: Arc::new(fetched),
            life,
            claim: Rc::downgrade(&claim),
            bound: None,
            revoke_at: None,
            session: None,
        });
        claim
    }

    /// Keeps the secret until nobody wants it, and its leases until nobody uses them. `revoke`
    /// becomes true when the process ends and every lease is to end with it.
    pub(super) async fn run(mut self, mut revoke: watch::Receiver<bool>) {
        let mut sessions = self.bank.broker.tokens().watch();
        while self.shown.is_some() || !self.old.is_empty() {
            self.show();
            let shown = self.shown.clone();
            tokio::select! {
                () = until(self.due()) => self.act().await,
                () = self.let_go.notified() => self.replace_given_up().await,
                Ok(()) = sessions.changed() => self.bind(&sessions.borrow_and_update().clone()),
                () = unwanted(shown) => self.retire(),
                Ok(_) = revoke.wait_for(|revoke| *revoke) => return self.revoke_all().await,
            }
            self.sweep().await;
        }
        self.show();
    }

    /// The earliest of what is due.
    fn due(&self) -> Option<SystemTime> {
        let newest = match (&self.newest, &self.shown) {
            (Some(newest), _) => Some(newest.life.due().at),
            (None, Some(_)) => Some(self.retry),
            (None, None) => None,
        };
        newest.into_iter().chain(self.old.iter().filter_map(Generation::due_when_old)).min()
    }

    async fn act(&mut self) {
        let now = SystemTime::now();
        for at in 0..self.old.len() {
            if let Some(old) = self.old.get(at)
                && old.renews_when_old(now)
            {
                let renewed = self.renew(old).await;
                if let Some(old) = self.old.get_mut(at) {
                    old.learn(renewed);
                }
            }
        }
        match self.newest.as_ref().map(|newest| newest.life.due()) {
            None if self.shown.is_some() && self.retry <= now => self.fetch().await,
            Some(Due { what, at }) if at <= now => self.step(what).await,
            _ => {}
        }
    }

    async fn step(&mut self, what: Step) {
        match what {
            Step::Replace => self.fetch().await,
            Step::Look => self.look().await,
            Step::Renew => {
                let Some(newest) = &self.newest else { return };
                let renewed = self.renew(newest).await;
                match &renewed {
                    Ok(_) => self.went_well(),
                    Err(failure) => self.went_wrong(failure),
                }
                if let Some(newest) = &mut self.newest {
                    newest.learn(renewed);
                    self.bank.cached.keep(&self.source, &newest.fetched, newest.life.ends());
                }
            }
        }
    }

    async fn renew(&self, generation: &Generation) -> Result<Lease, Failure> {
        let (id, asked) = generation.life.renewal().unwrap_or(("", Duration::ZERO));
        let renewed = self.bank.broker.renew(id, asked).await;
        let result =
            renewed.as_ref().map_or_else(|failure| failure.error.trouble.label(), |_| "ok");
        self.bank.house.metrics.count(&RENEWALS, &self.source.name, result);
        renewed
    }

    async fn fetch(&mut self) {
        let fetched = self.bank.broker.fetch(&self.source).await;
        self.counted(fetched.as_ref().map(|_| "ok").map_err(|failure| &*failure.error));
        match fetched {
            Ok(held) => self.replace(held),
            Err(failure) => self.fetch_failed(&failure),
        }
    }

    /// Replaces a lease that nobody uses, and that whoever tried it has given up.
    async fn replace_given_up(&mut self) {
        let claim = self.newest.as_ref().filter(|newest| newest.is_leased());
        let Some(claim) = claim.and_then(|newest| newest.claim.upgrade()) else { return };
        // One is shown to whoever may want it, and one is here.
        if claim.given_up.take() && Rc::strong_count(&claim) == 2 {
            drop(claim);
            let secret = &self.source.name;
            say!(Info, "a lease that did no good is replaced", secret = secret);
            self.fetch().await;
        }
    }

    async fn look(&mut self) {
        let Some(newest) = &self.newest else { return };
        let last = newest.fetched.clone();
        let looked = self.bank.broker.look(&self.source, &last).await;
        let is_same = match &looked {
            Ok(Look::Unchanged) => true,
            Ok(Look::Fetched(held)) => held.fetched.data == last.data,
            Err(_) => false,
        };
        let result = if is_same { "unchanged" } else { "ok" };
        self.counted(looked.as_ref().map(|_| result).map_err(|failure| &*failure.error));
        match looked {
            Ok(Look::Fetched(held)) if !is_same => self.replace(held),
            Ok(Look::Unchanged | Look::Fetched(_)) => {
                if let Some(newest) = &mut self.newest {
                    newest.life.unchanged(SystemTime::now(), chance());
                }
                self.went_well();
            }
            Err(failure) => self.fetch_failed(&failure),
        }
    }

    fn fetch_failed(&mut self, failure: &Failure) {
        self.went_wrong(failure);
        let now = SystemTime::now();
        match &mut self.newest {
            Some(newest) => newest.life.failed(now, failure.wait),
            None => {
                self.retry = now.checked_add(failure.wait).unwrap_or(now);
                if now.duration_since(self.began).is_ok_and(|waited| waited > PATIENCE) {
                    self.restore(&failure.error.trouble, now);
                }
            }
        }
    }

    /// The server is away: what the last process knew is better than nothing.
    fn restore(&mut self, trouble: &Trouble, now: SystemTime) {
        let is_away = trouble.is_of_the_server() || matches!(trouble, Trouble::NoAnswer(_));
        let kept = self.bank.cached.restore(&self.source, now).filter(|_| is_away);
        if let Some(fetched) = kept {
            let name = &self.source.name;
            say!(
                Warn,
                "a secret comes from the sealed cache, as the server is away",
                secret = name
            );
            let error = self.bank.house.status.read(|state| {
                state.secrets.get(name).map(|secret| (secret.failing_since, secret.error.clone()))
            });
            self.replace(Held { fetched: Arc::new(fetched), session: SessionId(0) });
            // It is as stale as before.
            if let Some(error) = error {
                let name = &self.source.name;
                self.bank
                    .house
                    .status
                    .secret(name, self.number, |it| (it.failing_since, it.error) = error);
            }
        }
    }

    fn counted(&self, result: Result<&str, &Error>) {
        let label = result.unwrap_or_else(|error| error.trouble.label());
        self.bank.house.metrics.count(&FETCHES, &self.source.name, label);
    }

    /// Shows new values. The old ones live on for as long as somebody claims them.
    fn replace(&mut self, held: Held) {
        let Some(shown) = self.shown.clone() else { return };
        let Held { fetched, session } = held;
        self.count += 1;
        let lease = fetched.lease.clone().filter(|lease| !lease.id.is_empty());
        let is_leased = lease.is_some();
        let claim = Rc::new(Claim::new(lease, self.let_go.clone()));
        let generation = Generation {
            life: self.life(&fetched),
            fetched: fetched.clone(),
            claim: Rc::downgrade(&claim),
            bound: None,
            revoke_at: None,
            session: is_leased.then(|| self.bank.ledger.enter(session)),
        };
        self.went_well();
        say!(
            Info,
            "a secret has new values",
            secret = self.source.name,
            generation = self.count,
            lease = fetched.lease.as_ref().map_or("none", |lease| lease.id.as_str())
        );
        self.bank.cached.keep(&self.source, &fetched, None);
        self.old.extend(self.newest.replace(generation).filter(Generation::is_leased));
        shown.send_replace(Some(Value { fetched, generation: self.count, claim }));
        self.bank.house.news();
        // The session may have been replaced while the answer was on its way.
        self.bind(&self.bank.broker.tokens().watch().borrow().clone());
    }

    fn life(&self, fetched: &Fetched) -> Life {
        Life::new(fetched, self.source.interval, self.bank.broker.renew_at(), chance())
    }

    /// Leases die with their session: those whose session is not extended are replaced before.
    fn bind(&mut self, sessions: &Sessions) {
        let now = SystemTime::now();
        for generation in self.newest.iter_mut().chain(&mut self.old) {
            generation.bind(sessions, now);
        }
    }

    /// Nobody wants the secret any more; who uses a value of it keeps it alive.
    fn retire(&mut self) {
        if self.shown.take_if(|shown| shown.receiver_count() == 0).is_none() {
            // Somebody has come since.
            return;
        }
        self.bank.house.status.forget_secret(&self.source.name, self.number);
        self.bank.cached.forget(&self.source);
        self.old.extend(self.newest.take().filter(Generation::is_leased));
    }

    /// Revokes what was let go, and forgets what has ended.
    async fn sweep(&mut self) {
        let now = SystemTime::now();
        self.old.retain(|old| !old.has_ended(now));
        let mut at = 0;
        while let Some(old) = self.old.get_mut(at) {
            let is_due = old.claim.strong_count() == 0 && old.revoke_at.is_none_or(|at| at <= now);
            if !is_due {
                at += 1;
                continue;
            }
            let id = old.lease_id().to_owned();
            match self.revoke(&id).await {
                Ok(()) => drop(self.old.remove(at)),
                Err(failure) => {
                    let (secret, error) = (&self.source.name, &failure.error);
                    say!(
                        Warn,
                        "an old lease cannot be revoked now; it is tried again until it ends by itself",
                        secret = secret,
                        lease = id,
                        error = error
                    );
                    if let Some(old) = self.old.get_mut(at) {
                        // Not at once, however short the server wants it.
                        let wait = failure.wait.max(Duration::from_millis(100));
                        old.revoke_at = now.checked_add(wait);
                    }
                    at += 1;
                }
            }
        }
    }

    async fn revoke(&self, id: &str) -> Result<(), Failure> {
        let revoked = self.bank.broker.revoke(id).await;
        let result =
            revoked.as_ref().map_or_else(|failure| failure.error.trouble.label(), |()| "ok");
        self.bank.house.metrics.count(&REVOCATIONS, &self.source.name, result);
        if revoked.is_ok() {
            say!(Info, "an old lease is revoked", secret = self.source.name, lease = id);
        }
        revoked
    }

    /// The process ends, and every lease with it.
    async fn revoke_all(&mut self) {
        let all = self.newest.take().into_iter().chain(std::mem::take(&mut self.old));
        for generation in all.filter(Generation::is_leased).collect::<Vec<_>>() {
            let id = generation.lease_id();
            if let Err(failure) = self.revoke(id).await {
                self.bank.unrevoked.update(|count| count + 1);
                let (secret, error) = (&self.source.name, &failure.error);
                say!(
                    Warn,
                    "a lease cannot be revoked; it ends with our token, or by itself",
                    secret = secret,
                    lease = id,
                    error = error
                );
            }
        }
    }

    fn went_well(&self) {
        let (name, now) = (&self.source.name, SystemTime::now());
        let was_failing = self.bank.house.status.read(|state| {
            state.secrets.get(name).is_some_and(|secret| secret.failing_since.is_some())
        });
        if was_failing {
            say!(Info, "a secret can be refreshed again", secret = name);
        }
        self.bank.house.status.secret(name, self.number, |secret| {
            (secret.failing_since, secret.error) = (None, None);
            secret.refreshed = Some(now);
        });
    }

    fn went_wrong(&self, failure: &Failure) {
        let (name, error) = (&self.source.name, failure.reason());
        self.bank.house.status.hit(failure.error.trouble.limit());
        // Where another one keeps a secret of this name, nobody is concerned.
        let mut is_new = false;
        self.bank.house.status.secret(name, self.number, |secret| {
            is_new = secret.error.as_ref() != Some(&error);
            secret.failing_since.get_or_insert_with(SystemTime::now);
            secret.error = Some(error.clone());
            secret.last_error = Some((error.clone(), SystemTime::now()));
        });
        if is_new {
            say!(
                Warn,
                "a secret cannot be refreshed; what was delivered stays",
                secret = name,
                error = error,
                again_in_ms = failure.wait.as_millis()
            );
        }
    }

    /// Writes what it is into the status.
    fn show(&self) {
        let name = &self.source.name;
        if self.shown.is_none() {
            // Another task may have the name by now.
            return;
        }
        let next = match &self.newest {
            Some(newest) => newest.life.due(),
            None => Due { what: Step::Replace, at: self.retry },
        };
        self.bank.house.status.secret(name, self.number, |secret| {
            secret.path.clone_from(&self.source.path);
            secret.generation = self.count;
            secret.next = Some((next.what, next.at));
            secret.old_leases = self.old.len();
            let Some(newest) = &self.newest else { return };
            secret.version = newest.fetched.version;
            secret.lease = newest.is_leased().then(|| newest.lease_id().to_owned());
            secret.lease_ends = newest.life.ends();
            secret.fetched = Some(newest.fetched.at);
        });
    }
}

/// Waits until nobody wants a secret any more.
async fn unwanted(shown: Option<Rc<Shown>>) {
    match shown {
        Some(shown) => shown.closed().await,
        None => std::future::pending().await,
    }
}
