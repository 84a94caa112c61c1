//! Bringing a set into order at start, wherever the last process ended.
//!
//! The links and the folders say what the app sees, the journal what it was to see. After this,
//! `current` leads to one complete version or there is none, and nothing half-made is left.

use std::io;

use super::folder::Kind;
use super::journal::{Journal, Version};
use super::{CURRENT, NEXT, Store, StoreError, Trying, VERSIONS, number};

/// What was found at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// How far the last transaction had come.
    pub found: Found,
    /// Why there is no journal to trust, where there are versions: what is current counts as
    /// confirmed, and nothing is known of leases.
    pub journal_lost: Option<String>,
    /// Version folders that led nowhere, and were removed.
    pub removed: usize,
}

/// How far the last transaction had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// To its end, or none was ever begun.
    Settled,
    /// Not as far as the app: this version is gone, and the old one is current. What is noted for
    /// it tells which leases nobody needs.
    Dropped(Version),
    /// The app may be using this version, and has not confirmed it.
    Unconfirmed(Version),
    /// On the way back from this version: the old one is current, and the app has to be told.
    Returning(Version),
}

impl Store {
    pub(super) fn recover(&mut self) -> Result<Recovery, StoreError> {
        let linked = self.linked()?;
        let (mut journal, journal_lost) = self.recorded(linked)?;
        let folders = self.numbered()?;
        let exists = |version: &Version| folders.contains(version);
        journal.last = folders.iter().copied().chain([journal.last]).max().unwrap_or(0);
        journal.confirmed = journal.confirmed.filter(exists);
        self.current = linked.filter(exists);
        let found = judge(&mut journal, self.current, exists);
        let is_new = self.journal != journal || journal_lost.is_some();
        self.journal = journal;
        self.root.remove(NEXT).map_err(self.failed("removing", NEXT))?;
        if let Some(wanted) = self.wanted(found)
            && self.current != Some(wanted)
        {
            self.lead_to(wanted, &mut |_| {})?;
        }
        let removed = self.remove_leftovers(&folders)?;
        self.align()?;
        if is_new {
            self.record(|_| {})?;
        }
        Ok(Recovery { found, journal_lost, removed })
    }

    /// What `current` leads to.
    fn linked(&self) -> Result<Option<Version>, StoreError> {
        let foreign = || StoreError::Foreign {
            path: self.directory.join(CURRENT),
            rule: "the link to a version of this set belongs there",
        };
        let kind = self.root.kind(CURRENT).map_err(self.failed("looking at", CURRENT))?;
        let target = self.root.link_target(CURRENT).map_err(self.failed("reading", CURRENT))?;
        match (kind, target) {
            (None, _) => Ok(None),
            (Some(Kind::Link), Some(target)) => {
                let name =
                    target.to_str().and_then(|it| it.strip_prefix(VERSIONS)?.strip_prefix('/'));
                name.and_then(number).map(Some).ok_or_else(foreign)
            }
            (Some(_), _) => Err(foreign()),
        }
    }

    /// What the journal says; where it is lost, what the link says.
    fn recorded(
        &mut self,
        linked: Option<Version>,
    ) -> Result<(Journal, Option<String>), StoreError> {
        let lost = match Journal::read(&self.versions) {
            Ok(Some(journal)) => {
                self.journal = journal.clone();
                return Ok((journal, None));
            }
            Ok(None) => linked.map(|_| "there is none".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Some(error.to_string()),
            Err(error) => return Err(self.failed("reading the journal in", VERSIONS)(error)),
        };
        Ok((Journal { confirmed: linked, ..Journal::default() }, lost))
    }

    /// What the names ought to lead to.
    fn wanted(&self, found: Found) -> Option<Version> {
        match (found, self.journal.trying) {
            (Found::Returning(_), Some(trying)) => trying.before,
            _ => self.current.or(self.journal.confirmed),
        }
    }

    /// Removes what is newer than all that is needed: it was never finished.
    fn remove_leftovers(&self, folders: &[Version]) -> Result<usize, StoreError> {
        let current = self.current.unwrap_or(0);
        let leftovers =
            folders.iter().filter(|version| **version > current && !self.is_needed(**version));
        let mut removed = 0;
        for version in leftovers {
            self.remove(*version)?;
            removed += 1;
        }
        Ok(removed)
    }
}

/// How far the last transaction had come, and what of it is still under way.
fn judge(
    journal: &mut Journal,
    current: Option<Version>,
    exists: impl Fn(&Version) -> bool,
) -> Found {
    let Some(trying) = journal.trying else { return Found::Settled };
    let before = trying.before.filter(exists);
    let is_current = current == Some(trying.version);
    if trying.returning && before.is_some() {
        journal.trying = Some(Trying { before, ..trying });
        return Found::Returning(trying.version);
    }
    if is_current {
        journal.trying = Some(Trying { before, returning: false, ..trying });
        return Found::Unconfirmed(trying.version);
    }
    journal.trying = None;
    Found::Dropped(trying.version)
}
