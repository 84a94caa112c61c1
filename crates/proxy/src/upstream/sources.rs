//! Where the endpoints of an upstream come from, and what that has given: plain data, changed and
//! looked at as a whole.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use pillion_model::Reason;
use pillion_model::snapshot::EndpointSource;

use super::{Endpoint, Target};

/// The sources of one upstream and its endpoints.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// As the configuration names them.
    wanted: Vec<EndpointSource>,
    /// Where the app listens, if it does.
    app: Option<SocketAddr>,
    /// What each name that is followed has given: every wanted one, and those whose task has not
    /// woken since they were wanted. Where one is wanted again before, its answer still holds.
    followed: HashMap<EndpointSource, Found>,
    list: Vec<Arc<Endpoint>>,
    /// How often the list has changed.
    version: u64,
}

/// What a name has given so far.
#[derive(Debug, Default)]
struct Found {
    /// The last good answer, which stays when a lookup fails.
    targets: Option<Vec<Target>>,
    /// Why the last lookup failed, if it did.
    error: Option<String>,
}

/// What an upstream has to offer, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Endpoints.
    Ready,
    /// None yet: a first answer is on its way.
    Pending,
    /// None, for this reason.
    Without(Reason),
}

impl Sources {
    /// Replaces what is wanted, and returns the names that the caller has to have followed from now
    /// on: nobody else does.
    #[must_use]
    pub(super) fn want(
        &mut self,
        wanted: &[EndpointSource],
        app: Option<SocketAddr>,
    ) -> Vec<EndpointSource> {
        self.wanted = wanted.to_vec();
        self.app = app;
        let mut new = Vec::new();
        for source in wanted {
            if matches!(source, EndpointSource::Dns { .. }) && !self.followed.contains_key(source) {
                self.followed.insert(source.clone(), Found::default());
                new.push(source.clone());
            }
        }
        self.rebuild();
        new
    }

    /// The app listens here now, or no longer.
    pub(super) fn set_app(&mut self, app: Option<SocketAddr>) {
        self.app = app;
        self.rebuild();
    }

    /// Whether a followed name is still wanted; if not, following it has ended.
    pub(super) fn still_wants(&mut self, name: &EndpointSource) -> bool {
        let wanted = self.wanted.contains(name);
        if !wanted {
            self.followed.remove(name);
        }
        wanted
    }

    /// What a lookup of a followed name has given now.
    pub(super) fn answer(&mut self, name: &EndpointSource, answer: Result<Vec<Target>, String>) {
        let Some(found) = self.followed.get_mut(name) else { return };
        match answer {
            Ok(targets) => *found = Found { targets: Some(targets), error: None },
            Err(reason) => found.error = Some(reason),
        }
        self.rebuild();
    }

    /// Each target once, in the order of its sources.
    pub(super) fn list(&self) -> &[Arc<Endpoint>] {
        &self.list
    }

    /// How often the list has changed.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// What there is. Whoever has seen no endpoints must not ask further questions one by one: an
    /// answer may come between them.
    pub(super) fn standing(&self) -> Standing {
        if !self.list.is_empty() {
            return Standing::Ready;
        }
        if self.wanted.contains(&EndpointSource::App) {
            return Standing::Without(Reason::AppNotListening);
        }
        let (mut pending, mut failed) = (false, false);
        for found in self.wanted.iter().filter_map(|source| self.followed.get(source)) {
            pending |= found.targets.is_none() && found.error.is_none();
            failed |= found.error.is_some();
        }
        match (pending, failed) {
            (true, _) => Standing::Pending,
            (false, true) => Standing::Without(Reason::DnsFailure),
            (false, false) => Standing::Without(Reason::NoEndpoint),
        }
    }

    /// Why a lookup failed last, if one of the wanted names has failed.
    pub(super) fn lookup_error(&self) -> Option<&str> {
        let mut found = self.wanted.iter().filter_map(|source| self.followed.get(source));
        found.find_map(|found| found.error.as_deref())
    }

    /// Makes the list anew, keeping the endpoints that stay.
    fn rebuild(&mut self) {
        let old: HashMap<_, _> = self.list.iter().map(|known| (&known.target, known)).collect();
        let mut seen = HashSet::new();
        let mut list = Vec::new();
        for target in self.wanted.iter().flat_map(|source| self.targets(source)) {
            if seen.insert(target.clone()) {
                let known = old.get(&target).map(|known| Arc::clone(known));
                list.push(known.unwrap_or_else(|| Arc::new(Endpoint::new(target))));
            }
        }
        let same = |(new, old): (&Arc<Endpoint>, &Arc<Endpoint>)| Arc::ptr_eq(new, old);
        if list.len() != self.list.len() || !list.iter().zip(&self.list).all(same) {
            self.list = list;
            self.version += 1;
        }
    }

    /// What one source gives.
    fn targets(&self, source: &EndpointSource) -> Vec<Target> {
        match source {
            EndpointSource::Address(address) => vec![Target::Tcp(*address)],
            EndpointSource::Unix(path) => vec![Target::Unix(path.clone())],
            EndpointSource::App => self.app.map(Target::Tcp).into_iter().collect(),
            EndpointSource::Dns { .. } => {
                let found = self.followed.get(source);
                found.and_then(|found| found.targets.clone()).unwrap_or_default()
            }
        }
    }
}

#[cfg(test)]
mod tests;
