//! The variables of the supervised app: a transaction of its own, where the app is restarted to get
//! new values.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use pillion_model::secrets::Environment;
use pillion_runtime::board::Secret;
use pillion_runtime::say;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::House;
use super::inputs::{Catalog, Input, Inputs, Mark, Missing, Taken};
use super::set::REFUSALS;
use crate::chance::chance;
use crate::metrics::TRANSACTIONS;
use crate::retry::Retry;

/// Whom the board knows the values by; no set can have this name.
pub(super) const OWNER: &str = "the environment";
/// How often one looks whether it is.
const LOOK: Duration = Duration::from_millis(50);
/// Leases of values that an app was started with live on after the next ones are confirmed.
const GRACE: Duration = Duration::from_secs(10);
/// Waits after an app that was not ready: the first, and the longest. Each try takes the app away.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
/// Values that are kept while nobody restarts the app: it may use any of them.
const KEPT: usize = 16;

/// What the environment's task is to do.
#[derive(Clone)]
pub(super) enum Order {
    /// To keep these variables up to date.
    Keep(Environment, Rc<Catalog>),
    /// To end at once: the process does.
    End,
}

/// The task of the environment.
pub(super) struct EnvironmentTask {
    environment: Environment,
    house: Rc<House>,
    inputs: Inputs,
    /// What the app uses, and the values that it may use still.
    in_use: Vec<Taken>,
    tried: Option<Mark>,
    retry: Retry,
}

impl EnvironmentTask {
    pub(super) fn new(environment: Environment, catalog: &Catalog, house: Rc<House>) -> Self {
        let mut task = Self {
            environment: Environment::default(),
            house,
            inputs: Inputs::default(),
            in_use: Vec::new(),
            tried: None,
            retry: Retry::default(),
        };
        task.follow(environment, catalog);
        task
    }

    /// Keeps the variables up to date until it is told to end; then it gives back itself, as leases
    /// outlive it.
    pub(super) async fn run(mut self, mut orders: watch::Receiver<Order>) -> Self {
        let mut news = self.house.watch_news();
        loop {
            self.deliver().await;
            tokio::select! {
                biased;
                _ = orders.changed() => {
                    let order = orders.borrow_and_update().clone();
                    match order {
                        Order::Keep(environment, catalog) => self.follow(environment, &catalog),
                        Order::End => return self,
                    }
                }
                () = self.retry.due() => {
                    self.retry.begun();
                    self.tried = None;
                }
                _ = news.changed() => super::set::gather(&mut news).await,
            }
        }
    }

    fn follow(&mut self, environment: Environment, catalog: &Catalog) {
        let mut needs: Vec<Input> = environment
            .variables
            .iter()
            .map(|(_, secret, _)| Input::Secret(secret.clone()))
            .collect();
        needs.sort();
        needs.dedup();
        self.inputs = catalog.inputs(&needs);
        if self.environment != environment {
            (self.environment, self.tried) = (environment, None);
        }
    }

    async fn deliver(&mut self) {
        let taken = match self.inputs.take() {
            Ok(taken) => taken,
            Err(Missing::Awaited(missing) | Missing::Unknown(missing)) => {
                return self.house.status.set(&OWNER.into(), |set| set.error = Some(missing));
            }
        };
        if self.tried.as_ref().is_some_and(|tried| tried.is_of(&taken)) {
            return;
        }
        self.tried = Some(taken.mark());
        let new = match variables(&self.environment, &taken) {
            Ok(new) => new,
            Err(error) => return self.fails("refused", error),
        };
        let board = &self.house.board;
        let old = board.environment.current();
        if old == new {
            return self.settle(taken, "unchanged");
        }
        board.delivered.replace(OWNER, old.iter().chain(&new).map(|(_, it)| it.clone()).collect());
        board.environment.replace(new);
        // There is nobody to restart before the first values are there, or the app does not want to
        // be restarted: it gets them with its next start.
        if old.is_empty() && self.house.app_is_held_back() || !self.environment.restart {
            return self.settle(taken, "settled");
        }
        match self.restart().await {
            Ok(()) => self.settle(taken, "settled"),
            Err(error) => self.go_back(old, &taken, &error).await,
        }
    }

    /// Restarts the app and waits until it is ready.
    async fn restart(&self) -> Result<(), String> {
        let restarted = async {
            let started = self.house.app.restart().await.map_err(|refusal| refusal.to_string())?;
            let ready = async {
                while super::app_is_ready(&self.house.lifecycle).is_err() {
                    sleep(LOOK).await;
                }
            };
            tokio::select! {
                biased;
                () = ready => Ok(()),
                how = started.ended() => Err(format!("the app {how}")),
            }
        };
        let limit = self.environment.confirm_timeout;
        timeout(limit, restarted).await.unwrap_or_else(|_| {
            let why = super::app_is_ready(&self.house.lifecycle).err();
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            Err(format!(
                "the app was not ready within secrets.environment.confirm_timeout, {limit:?}{why}"
            ))
        })
    }

    async fn go_back(&mut self, old: Vec<(String, Secret)>, taken: &Taken, error: &str) {
        self.house.board.environment.replace(old);
        let back = self.restart().await;
        let told = back.as_ref().err().map_or(
            "the app is ready with the old variables",
            |_| "the app is not ready with the old variables either",
        );
        self.retry.failed(SystemTime::now(), BACKOFF, chance());
        if self.retry.failures().is_multiple_of(REFUSALS) {
            taken.give_up();
        }
        self.fails("returned", format!("{error}; {told}"));
    }

    fn fails(&self, outcome: &str, error: String) {
        self.house.metrics.count(&TRANSACTIONS, OWNER, outcome);
        say!(Error, "the app's variables are not changed", outcome = outcome, error = error);
        self.house.status.set(&OWNER.into(), |set| {
            (set.has_failed, set.error) = (true, Some(error));
            set.next_try = self.retry.at();
        });
    }

    fn settle(&mut self, taken: Taken, outcome: &str) {
        self.retry.went_well();
        self.house.metrics.count(&TRANSACTIONS, OWNER, outcome);
        say!(
            Info,
            "the app's variables are set",
            variables = self.environment.variables.len(),
            restarted = self.environment.restart && !self.in_use.is_empty()
        );
        let uses = taken.generations();
        self.in_use.push(taken);
        if self.environment.restart {
            let old = self.in_use.drain(..self.in_use.len() - 1).collect::<Vec<_>>();
            tokio::task::spawn_local(async move {
                sleep(GRACE).await;
                drop(old);
            });
        } else if self.in_use.len() > KEPT {
            self.in_use.remove(0);
        }
        self.house.status.set(&OWNER.into(), |set| {
            (set.error, set.has_failed, set.next_try) = (None, false, None);
            set.is_delivered = true;
            set.uses = uses;
        });
    }
}

fn variables(environment: &Environment, taken: &Taken) -> Result<Vec<(String, Secret)>, String> {
    let variables = environment.variables.iter();
    variables.map(|(name, secret, key)| Ok((name.clone(), taken.key(secret, key)?))).collect()
}
