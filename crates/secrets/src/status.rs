//! What the role is doing, for people, probes and metrics: written by its tasks, read by any thread.
//! There is no secret value in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use pillion_runtime::metrics::{Registry, Samples};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::api::{Counters, Numbers};
use crate::bao::Bao;
use crate::lease::Step;
use crate::metrics::{
    AGE, API_IN_FLIGHT, API_JOINED, API_KEPT, API_REQUESTS, LIMIT_HITS, NEXT, REQUESTS, SESSION,
    SET_CONFIRMED, SET_VERSION, STALENESS, VERSION,
};
use crate::session::Sessions;
use crate::store::Version;
use crate::transaction::Report;

/// The state of the role. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Status(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<()>,
    /// Of the local interface.
    counters: Arc<Counters>,
}

/// Everything that is known at one moment.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) server: Option<ServerState>,
    /// Requests to servers before this one.
    requests_before: u64,
    pub(crate) secrets: BTreeMap<Arc<str>, SecretState>,
    pub(crate) configs: BTreeMap<Arc<str>, ConfigState>,
    pub(crate) sets: BTreeMap<Arc<str>, SetState>,
    /// Once everything was delivered for the first time, a set that is added later makes nobody
    /// wait.
    pub(crate) has_begun: bool,
    /// Where the local interface is served.
    api: Option<String>,
    /// Times that a limit refused something, by its key; those of the local interface are not here.
    limit_hits: BTreeMap<&'static str, u64>,
}

/// The server.
#[derive(Debug)]
pub(crate) struct ServerState {
    pub(crate) url: Arc<str>,
    /// `None`: it cannot be asked, for the reason in `trouble`.
    pub(crate) bao: Option<Bao>,
    pub(crate) sessions: Sessions,
    pub(crate) trouble: Option<String>,
}

/// One secret.
#[derive(Clone, Debug, Default)]
pub(crate) struct SecretState {
    /// The task that keeps it, by its number: a newer one has a greater one.
    task: u64,
    pub(crate) path: String,
    /// How many times its values have changed; 0: there are none yet.
    pub(crate) generation: u64,
    pub(crate) version: Option<u64>,
    pub(crate) lease: Option<String>,
    pub(crate) lease_ends: Option<SystemTime>,
    pub(crate) fetched: Option<SystemTime>,
    pub(crate) refreshed: Option<SystemTime>,
    pub(crate) next: Option<(Step, SystemTime)>,
    /// Old leases that are kept or being revoked.
    pub(crate) old_leases: usize,
    pub(crate) failing_since: Option<SystemTime>,
    pub(crate) error: Option<String>,
    /// The last error, also after it is over.
    pub(crate) last_error: Option<(String, SystemTime)>,
}

/// One configuration source.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigState {
    pub(crate) version: Option<String>,
    pub(crate) changed: Option<SystemTime>,
    pub(crate) failing_since: Option<SystemTime>,
    pub(crate) error: Option<String>,
}

/// One set, or the environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct SetState {
    pub(crate) version: Option<Version>,
    pub(crate) confirmed: Option<Version>,
    /// What the app uses of each secret: its generation.
    pub(crate) uses: BTreeMap<Arc<str>, u64>,
    /// Whether there was anything for the app to start with.
    pub(crate) is_delivered: bool,
    /// What it waits for, or what is wrong with it.
    pub(crate) error: Option<String>,
    /// Whether something is wrong: it does not only wait.
    pub(crate) has_failed: bool,
    pub(crate) last: Option<(Report, SystemTime)>,
    pub(crate) next_try: Option<SystemTime>,
}

impl Status {
    /// The state of a role that has not begun, whose numbers are in this registry.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let status = Self::default();
        let seen = status.clone();
        registry.collector(Box::new(move |samples| {
            seen.lock().sample(samples, &seen.0.counters.numbers(), SystemTime::now());
        }));
        status
    }

    /// Changes something, and tells whoever watches.
    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.0.changes.send_replace(());
    }

    /// Changes what is known of a secret, as one of its tasks. For a while after a reload there may be
    /// two of the same name: the newer one has the word.
    pub(crate) fn secret(&self, name: &Arc<str>, task: u64, change: impl FnOnce(&mut SecretState)) {
        self.change(|state| {
            let secret = state.secrets.entry(name.clone()).or_default();
            if secret.task < task {
                *secret = SecretState { task, ..SecretState::default() };
            }
            if secret.task == task {
                change(secret);
            }
        });
    }

    /// Forgets a secret, unless another task has the word by now.
    pub(crate) fn forget_secret(&self, name: &Arc<str>, task: u64) {
        self.change(|state| {
            if state.secrets.get(name).is_some_and(|secret| secret.task == task) {
                state.secrets.remove(name);
            }
        });
    }

    pub(crate) fn config(&self, name: &Arc<str>, change: impl FnOnce(&mut ConfigState)) {
        self.change(|state| change(state.configs.entry(name.clone()).or_default()));
    }

    pub(crate) fn set(&self, name: &Arc<str>, change: impl FnOnce(&mut SetState)) {
        self.change(|state| change(state.sets.entry(name.clone()).or_default()));
    }

    /// Replaces the server; what was asked of the one before still counts.
    pub(crate) fn server(&self, server: Option<ServerState>) {
        self.change(|state| {
            state.requests_before = state.requests();
            state.server = server;
        });
    }

    /// What the local interface counts with.
    pub(crate) fn counters(&self) -> Arc<Counters> {
        self.0.counters.clone()
    }

    /// Shows where the local interface is served, for as long as what is returned lives.
    pub(crate) fn serves(&self, address: String) -> Served<'_> {
        self.look(|state| state.api = Some(address));
        Served(self)
    }

    /// Counts a limit that refused something, if there was one.
    pub(crate) fn hit(&self, limit: Option<&'static str>) {
        if let Some(limit) = limit {
            self.look(|state| *state.limit_hits.entry(limit).or_default() += 1);
        }
    }

    /// Changes of any kind: every secret that was looked at, every step of a set.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    /// Works on the state without telling anybody.
    pub(crate) fn look(&self, look: impl FnOnce(&mut State)) {
        look(&mut self.lock());
    }

    /// What is asked of the state at this moment.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock())
    }

    /// Waits until every set has been through a transaction, or something has gone wrong.
    ///
    /// # Errors
    /// One sentence that says what.
    pub async fn delivered_once(&self) -> Result<(), String> {
        let mut changes = self.watch();
        loop {
            if let Some(result) = self.read(State::first_delivery) {
                return result;
            }
            // An error cannot be: we have the other end.
            let _changed = changes.changed().await;
        }
    }

    /// The page of the admin interface: secrets, sets, session.
    #[must_use]
    pub fn page(&self, now: SystemTime) -> Value {
        let numbers = self.0.counters.numbers();
        self.read(|state| state.page(&numbers, now))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The local interface is served while this lives.
pub(crate) struct Served<'a>(&'a Status);

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.0.look(|state| state.api = None);
    }
}

/// Requests to the local interface, by outcome.
fn outcomes(numbers: &Numbers) -> [(&'static str, u64); 6] {
    [
        ("asked", numbers.asked),
        ("hit", numbers.hits),
        ("stale", numbers.stale),
        ("failed", numbers.failed),
        ("refused", numbers.refused),
        ("invalid", numbers.invalid),
    ]
}

impl State {
    fn requests(&self) -> u64 {
        let bao = self.server.as_ref().and_then(|server| server.bao.as_ref());
        self.requests_before + bao.map_or(0, Bao::requests)
    }

    /// What is not as it should be, as one sentence; `None`: everything is delivered and fresh.
    pub(crate) fn missing(
        &mut self,
        waits: bool,
        max_stale: Option<Duration>,
        now: SystemTime,
    ) -> Option<String> {
        if !self.has_begun {
            let waiting = self.sets.iter().find(|(_, set)| waits && !set.is_delivered);
            if let Some((name, set)) = waiting {
                let why = set.error.as_deref().unwrap_or("it is not delivered yet");
                return Some(format!("{name}: {why}"));
            }
            self.has_begun = true;
        }
        let max_stale = max_stale?;
        self.failing().find_map(|(name, since, error)| {
            let stale = now.duration_since(since).unwrap_or_default();
            (stale > max_stale).then(|| {
                format!("{name} could not be refreshed for {} s: {error}", stale.as_secs())
            })
        })
    }

    fn failing(&self) -> impl Iterator<Item = (&Arc<str>, SystemTime, &str)> {
        let secrets = self.secrets.iter().map(|(n, it)| (n, it.failing_since, &it.error));
        let configs = self.configs.iter().map(|(n, it)| (n, it.failing_since, &it.error));
        secrets.chain(configs).filter_map(|(name, since, error)| {
            Some((name, since?, error.as_deref().unwrap_or_default()))
        })
    }

    /// What came of everything so far; `None`: something is still under way.
    fn first_delivery(&self) -> Option<Result<(), String>> {
        if let Some(trouble) = self.server.as_ref().and_then(|server| server.trouble.as_ref()) {
            return Some(Err(trouble.clone()));
        }
        if let Some((name, _, error)) = self.failing().next() {
            return Some(Err(format!("{name}: {error}")));
        }
        let failed = self.sets.iter().find(|(_, set)| set.has_failed);
        if let Some((name, set)) = failed {
            return Some(Err(format!("{name}: {}", set.error.as_deref().unwrap_or_default())));
        }
        let is_done = !self.sets.is_empty() && self.sets.values().all(|set| set.is_delivered);
        is_done.then_some(Ok(()))
    }

    fn page(&self, numbers: &Numbers, now: SystemTime) -> Value {
        let secrets: serde_json::Map<_, _> =
            self.secrets.iter().map(|(name, it)| (name.to_string(), it.page(now))).collect();
        let configs: serde_json::Map<_, _> =
            self.configs.iter().map(|(name, it)| (name.to_string(), it.page(now))).collect();
        let sets: serde_json::Map<_, _> =
            self.sets.iter().map(|(name, it)| (name.to_string(), it.page(now))).collect();
        json!({
            "server": self.server.as_ref().map(|server| server.page(now, self.requests())),
            "secrets": secrets,
            "configs": configs,
            "sets": sets,
            "api": self.api.as_ref().map(|address| json!({
                "address": address,
                "requests": BTreeMap::from(outcomes(numbers)),
                "joined": numbers.joined,
                "in_flight": numbers.in_flight,
                "kept": numbers.kept,
            })),
            "limit_hits": self.hits(numbers).filter(|(_, hits)| *hits > 0).collect::<BTreeMap<_, _>>(),
        })
    }

    /// Times that a limit refused something, by its key.
    fn hits(&self, numbers: &Numbers) -> impl Iterator<Item = (&'static str, u64)> {
        let mut hits = BTreeMap::from(numbers.limit_hits);
        for limit in ["limits.files", "limits.bytes", "server.answer_bytes"] {
            *hits.entry(limit).or_default() += self.limit_hits.get(limit).copied().unwrap_or(0);
        }
        hits.into_iter()
    }

    fn sample(&self, samples: &mut Samples, numbers: &Numbers, now: SystemTime) {
        if self.server.is_some() || !self.sets.is_empty() {
            for (limit, hits) in self.hits(numbers) {
                samples.put(&LIMIT_HITS, &[limit], hits as f64);
            }
        }
        if self.api.is_some() {
            for (outcome, requests) in outcomes(numbers) {
                samples.put(&API_REQUESTS, &[outcome], requests as f64);
            }
            samples.put(&API_JOINED, &[], numbers.joined as f64);
            samples.put(&API_IN_FLIGHT, &[], numbers.in_flight as f64);
            samples.put(&API_KEPT, &[], numbers.kept as f64);
        }
        if let Some(server) = &self.server {
            samples.put(&REQUESTS, &[], self.requests() as f64);
            let session = server.sessions.current.as_ref();
            if let Some(expires) = session.and_then(|session| session.expires) {
                samples.put(&SESSION, &[], until(now, expires));
            }
        }
        for (name, secret) in &self.secrets {
            if let Some(fetched) = secret.fetched {
                samples.put(&AGE, &[name], since(now, fetched));
            }
            samples.put(&STALENESS, &[name], secret.failing_since.map_or(0.0, |at| since(now, at)));
            if let Some((_, at)) = secret.next {
                samples.put(&NEXT, &[name], until(now, at));
            }
            if let Some(version) = secret.version {
                samples.put(&VERSION, &[name], version as f64);
            }
        }
        for (name, config) in &self.configs {
            samples.put(&STALENESS, &[name], config.failing_since.map_or(0.0, |at| since(now, at)));
        }
        for (name, set) in &self.sets {
            samples.put(&SET_VERSION, &[name], set.version.unwrap_or(0) as f64);
            samples.put(&SET_CONFIRMED, &[name], set.confirmed.unwrap_or(0) as f64);
        }
    }
}

impl ServerState {
    fn page(&self, now: SystemTime, requests: u64) -> Value {
        let session = self.sessions.current.as_ref();
        let trouble = self.sessions.trouble.as_ref().map(ToString::to_string);
        json!({
            "url": *self.url,
            "requests": requests,
            "session": session.map(|session| json!({
                "accessor": session.accessor,
                "policies": session.policies,
                "renewable": session.renewable,
                "ends_in_seconds": session.expires.map(|at| seconds(until(now, at))),
            })),
            "old_sessions": self.sessions.old.len(),
            "error": self.trouble.clone().or(trouble),
        })
    }
}

impl SecretState {
    fn page(&self, now: SystemTime) -> Value {
        let step = |step| match step {
            Step::Renew => "renew",
            Step::Replace if self.generation == 0 => "fetch",
            Step::Replace => "replace",
            Step::Look => "look",
        };
        json!({
            "path": self.path,
            "generation": self.generation,
            "version": self.version,
            "age_seconds": self.fetched.map(|at| seconds(since(now, at))),
            "refreshed_seconds_ago": self.refreshed.map(|at| seconds(since(now, at))),
            "lease": self.lease,
            "lease_ends_in_seconds": self.lease_ends.map(|at| seconds(until(now, at))),
            "next": self.next.map(|(what, at)| json!({
                "step": step(what),
                "in_seconds": seconds(until(now, at)),
            })),
            "old_leases": self.old_leases,
            "error": self.error,
            "last_error": self.last_error.as_ref().map(|(error, at)| json!({
                "error": error,
                "seconds_ago": seconds(since(now, *at)),
            })),
            "failing_seconds": self.failing_since.map(|at| seconds(since(now, at))),
        })
    }
}

impl ConfigState {
    fn page(&self, now: SystemTime) -> Value {
        json!({
            "version": self.version,
            "age_seconds": self.changed.map(|at| seconds(since(now, at))),
            "error": self.error,
            "failing_seconds": self.failing_since.map(|at| seconds(since(now, at))),
        })
    }
}

impl SetState {
    fn page(&self, now: SystemTime) -> Value {
        json!({
            "version": self.version,
            "confirmed": self.confirmed,
            "uses": self.uses.iter().map(|(name, it)| (name.to_string(), *it)).collect::<BTreeMap<_, _>>(),
            "state": match (self.has_failed, self.is_delivered) {
                (false, true) => "in use",
                (false, false) => "waiting",
                (true, true) => "kept",
                (true, false) => "failing",
            },
            "error": self.error,
            "next_try_in_seconds": self.next_try.map(|at| seconds(until(now, at))),
            "last": self.last.as_ref().map(|(report, at)| transaction(report, *at, now)),
        })
    }
}

fn transaction(report: &Report, at: SystemTime, now: SystemTime) -> Value {
    let steps: Vec<Value> = report
        .done
        .iter()
        .map(|done| {
            json!({
                "step": done.part.label(),
                "took_ms": done.took.as_micros() as f64 / 1000.0,
                "error": done.fault,
            })
        })
        .collect();
    json!({
        "outcome": report.outcome.label(),
        "seconds_ago": seconds(since(now, at)),
        "steps": steps,
        "warnings": report.warnings,
    })
}

fn since(now: SystemTime, at: SystemTime) -> f64 {
    now.duration_since(at).unwrap_or_default().as_secs_f64()
}

fn until(now: SystemTime, at: SystemTime) -> f64 {
    at.duration_since(now).unwrap_or_default().as_secs_f64()
}

/// For pages: no more precise than people can use.
fn seconds(exact: f64) -> f64 {
    (exact * 10.0).round() / 10.0
}
