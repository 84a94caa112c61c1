//! The secrets role at work: a task for each secret, for each configuration source, and for each set
//! of files. They meet in values: a set looks at what it is made of, and whoever changes one of
//! these says so. Everything is on one thread.

mod api;
mod cached;
mod config;
mod configs;
mod connection;
mod environment;
mod inputs;
mod ledger;
mod plan;
mod secret;
mod set;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use pillion_model::secrets::{Cache, FileSet, Readiness, Secrets, Server};
use pillion_runtime::board::{AppControl, Board};
use pillion_runtime::lifecycle::Lifecycle;
use pillion_runtime::say;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, timeout, timeout_at};

use crate::chance::chance;
use crate::metrics::Metrics;
use crate::retry::Retry;
use crate::role::{CONDITION, Context};
use crate::status::{ServerState, Status};
use cached::Cached;
use configs::Configs;
use connection::{Bank, Connection};
use environment::EnvironmentTask;
use inputs::Catalog;
use set::SetTask;

/// The condition that the supervised app is ready.
const APP: &str = "app";
/// How often staleness is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What all tasks share.
pub(crate) struct House {
    board: Board,
    app: AppControl,
    lifecycle: Lifecycle,
    /// Whether an app is started by us, once everything is delivered.
    supervised: bool,
    status: Status,
    metrics: Metrics,
    news: watch::Sender<()>,
    /// Tasks of secrets that there ever were.
    secret_tasks: Cell<u64>,
}

impl House {
    /// A number for the task of a secret, greater than those of all such tasks before.
    fn next_task(&self) -> u64 {
        self.secret_tasks.update(|tasks| tasks + 1);
        self.secret_tasks.get()
    }

    /// Says that something has other values.
    fn news(&self) {
        self.news.send_replace(());
    }

    fn watch_news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Whether the app is not started before everything is delivered, so that it cannot be told.
    fn app_is_held_back(&self) -> bool {
        self.supervised && self.lifecycle.status().missing.contains_key(CONDITION)
    }
}

/// Whether the app is ready; where not, what is missing.
fn app_is_ready(lifecycle: &Lifecycle) -> Result<(), String> {
    lifecycle.status().missing.remove(APP).map_or(Ok(()), Err)
}

/// Everything that runs.
pub(crate) struct Engine {
    house: Rc<House>,
    configs: Rc<Configs>,
    settings: Arc<Secrets>,
    /// What the connection was made for.
    made_for: Option<(Server, Option<Cache>)>,
    connection: Option<Rc<Connection>>,
    /// What is kept of each server, as long as it is: a reload may have replaced some of them.
    banks: Vec<Weak<Bank>>,
    /// After a server that cannot be set up.
    retry: Retry,
    sets: BTreeMap<Arc<str>, Set>,
    environment: Option<(watch::Sender<environment::Order>, JoinHandle<EnvironmentTask>)>,
    api: Option<api::Running>,
    readiness: watch::Sender<Readiness>,
    watching: JoinHandle<()>,
}

/// A set, and the way to its task.
struct Set {
    directory: PathBuf,
    orders: watch::Sender<set::Order>,
    task: JoinHandle<Option<SetTask>>,
}

impl Engine {
    /// Nothing is asked for yet.
    pub(crate) fn new(context: &Context) -> Self {
        let house = Rc::new(House {
            board: context.board.clone(),
            app: context.app.clone(),
            lifecycle: context.lifecycle.clone(),
            supervised: context.supervised,
            status: context.status.clone(),
            metrics: Metrics::new(context.registry.clone()),
            news: watch::Sender::new(()),
            secret_tasks: Cell::new(0),
        });
        let settings = context.settings.borrow().clone();
        let readiness = watch::Sender::new(settings.readiness);
        let watching = spawn_local(watch_readiness(house.clone(), readiness.subscribe()));
        Self {
            configs: Rc::new(Configs::new(house.clone())),
            house,
            settings,
            made_for: None,
            connection: None,
            banks: Vec::new(),
            retry: Retry::default(),
            sets: BTreeMap::new(),
            environment: None,
            api: None,
            readiness,
            watching,
        }
    }

    /// Waits until a server that could not be set up is to be tried again.
    pub(crate) async fn retry(&self) {
        self.retry.due().await;
    }

    /// Does what the settings say now. What they have in common with the last ones goes on.
    pub(crate) fn apply(&mut self, settings: Arc<Secrets>) {
        // The old connection, until everything has gone over to the new one.
        let before = self.connect(&settings);
        self.settings = settings;
        let catalog = Rc::new(Catalog {
            connection: self.connection.clone(),
            settings: self.settings.clone(),
            configs: self.configs.clone(),
        });
        self.end_removed();
        for set in self.settings.clone().sets.iter() {
            self.keep(set, &catalog);
        }
        self.keep_environment(&catalog);
        self.keep_api();
        self.readiness.send_replace(self.settings.readiness);
        drop(before);
    }

    /// Makes the client, if the server or its cache is another one, or it could not be set up.
    /// Returns the old one.
    fn connect(&mut self, settings: &Secrets) -> Option<Rc<Connection>> {
        let wanted = settings.server.clone().map(|server| (server, settings.cache.clone()));
        if wanted == self.made_for && self.retry.at().is_none() {
            return None;
        }
        self.retry.begun();
        self.made_for = wanted;
        let before = self.connection.take();
        if let Some(before) = &before {
            before.step_back();
        }
        let Some((server, cache)) = &self.made_for else {
            self.house.status.server(None);
            return before;
        };
        let cached = Rc::new(Cached::open(cache.as_ref(), server));
        // A token in the cache may be that of a replaced server, which ends it.
        let is_taken = self.banks().any(|bank| bank.revokes_on_exit());
        let adopted = cached.session(SystemTime::now()).filter(|_| !is_taken);
        match Connection::new(server, adopted, cached, self.house.clone()) {
            Ok(connection) => {
                self.banks.retain(|bank| bank.strong_count() > 0);
                self.banks.push(connection.bank());
                self.connection = Some(connection);
                self.retry.went_well();
            }
            Err(error) => {
                let wait = self.retry.failed(SystemTime::now(), server.backoff, chance());
                let trouble = format!("the secrets server cannot be used: {error}");
                say!(Error, "{trouble}", server = server.url, again_in_ms = wait.as_millis());
                self.house.status.server(Some(ServerState {
                    url: server.url.clone(),
                    bao: None,
                    sessions: crate::session::Sessions::default(),
                    trouble: Some(trouble),
                }));
            }
        }
        before
    }

    fn banks(&self) -> impl Iterator<Item = Rc<Bank>> {
        self.banks.iter().filter_map(Weak::upgrade)
    }

    /// Ends sets that are gone, or have moved to another folder.
    fn end_removed(&mut self) {
        let settings = self.settings.clone();
        let stays = |name: &Arc<str>, set: &Set| {
            let same = |new: &Arc<FileSet>| new.name == *name && new.directory == set.directory;
            settings.sets.iter().any(same)
        };
        let gone: Vec<_> = self
            .sets
            .iter()
            .filter(|(name, set)| !stays(name, set))
            .map(|(n, _)| n.clone())
            .collect();
        for name in gone {
            if let Some(set) = self.sets.remove(&name) {
                // It lets go of its folder at once, and of its leases after the grace time.
                set.orders.send_replace(set::Order::Remove);
                self.house.status.change(|state| drop(state.sets.remove(&name)));
            }
        }
    }

    fn keep(&mut self, set: &Arc<FileSet>, catalog: &Rc<Catalog>) {
        if let Some(known) = self.sets.get(&set.name) {
            known.orders.send_replace(set::Order::Keep(set.clone(), catalog.clone()));
            return;
        }
        self.house.status.set(&set.name, |_| {});
        let order = set::Order::Keep(set.clone(), catalog.clone());
        let (orders, received) = watch::channel(order);
        let task = SetTask::new(set.clone(), catalog.clone(), self.house.clone());
        let task = spawn_local(task.run(received));
        self.sets.insert(set.name.clone(), Set { directory: set.directory.clone(), orders, task });
    }

    fn keep_environment(&mut self, catalog: &Rc<Catalog>) {
        let wanted = &self.settings.environment;
        let order = environment::Order::Keep(wanted.clone(), catalog.clone());
        match &self.environment {
            Some((orders, _)) => drop(orders.send_replace(order)),
            None if wanted.variables.is_empty() => {}
            None => {
                self.house.status.set(&environment::OWNER.into(), |_| {});
                let (orders, received) = watch::channel(order);
                let task = EnvironmentTask::new(wanted.clone(), catalog, self.house.clone());
                self.environment = Some((orders, spawn_local(task.run(received))));
            }
        }
    }

    fn keep_api(&mut self) {
        let (Some(wanted), Some(connection)) = (&self.settings.api, &self.connection) else {
            self.api = None;
            return;
        };
        let server = self.made_for.as_ref().map(|(server, _)| server);
        let is_there = |api: &api::Running| server.is_some_and(|server| api.is_for(wanted, server));
        if !self.api.as_ref().is_some_and(is_there) {
            let before = self.api.take();
            let status = self.house.status.clone();
            self.api = Some(api::Running::start(wanted.clone(), connection, status, before));
        }
    }

    /// Ends everything: transactions that are under way are finished, leases revoked if that is
    /// configured, up to `deadline`. Files stay where they are.
    pub(crate) async fn end(mut self, deadline: Instant) {
        self.watching.abort();
        self.api = None;
        for set in self.sets.values() {
            set.orders.send_replace(set::Order::End);
        }
        let environment = self.environment.take().map(|(orders, task)| {
            orders.send_replace(environment::Order::End);
            task
        });
        // What they give back has the claims: without them, leases would be revoked.
        let mut held = Vec::new();
        for set in std::mem::take(&mut self.sets).into_values() {
            held.push(ended(set.task, deadline).await);
        }
        let _held = match environment {
            Some(task) => ended(task, deadline).await,
            None => None,
        };
        connection::end(self.banks(), deadline).await;
        self.house.lifecycle.meet(CONDITION);
    }
}

/// What a task gives back at its end.
async fn ended<T>(task: JoinHandle<T>, deadline: Instant) -> Option<T> {
    let ended = timeout_at(deadline.into(), task).await;
    if ended.is_err() {
        say!(Warn, "a transaction is cut off; the next start takes it up");
    }
    ended.ok()?.ok()
}

/// Says in the life of the process whether everything is delivered and fresh.
async fn watch_readiness(house: Rc<House>, mut readiness: watch::Receiver<Readiness>) {
    let mut changes = house.status.watch();
    loop {
        let Readiness { wait, max_stale } = *readiness.borrow_and_update();
        changes.mark_unchanged();
        let mut missing = None;
        house.status.look(|state| missing = state.missing(wait, max_stale, SystemTime::now()));
        match missing {
            Some(why) => house.lifecycle.miss(CONDITION, why),
            None => house.lifecycle.meet(CONDITION),
        }
        let change = async {
            tokio::select! {
                _ = changes.changed() => {}
                _ = readiness.changed() => {}
            }
        };
        match max_stale {
            // An error: it is time to look.
            Some(_) => drop(timeout(LOOK, change).await),
            None => change.await,
        }
        // Many changes come together.
        sleep(Duration::from_millis(10)).await;
    }
}
