//! When a secret is renewed, replaced or looked at again. Time and chance are arguments.

use std::time::{Duration, SystemTime};

use crate::fetched::{Fetched, Lease};

/// The most that chance takes off a planned time, as a part of it.
const JITTER: f64 = 0.1;
/// Servers count in whole seconds: a renewal that brings a second less is still whole.
const ROUNDING: Duration = Duration::from_secs(1);
/// A renewal that fails is tried again up to this part of the lease; then there is just time enough
/// for a replacement.
const LAST_RENEWAL: f64 = 0.9;
/// Shorter than this nothing is planned: a server that grants leases of no length is not hammered.
const SHORTEST: Duration = Duration::from_secs(1);

/// What is due, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// What.
    pub what: Step,
    /// When; it may have passed.
    pub at: SystemTime,
}

/// What is done for a secret to stay good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its lease is extended; the data stay what they are.
    Renew,
    /// It is fetched anew, while the old one still holds.
    Replace,
    /// It has no lease: one looks whether it has changed.
    Look,
}

/// The life of one fetched secret.
#[derive(Clone, Debug)]
pub struct Life {
    kind: Kind,
    /// When it was fetched, renewed or looked at the last time.
    since: SystemTime,
    /// After a failure, or for another reason to hurry or to wait: in place of what the kind says.
    instead: Option<Due>,
    /// From 0 to 1, the same until the next success: a plan does not move while one looks at it.
    chance: f64,
    renew_at: f64,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Looked at again.
    Static {
        interval: Duration,
        /// When the server itself will change it, where it says so.
        rotates: Option<SystemTime>,
    },
    /// Extended until the server does not grant the whole duration any more.
    Renewable { id: String, asked: Duration, ends: SystemTime },
    /// Replaced before its end.
    Fixed { starts: SystemTime, ends: SystemTime },
}

impl Life {
    /// The life of what was fetched. `interval` is for what has no lease; `renew_at` is the part of
    /// a lease after which it is renewed or replaced; `chance` is from 0 to 1.
    #[must_use]
    pub fn new(fetched: &Fetched, interval: Duration, renew_at: f64, chance: f64) -> Self {
        let kind = match &fetched.lease {
            None => Kind::Static { interval, rotates: rotation(fetched) },
            Some(Lease { id, duration, renewable }) => {
                let ends = after(fetched.at, *duration);
                match *renewable && !id.is_empty() {
                    true => Kind::Renewable { id: id.clone(), asked: *duration, ends },
                    false => Kind::Fixed { starts: fetched.at, ends },
                }
            }
        };
        Self { kind, since: fetched.at, instead: None, chance, renew_at }
    }

    /// What is due next.
    #[must_use]
    pub fn due(&self) -> Due {
        self.instead.unwrap_or_else(|| self.planned())
    }

    fn planned(&self) -> Due {
        let early = 1.0 - JITTER * self.chance;
        match &self.kind {
            Kind::Static { interval, rotates } => {
                let regular = after(self.since, interval.mul_f64(early));
                // Not before: the server would show the old value.
                let late = ROUNDING.mul_f64(1.0 + self.chance);
                let at = rotates.map_or(regular, |rotates| regular.min(after(rotates, late)));
                Due { what: Step::Look, at }
            }
            Kind::Renewable { ends, .. } => {
                Due { what: Step::Renew, at: self.part(*ends, self.since, early) }
            }
            Kind::Fixed { starts, ends } => {
                Due { what: Step::Replace, at: self.part(*ends, *starts, early) }
            }
        }
    }

    /// The moment at which as much of the time from `start` to `end` is over as was configured.
    fn part(&self, end: SystemTime, start: SystemTime, early: f64) -> SystemTime {
        let whole = end.duration_since(start).unwrap_or_default();
        after(start, whole.mul_f64(self.renew_at * early).max(SHORTEST))
    }

    /// When it ends; `None` for what does not, or nobody knows.
    #[must_use]
    pub fn ends(&self) -> Option<SystemTime> {
        match self.kind {
            Kind::Static { .. } => None,
            Kind::Renewable { ends, .. } | Kind::Fixed { ends, .. } => Some(ends),
        }
    }

    /// The id and the duration to ask for with a renewal.
    #[must_use]
    pub fn renewal(&self) -> Option<(&str, Duration)> {
        match &self.kind {
            Kind::Renewable { id, asked, .. } => Some((id, *asked)),
            Kind::Static { .. } | Kind::Fixed { .. } => None,
        }
    }

    /// A renewal was granted. Where the server grants less than was asked for, the lease cannot
    /// grow older than that: what is left is the time for its replacement, which starts soon.
    pub fn renewed(&mut self, at: SystemTime, lease: &Lease, chance: f64) {
        let Kind::Renewable { asked, ends, .. } = &mut self.kind else { return };
        *ends = after(at, lease.duration);
        (self.since, self.chance, self.instead) = (at, chance, None);
        if !lease.renewable || lease.duration + ROUNDING < *asked {
            let at = after(at, lease.duration.mul_f64(JITTER * chance));
            self.kind = Kind::Fixed { starts: self.since, ends: *ends };
            self.instead = Some(Due { what: Step::Replace, at });
        }
    }

    /// One has looked, and nothing has changed.
    pub fn unchanged(&mut self, at: SystemTime, chance: f64) {
        (self.since, self.chance, self.instead) = (at, chance, None);
    }

    /// The step that was due failed; the next try makes sense after `wait`. A renewal that would
    /// then be too late becomes a replacement.
    pub fn failed(&mut self, at: SystemTime, wait: Duration) {
        let mut due = Due { what: self.due().what, at: after(at, wait) };
        if let (Step::Renew, Some(ends)) = (due.what, self.ends()) {
            let whole = ends.duration_since(self.since).unwrap_or_default();
            let last = after(self.since, whole.mul_f64(LAST_RENEWAL));
            if due.at >= last {
                due = Due { what: Step::Replace, at: last.max(at) };
            }
        }
        self.instead = Some(due);
    }

    /// The server does not know the lease any more, or the token that it belongs to is gone.
    pub fn lost(&mut self, at: SystemTime) {
        (self.kind, self.instead) = match self.kind {
            Kind::Static { .. } => return,
            Kind::Renewable { .. } | Kind::Fixed { .. } => (
                Kind::Fixed { starts: self.since, ends: at },
                Some(Due { what: Step::Replace, at }),
            ),
        };
    }

    /// The token that the lease belongs to ends at `end` and is not extended: the lease dies with
    /// it, and is replaced before, each at another moment.
    pub fn bounded(&mut self, now: SystemTime, end: SystemTime, chance: f64) {
        let Some(ends) = self.ends() else { return };
        let ends = ends.min(end);
        let left = ends.duration_since(now).unwrap_or_default();
        let soon = after(now, left.mul_f64(self.renew_at * chance));
        let at = match self.due() {
            Due { what: Step::Replace, at } => at.min(soon),
            Due { what: Step::Renew | Step::Look, .. } => soon,
        };
        self.kind = Kind::Fixed { starts: self.since, ends };
        self.instead = Some(Due { what: Step::Replace, at });
    }
}

/// When a password that the server rotates by itself is changed the next time: it says in how many
/// seconds. (Static roles of database engines.)
fn rotation(fetched: &Fetched) -> Option<SystemTime> {
    fetched.data.get("last_vault_rotation")?;
    let ttl = fetched.data.get("ttl")?.secret().reveal_text()?.parse().ok()?;
    Some(after(fetched.at, Duration::from_secs(ttl)))
}

/// A moment later; one that cannot be told is as good as never.
fn after(at: SystemTime, duration: Duration) -> SystemTime {
    const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    at.checked_add(duration.min(NEVER)).unwrap_or(at)
}

#[cfg(test)]
mod tests;
