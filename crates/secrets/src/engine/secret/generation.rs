//! One generation of a secret's values, and its lease.

use std::rc::Weak;
use std::sync::Arc;
use std::time::SystemTime;

use super::Claim;
use crate::bao::Trouble;
use crate::broker::Failure;
use crate::chance::chance;
use crate::engine::ledger::Use;
use crate::fetched::{Fetched, Lease};
use crate::lease::{Due, Life, Step};
use crate::session::Sessions;

/// One lease, or values without one.
pub(super) struct Generation {
    pub(super) fetched: Arc<Fetched>,
    pub(super) life: Life,
    pub(super) claim: Weak<Claim>,
    /// When the session that it belongs to was seen to end.
    pub(super) bound: Option<SystemTime>,
    /// After a failed revocation: when to try again.
    pub(super) revoke_at: Option<SystemTime>,
    /// Which session it belongs to; `None` for a lease of an earlier life of this process.
    pub(super) session: Option<Use>,
}

impl Generation {
    pub(super) fn lease_id(&self) -> &str {
        self.fetched.lease.as_ref().map_or("", |lease| lease.id.as_str())
    }

    /// Whether there is something to keep alive and to revoke.
    pub(super) fn is_leased(&self) -> bool {
        !self.lease_id().is_empty()
    }

    pub(super) fn has_ended(&self, now: SystemTime) -> bool {
        self.life.ends().is_none_or(|ends| ends <= now)
    }

    /// When something is to be done for an old lease: it is extended as long as the server lets it,
    /// revoked when nobody claims it, and then forgotten.
    pub(super) fn due_when_old(&self) -> Option<SystemTime> {
        if self.claim.strong_count() == 0 {
            return self.revoke_at.or_else(|| self.life.ends());
        }
        match self.life.due() {
            Due { what: Step::Renew, at } => Some(at),
            Due { what: Step::Replace | Step::Look, .. } => self.life.ends(),
        }
    }

    pub(super) fn renews_when_old(&self, now: SystemTime) -> bool {
        let due = self.life.due();
        self.claim.strong_count() > 0 && due.what == Step::Renew && due.at <= now
    }

    /// What came of a renewal.
    pub(super) fn learn(&mut self, renewed: Result<Lease, Failure>) {
        let now = SystemTime::now();
        match renewed {
            Ok(lease) => self.life.renewed(now, &lease, chance()),
            Err(failure) if matches!(failure.error.trouble, Trouble::LeaseGone) => {
                self.life.lost(now);
            }
            Err(failure) => self.life.failed(now, failure.wait),
        }
    }

    pub(super) fn bind(&mut self, sessions: &Sessions, now: SystemTime) {
        let Some(session) = &self.session else { return };
        let Some(end) = sessions.end_of(session.id(), now) else { return };
        if self.bound.is_some_and(|bound| bound <= end) {
            return;
        }
        self.bound = Some(end);
        match end <= now {
            true => self.life.lost(now),
            false => self.life.bounded(now, end, chance()),
        }
    }
}
