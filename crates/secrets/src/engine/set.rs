//! One set of files: whenever something that it is made of has changed, its next version goes
//! through a transaction; one at a time.

mod claims;

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pillion_model::secrets::{Confirm, FileSet, Tell};
use pillion_runtime::board::Secret;
use pillion_runtime::say;
use pillion_runtime::watch::FileWatch;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::House;
use super::inputs::{Catalog, Inputs, Mark, Missing, Taken};
use super::plan::{Plan, template_files};
use crate::chance::chance;
use crate::retry::Retry;
use crate::store::{Draft, Found, Recovery, Store};
use crate::tell::App;
use crate::transaction::{self, Change, Context, Outcome, Report};
use claims::Claims;

/// Changes that come together are one version: the wait after the last of them …
const QUIET: Duration = Duration::from_millis(50);
/// … and how long one waits at most.
const LONGEST_GATHERING: Duration = Duration::from_millis(500);
/// Waits after a transaction that did not go through: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// After so many transactions in a row that did not go through, new values are asked for: the same
/// ones have been tried often enough.
pub(super) const REFUSALS: u32 = 4;

/// What a set's task is to do.
#[derive(Clone)]
pub(super) enum Order {
    /// To keep this set up to date.
    Keep(Arc<FileSet>, Rc<Catalog>),
    /// To let go of what it uses, after the grace time. The files stay.
    Remove,
    /// To end at once: the process does.
    End,
}

/// The task of one set.
pub(super) struct SetTask {
    set: Arc<FileSet>,
    house: Rc<House>,
    catalog: Rc<Catalog>,
    store: Option<Store>,
    plan: Option<Plan>,
    inputs: Inputs,
    templates: Vec<FileWatch>,
    claims: Claims,
    /// What was tried last.
    tried: Option<Mark>,
    retry: Retry,
}

impl SetTask {
    pub(super) fn new(set: Arc<FileSet>, catalog: Rc<Catalog>, house: Rc<House>) -> Self {
        Self {
            claims: Claims::new(set.name.clone(), house.clone()),
            set,
            house,
            catalog,
            store: None,
            plan: None,
            inputs: Inputs::default(),
            templates: Vec::new(),
            tried: None,
            retry: Retry::default(),
        }
    }

    /// Keeps the set up to date until it is told to end. When the process ends, it gives back itself:
    /// leases outlive it, as long as nobody lets go of what the app uses.
    pub(super) async fn run(mut self, mut orders: watch::Receiver<Order>) -> Option<Self> {
        self.make_plan();
        let mut news = self.house.watch_news();
        loop {
            self.deliver().await;
            tokio::select! {
                biased;
                _ = orders.changed() => {
                    let order = orders.borrow_and_update().clone();
                    match order {
                        Order::Keep(set, catalog) => self.follow(set, catalog),
                        Order::Remove => {
                            self.remove().await;
                            return None;
                        }
                        Order::End => return Some(self),
                    }
                }
                () = self.retry.due() => {
                    self.retry.begun();
                    self.tried = None;
                }
                () = self.claims.grace_over() => self.forget(),
                () = changed(&mut self.templates) => self.make_plan(),
                _ = news.changed() => gather(&mut news).await,
            }
        }
    }

    /// Takes on a changed configuration. What is the same is not done again.
    fn follow(&mut self, set: Arc<FileSet>, catalog: Rc<Catalog>) {
        let is_other = self.set != set;
        (self.set, self.catalog) = (set, catalog);
        self.make_plan();
        if is_other {
            self.tried = None;
        }
    }

    /// Reads the templates, and asks for what they need. Where that fails, nothing is asked for.
    fn make_plan(&mut self) {
        let paths = template_files(&self.set);
        if !self.templates.iter().map(FileWatch::path).eq(paths.iter().map(|path| path.as_path())) {
            self.templates = paths.into_iter().map(FileWatch::new).collect();
        }
        self.tried = None;
        let planned = Plan::new(&self.set).and_then(|plan| Ok((plan.needs()?, plan)));
        match planned {
            Ok((needs, plan)) => {
                // The new ones before the old ones are dropped: what is in both goes on.
                self.inputs = self.catalog.inputs(&needs);
                self.plan = Some(plan);
            }
            Err(error) => {
                self.plan = None;
                self.fails(&error);
            }
        }
    }

    /// Runs a transaction if there is something new.
    async fn deliver(&mut self) {
        if self.plan.is_none() {
            return;
        }
        let taken = match self.inputs.take() {
            Ok(taken) => taken,
            Err(Missing::Awaited(missing)) => return self.waits(&missing),
            Err(Missing::Unknown(missing)) => return self.fails(&missing),
        };
        if self.tried.as_ref().is_some_and(|tried| tried.is_of(&taken)) || !self.open() {
            return;
        }
        self.tried = Some(taken.mark());
        self.claims.take_over(&self.catalog, &taken);
        let Some(plan) = &self.plan else { return };
        match plan.draft(&taken, self.catalog.settings.limits) {
            Ok(draft) => {
                let delivered = self.claims.begin(taken.clone(), plan.secrets(&taken));
                self.transact(taken, draft, delivered).await;
            }
            // The same values would not make it better: it is tried again with others.
            Err(error) => {
                self.house.status.hit(error.limit());
                self.fails(&error.to_string());
            }
        }
    }

    /// Opens the folder, and finds out how the last process left it.
    fn open(&mut self) -> bool {
        if self.store.is_some() {
            return true;
        }
        match Store::open(&self.set.directory) {
            Ok((store, recovery)) => {
                self.say_recovery(&store, &recovery);
                self.claims.found(&store);
                self.store = Some(store);
                true
            }
            Err(error) => {
                self.try_later();
                self.fails(&error.to_string());
                false
            }
        }
    }

    async fn transact(&mut self, taken: Taken, draft: Draft, delivered: Vec<Secret>) {
        let Some(mut store) = self.store.take() else { return };
        let set = self.told_set(&store);
        let change =
            Change { draft, delivered, notes: claims::notes(&taken), now: SystemTime::now() };
        let house = self.house.clone();
        let lifecycle = house.lifecycle.clone();
        let ready = move || {
            let lifecycle = lifecycle.clone();
            Box::pin(async move { super::app_is_ready(&lifecycle) })
                as Pin<Box<dyn Future<Output = Result<(), String>> + Send>>
        };
        let context = Context {
            set: &set,
            app: App { control: &house.app, ready: &ready },
            delivered: &house.board.delivered,
        };
        let name = self.set.name.clone();
        let mut observe = move |step: crate::store::Step| {
            say!(Debug, "a step of a transaction is done", set = name, step = step.label());
        };
        let report = Box::pin(transaction::run(context, &mut store, change, &mut observe)).await;
        self.conclude(report, &taken, &mut store);
        self.store = Some(store);
    }

    /// The set as it is told of: an app that is started once the first files are there has nobody
    /// to tell and to confirm.
    fn told_set(&self, store: &Store) -> Arc<FileSet> {
        match store.current().is_none() && self.house.app_is_held_back() {
            true => Arc::new(FileSet {
                tell: Tell::Nothing,
                confirm: Confirm::Told,
                ..FileSet::clone(&self.set)
            }),
            false => self.set.clone(),
        }
    }

    /// What follows from a transaction.
    fn conclude(&mut self, report: Report, taken: &Taken, store: &mut Store) {
        let name = &self.set.name;
        self.house.metrics.count(&crate::metrics::TRANSACTIONS, name, report.outcome.label());
        for done in &report.done {
            self.house.metrics.step(done.part.label(), done.took);
        }
        let error = match report.outcome {
            Outcome::Unchanged | Outcome::Settled(_) => None,
            _ => Some(report.to_string()),
        };
        let is_in_use = match report.outcome {
            Outcome::Unchanged | Outcome::Settled(_) | Outcome::Unrecorded(_) => {
                self.claims.settle(self.set.grace);
                self.renote(taken, store);
                true
            }
            Outcome::Standing(_) | Outcome::Stuck(_) => {
                self.claims.add();
                true
            }
            Outcome::Refused | Outcome::Returned { .. } => {
                self.claims.refused();
                false
            }
        };
        self.say_report(&report);
        match error {
            None => self.retry.went_well(),
            Some(_) => self.try_later(),
        }
        if !is_in_use && self.retry.failures().is_multiple_of(REFUSALS) {
            taken.give_up();
        }
        let (version, confirmed) = (store.current(), store.confirmed());
        self.house.status.set(&self.set.name, |set| {
            (set.version, set.confirmed) = (version, confirmed);
            set.is_delivered |= version.is_some();
            set.next_try = self.retry.at();
            (set.has_failed, set.error) = (error.is_some(), error);
            if is_in_use {
                set.uses = taken.generations();
            }
            set.last = Some((report, SystemTime::now()));
        });
    }

    /// The same files may have come with other leases.
    fn renote(&self, taken: &Taken, store: &mut Store) {
        let (Some(version), notes) = (store.current(), claims::notes(taken)) else { return };
        let is_known = store.notes().any(|(noted, known)| noted == version && known == notes);
        if !is_known && let Err(error) = store.note(version, notes) {
            say!(Warn, "leases cannot be noted on disk", set = self.set.name, error = error);
        }
    }

    fn try_later(&mut self) {
        self.retry.failed(SystemTime::now(), BACKOFF, chance());
    }

    /// A grace time is over.
    fn forget(&mut self) {
        self.claims.forget(self.store.as_mut());
    }

    /// What is wrong before a transaction could begin.
    fn fails(&self, error: &str) {
        let (name, mut is_new) = (&self.set.name, false);
        self.house.status.set(name, |set| {
            is_new = set.error.as_deref() != Some(error);
            (set.has_failed, set.error) = (true, Some(error.to_owned()));
            set.next_try = self.retry.at();
        });
        if is_new {
            say!(Error, "a set cannot be made; what is there stays", set = name, error = error);
        }
    }

    fn waits(&self, missing: &str) {
        let awaited = self.inputs.awaited();
        self.house.status.change(|state| {
            let secret = awaited.as_ref().and_then(|name| state.secrets.get(name)?.error.clone());
            let config = awaited.as_ref().and_then(|name| state.configs.get(name)?.error.clone());
            let set = state.sets.entry(self.set.name.clone()).or_default();
            let why = secret.or(config).map(|error| format!(": {error}")).unwrap_or_default();
            (set.has_failed, set.next_try) = (false, None);
            set.error = Some(format!("{missing}{why}"));
        });
    }

    fn say_recovery(&self, store: &Store, recovery: &Recovery) {
        let (name, directory) = (&self.set.name, self.set.directory.display());
        if let Ok(false) = store.is_memory_backed() {
            say!(
                Warn,
                "the folder of a set is on a disk, where secrets outlive their deletion; name one on a tmpfs",
                set = name,
                directory = directory
            );
        }
        if let Some(reason) = &recovery.journal_lost {
            say!(
                Warn,
                "the journal of a set is lost; its files count as confirmed",
                set = name,
                reason = reason
            );
        }
        let (what, version) = match recovery.found {
            Found::Settled => return,
            Found::Dropped(version) => ("a version that was never swapped in is removed", version),
            Found::Unconfirmed(version) => {
                ("nobody has confirmed the current version yet", version)
            }
            Found::Returning(version) => ("the way back from a version goes on", version),
        };
        say!(
            Warn,
            "the last process ended within a transaction",
            set = name,
            version = version,
            found = what
        );
    }

    fn say_report(&self, report: &Report) {
        let name = &self.set.name;
        match report.outcome {
            Outcome::Unchanged => say!(Debug, "a set is unchanged", set = name),
            Outcome::Settled(version) => {
                let took: Duration = report.done.iter().map(|done| done.took).sum();
                say!(
                    Info,
                    "a set has a new version, and the app uses it",
                    set = name,
                    version = version,
                    took_ms = took.as_millis()
                );
            }
            _ => {
                say!(
                    Error,
                    "a set was not changed as it should be",
                    set = name,
                    outcome = report.outcome.label(),
                    what = report,
                    failures = self.retry.failures() + 1
                );
            }
        }
        for warning in &report.warnings {
            say!(Warn, "a check of a set warns", set = name, warning = warning);
        }
    }

    /// The set is not configured any more: what it used is let go after the grace time.
    async fn remove(mut self) {
        (self.inputs, self.store) = (Inputs::default(), None);
        self.claims.end(self.set.grace).await;
    }
}

/// Waits until changes that come together have come.
pub(super) async fn gather(news: &mut watch::Receiver<()>) {
    let end = Instant::now() + LONGEST_GATHERING;
    loop {
        let quiet = (Instant::now() + QUIET).min(end);
        match timeout_at(quiet, news.changed()).await {
            Ok(Ok(())) if Instant::now() < end => {}
            Ok(Err(_)) => return sleep_until(quiet).await,
            Ok(Ok(())) | Err(_) => return,
        }
    }
}

/// Waits until one of the files has other contents.
async fn changed(files: &mut [FileWatch]) {
    let mut waiting: Vec<_> = files.iter_mut().map(|file| Box::pin(file.changed())).collect();
    std::future::poll_fn(|context| {
        match waiting.iter_mut().any(|file| file.as_mut().poll(context).is_ready()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}
