//! What a set holds on to: the values that its app uses, those that it used until a moment ago, and
//! leases that an earlier life of this process has left.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use pillion_runtime::board::Secret;
use pillion_runtime::say;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::engine::House;
use crate::engine::inputs::{Catalog, Input, Taken};
use crate::engine::plan::name_of;
use crate::engine::secret::Claim;
use crate::fetched::Lease;
use crate::store::{Store, StoreError};

/// Versions whose way back has failed, so that the app may be using any of them. The oldest is let
/// go where there are more.
const IN_USE: usize = 8;

/// What a set holds on to.
pub(super) struct Claims {
    name: Arc<str>,
    house: Rc<House>,
    /// What the app uses; more than one where that is not known for sure.
    in_use: Vec<Entry>,
    /// What is being tried, or was tried last.
    tried: Option<Entry>,
    /// Leases of an earlier life, in use until a new version is confirmed.
    orphans: Vec<Rc<Claim>>,
    /// Leases of an earlier life that there is nobody to ask about yet.
    noted: Vec<Noted>,
    /// What was used until a moment ago; each is let go when its grace time is over.
    retired: Vec<Weak<Retired>>,
    graces: JoinSet<()>,
}

/// The values of a version, and the secrets that are in its files.
#[derive(Clone)]
struct Entry {
    taken: Taken,
    secrets: Vec<Secret>,
}

/// What is held until a grace time is over.
struct Retired {
    entries: Vec<Entry>,
    _orphans: Vec<Rc<Claim>>,
}

/// A lease, as it is noted for the time after a crash.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Noted {
    secret: String,
    lease: String,
    seconds: u64,
    renewable: bool,
}

impl Claims {
    pub(super) fn new(name: Arc<str>, house: Rc<House>) -> Self {
        Self {
            name,
            house,
            in_use: Vec::new(),
            tried: None,
            orphans: Vec::new(),
            noted: Vec::new(),
            retired: Vec::new(),
            graces: JoinSet::new(),
        }
    }

    /// Takes in the leases that the last process has noted in a folder.
    pub(super) fn found(&mut self, store: &Store) {
        for (_, notes) in store.notes() {
            let leases: Vec<Noted> = serde_json::from_slice(notes).unwrap_or_default();
            for lease in leases {
                if !self.noted.iter().any(|known| known.lease == lease.lease) {
                    self.noted.push(lease);
                }
            }
        }
    }

    /// Keeps the leases of an earlier life alive, as soon as there is somebody to ask. Those that
    /// are among the values are in use anyway.
    pub(super) fn take_over(&mut self, catalog: &Catalog, taken: &Taken) {
        let Some(connection) = &catalog.connection else { return };
        for Noted { secret, lease: id, seconds, renewable } in std::mem::take(&mut self.noted) {
            if leases(taken).any(|(_, lease)| lease.id == id) {
                continue;
            }
            say!(Info, "a lease of the last process is taken over", secret = secret, lease = id);
            let lease = Lease { id, duration: Duration::from_secs(seconds), renewable };
            self.orphans.push(connection.adopt(&secret.into(), lease));
        }
    }

    /// Holds on to what is about to be tried, and returns every secret that the app may use or
    /// print from then on.
    pub(super) fn begin(&mut self, taken: Taken, secrets: Vec<Secret>) -> Vec<Secret> {
        self.tried = Some(Entry { taken, secrets });
        self.secrets()
    }

    fn secrets(&self) -> Vec<Secret> {
        let retired: Vec<_> = self.retired.iter().filter_map(Weak::upgrade).collect();
        let retired = retired.iter().flat_map(|retired| &retired.entries);
        let mut secrets: Vec<Secret> = Vec::new();
        for entry in self.in_use.iter().chain(&self.tried).chain(retired) {
            for secret in &entry.secrets {
                if !secrets.contains(secret) {
                    secrets.push(secret.clone());
                }
            }
        }
        secrets
    }

    /// The app uses what was tried, and nothing else. What it used before is kept for the grace
    /// time.
    pub(super) fn settle(&mut self, grace: Duration) {
        let Some(entry) = self.tried.take() else { return };
        let mut entries = std::mem::replace(&mut self.in_use, vec![entry.clone()]);
        entries.retain(|old| !old.taken.is_same(&entry.taken));
        let orphans = std::mem::take(&mut self.orphans);
        if entries.is_empty() && orphans.is_empty() {
            return;
        }
        let retired = Rc::new(Retired { entries, _orphans: orphans });
        self.retired.push(Rc::downgrade(&retired));
        self.graces.spawn_local(async move {
            sleep(grace).await;
            drop(retired);
        });
    }

    /// The app does not use what was tried. It may have it in what it prints.
    pub(super) fn refused(&mut self) {
        if let Some(tried) = &mut self.tried {
            tried.taken = Taken::default();
        }
    }

    /// The app may be using what was tried, beside what it used before.
    pub(super) fn add(&mut self) {
        if let Some(entry) = self.tried.take() {
            self.in_use.retain(|old| !old.taken.is_same(&entry.taken));
            self.in_use.push(entry);
        }
        if self.in_use.len() > IN_USE {
            self.in_use.remove(0);
        }
    }

    /// Waits until a grace time is over.
    pub(super) async fn grace_over(&mut self) {
        if self.graces.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Forgets what nobody uses any more, on the board and on disk.
    pub(super) fn forget(&mut self, store: Option<&mut Store>) {
        self.retired.retain(|retired| retired.strong_count() > 0);
        self.house.board.delivered.replace(&self.name, self.secrets());
        if let Some(store) = store.filter(|_| self.retired.is_empty())
            && let Err(error) = forget_notes(store)
        {
            say!(Warn, "old leases cannot be forgotten on disk", set = self.name, error = error);
        }
    }

    /// Holds everything until the grace time is over, as the set is not configured any more.
    pub(super) async fn end(mut self, grace: Duration) {
        sleep(grace).await;
        let is_back = self.house.status.read(|state| state.sets.contains_key(&self.name));
        if !is_back {
            self.house.board.delivered.replace(&self.name, Vec::new());
        }
        self.in_use.clear();
    }
}

/// Forgets the leases of all versions but the current one.
fn forget_notes(store: &mut Store) -> Result<(), StoreError> {
    let versions: Vec<_> = store.notes().map(|(version, _)| version).collect();
    for version in versions {
        if Some(version) != store.current() {
            store.forget(version)?;
        }
    }
    Ok(())
}

/// The leases of these values, for the journal.
pub(super) fn notes(taken: &Taken) -> Vec<u8> {
    let noted: Vec<Noted> = leases(taken)
        .map(|(input, lease)| Noted {
            secret: name_of(input).to_string(),
            lease: lease.id.clone(),
            seconds: lease.duration.as_secs(),
            renewable: lease.renewable,
        })
        .collect();
    // Texts and numbers into memory: that cannot fail.
    serde_json::to_vec(&noted).unwrap_or_default()
}

fn leases(taken: &Taken) -> impl Iterator<Item = (&Input, &Lease)> {
    taken.secrets.iter().filter_map(|(input, value)| Some((input, value.claim.lease.as_ref()?)))
}
