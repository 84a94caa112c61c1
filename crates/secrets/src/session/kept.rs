//! One token that is kept alive, and what is due for it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pillion_runtime::say;

use super::Session;
use crate::bao::{Bao, Error, Grant, Trouble};
use crate::chance::{chance, wait};

/// The most that chance takes off a planned time, as a part of it.
const JITTER: f64 = 0.1;
/// Servers count in whole seconds: a renewal that brings a second less is still whole.
const ROUNDING: Duration = Duration::from_secs(1);
/// No token is renewed more often.
const SHORTEST: Duration = Duration::from_secs(1);

/// One token.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) session: Arc<Session>,
    /// What a renewal ought to bring.
    whole: Duration,
    renew: Option<SystemTime>,
    failures: u32,
    /// The server does not extend it any more, though it did.
    is_capped: bool,
}

impl Kept {
    pub(super) fn new(session: Session, renew_at: f64, now: SystemTime) -> Self {
        let whole = session.left(now).unwrap_or_default();
        let renew = session.renewable.then(|| after(now, early(whole, renew_at)));
        Self { session: Arc::new(session), whole, renew, failures: 0, is_capped: false }
    }

    /// A session that is not new: how long it was is not known, but a renewal says it.
    pub(super) fn adopted(session: Session, now: SystemTime) -> Self {
        let renew = session.renewable.then_some(now);
        let whole = Duration::ZERO;
        Self { session: Arc::new(session), whole, renew, failures: 0, is_capped: false }
    }

    /// When to log in for another one, if that is known from the start: it cannot be renewed.
    pub(super) fn login(&self, renew_at: f64, now: SystemTime) -> Option<SystemTime> {
        match self.renew {
            Some(_) => None,
            None => self.session.left(now).map(|left| after(now, early(left, renew_at))),
        }
    }

    /// When something happens to it next: a renewal, or its end.
    pub(super) fn due(&self) -> Option<SystemTime> {
        self.renew.or(self.session.expires)
    }

    pub(super) fn has_ended(&self, now: SystemTime) -> bool {
        self.session.expires.is_some_and(|expires| expires <= now)
    }

    pub(super) fn was_capped(&self) -> bool {
        self.is_capped
    }

    pub(super) async fn renew_if_due(&mut self, bao: &Bao, now: SystemTime) {
        if self.renew.is_none_or(|renew| renew > now) {
            return;
        }
        let result = bao.renew_self(&self.session.token).await;
        let now = SystemTime::now();
        match result {
            Ok(grant) => self.renewed(&grant, bao.server().renew_at, now),
            Err(Error { trouble: Trouble::Denied { .. }, .. }) => {
                // Gone, or alive but not allowed to renew itself.
                match bao.look_up_self(&self.session.token).await {
                    Err(Error { trouble: Trouble::TokenGone, .. }) => {
                        say!(Warn, "our token was revoked, or its time is over");
                        self.ends(Some(now));
                    }
                    Ok(_) | Err(_) => self.ends(self.session.expires),
                }
            }
            Err(Error { trouble: Trouble::Refused { .. }, .. }) => self.ends(self.session.expires),
            Err(error) => self.failed(&error, bao.server().backoff, now),
        }
    }

    /// It was extended: as before, or by less, because it comes near its greatest age.
    pub(super) fn renewed(&mut self, grant: &Grant, renew_at: f64, now: SystemTime) {
        self.failures = 0;
        let Some(granted) = grant.duration else { return self.ends(None) };
        let is_whole = grant.renewable && granted + ROUNDING >= self.whole;
        let expires = now.checked_add(granted);
        if !is_whole {
            return self.ends(expires);
        }
        self.whole = self.whole.max(granted);
        Arc::make_mut(&mut self.session).expires = expires;
        self.renew = Some(after(now, early(granted, renew_at)));
    }

    /// It is not extended any more.
    fn ends(&mut self, at: Option<SystemTime>) {
        (self.renew, self.is_capped) = (None, at.is_some());
        let session = Arc::make_mut(&mut self.session);
        (session.renewable, session.expires) = (false, at);
    }

    fn failed(&mut self, error: &Error, backoff: (Duration, Duration), now: SystemTime) {
        self.failures = self.failures.saturating_add(1);
        let wait = wait(self.failures, backoff, chance());
        let wait = error.trouble.wait().map_or(wait, |asked| asked.max(wait));
        // Not beyond its end, which has to be noticed.
        let again = after(now, wait);
        self.renew = Some(self.session.expires.map_or(again, |expires| again.min(expires)));
        let wait = wait.as_millis();
        say!(Warn, "cannot renew our token", error = error, again_in_ms = wait);
    }
}

/// The part of a life after which it is extended, a little earlier by chance.
fn early(life: Duration, renew_at: f64) -> Duration {
    life.mul_f64(renew_at * (1.0 - JITTER * chance())).max(SHORTEST)
}

pub(super) fn after(at: SystemTime, duration: Duration) -> SystemTime {
    at.checked_add(duration).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionId;

    fn grant(seconds: u64, renewable: bool) -> Grant {
        Grant {
            token: "s.abc".into(),
            accessor: "a".to_owned(),
            policies: vec!["default".to_owned()],
            duration: (seconds > 0).then(|| Duration::from_secs(seconds)),
            renewable,
        }
    }

    fn kept(seconds: u64, renewable: bool, now: SystemTime) -> Kept {
        Kept::new(Session::new(SessionId(1), grant(seconds, renewable), now), 0.5, now)
    }

    fn seconds(at: Option<SystemTime>) -> Option<f64> {
        at.map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64())
    }

    #[test]
    fn each_kind_of_token_has_its_next_step() {
        let now = SystemTime::UNIX_EPOCH;
        let renewable = kept(100, true, now);
        let due = seconds(renewable.due()).unwrap();
        assert!((45.0..=50.0).contains(&due), "{due}");
        assert_eq!(renewable.login(0.5, now), None);
        let batch = kept(100, false, now);
        assert_eq!(seconds(batch.due()), Some(100.0), "its end");
        let login = seconds(batch.login(0.5, now)).unwrap();
        assert!((45.0..=50.0).contains(&login), "{login}");
        let root = kept(0, false, now);
        assert_eq!((root.due(), root.login(0.5, now)), (None, None));
    }

    #[test]
    fn a_token_near_its_greatest_age_is_extended_no_more() {
        let now = SystemTime::UNIX_EPOCH;
        let mut kept = kept(100, true, now);
        kept.renewed(&grant(99, true), 0.5, now);
        assert!(kept.session.renewable && !kept.was_capped(), "a second is rounding");
        kept.renewed(&grant(30, true), 0.5, now);
        assert!(!kept.session.renewable && kept.was_capped());
        assert_eq!(seconds(kept.due()), Some(30.0));
        assert!(!kept.has_ended(now + Duration::from_secs(29)));
        assert!(kept.has_ended(now + Duration::from_secs(30)));
    }

    #[test]
    fn a_token_whose_length_is_not_known_learns_it_from_its_renewal() {
        let now = SystemTime::UNIX_EPOCH;
        let session = Session::new(SessionId(1), grant(5, true), now);
        let mut kept = Kept::adopted(session, now);
        assert_eq!(kept.due(), Some(now));
        kept.renewed(&grant(100, true), 0.5, now);
        assert!(kept.session.renewable);
        kept.renewed(&grant(50, true), 0.5, now);
        assert!(kept.was_capped());
    }

    #[test]
    fn a_renewal_that_fails_is_tried_again_but_the_end_is_noticed() {
        let now = SystemTime::UNIX_EPOCH;
        let mut kept = kept(100, true, now);
        let error = Error::new("renew", Trouble::NotInitialised);
        let backoff = (Duration::from_secs(2), Duration::from_secs(1000));
        kept.failed(&error, backoff, now);
        let due = seconds(kept.due()).unwrap();
        assert!((1.0..=2.0).contains(&due), "{due}");
        for _ in 0..20 {
            kept.failed(&error, backoff, now);
        }
        assert_eq!(seconds(kept.due()), Some(100.0));
    }
}
