//! What is kept for a start while the server is away: the newest values and our token, sealed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use pillion_model::secrets::{Cache, SecretSource, Server};
use pillion_runtime::causes::Causes;
use pillion_runtime::say;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::cache::{CachedSession, Contents, SealedCache};
use crate::fetched::Fetched;
use crate::session::{Session, SessionId, Tokens};
use crate::template::Request;

/// Changes that come together are saved together.
const GATHERING: Duration = Duration::from_millis(500);

/// What is kept.
#[derive(Default)]
pub(super) struct Cached {
    cache: Option<SealedCache>,
    /// What the last process has left.
    restored: Option<Contents>,
    newest: RefCell<BTreeMap<Request, Fetched>>,
    changed: Notify,
}

impl Cached {
    /// Opens the cache of a server, if one is configured. Without it, or where it does not open, the
    /// start is one without a cache.
    pub(super) fn open(settings: Option<&Cache>, server: &Server) -> Self {
        let Some(settings) = settings else { return Self::default() };
        let opened =
            SealedCache::new(settings, server).map(|cache| (cache.load(SystemTime::now()), cache));
        match opened {
            Ok((restored, cache)) => {
                let restored = restored.unwrap_or_else(|error| {
                    say!(
                        Warn,
                        "the sealed cache is not used for this start",
                        error = Causes(&error)
                    );
                    None
                });
                Self { cache: Some(cache), restored, ..Self::default() }
            }
            Err(error) => {
                say!(Error, "there is no sealed cache", error = Causes(&error));
                Self::default()
            }
        }
    }

    /// The token of the last process, with the leases that belong to it, if it still lives.
    pub(super) fn session(&self, now: SystemTime) -> Option<Session> {
        let CachedSession { token, accessor, expires, renewable } =
            self.restored.as_ref()?.session.clone()?;
        expires.is_none_or(|expires| expires > now).then(|| Session {
            id: SessionId(0),
            token,
            accessor,
            policies: Vec::new(),
            expires,
            renewable,
        })
    }

    /// What the last process knew of a secret, unless its lease has ended.
    pub(super) fn restore(&self, source: &SecretSource, now: SystemTime) -> Option<Fetched> {
        let kept = self.restored.as_ref()?.answers.get(&request(source))?;
        let ends = kept.lease.as_ref().map(|lease| kept.at.checked_add(lease.duration));
        let has_ended = ends.flatten().is_some_and(|ends| ends <= now);
        (!has_ended).then(|| kept.clone())
    }

    /// Keeps the newest values of a secret. `ends` is when its lease does, as far as it was
    /// extended.
    pub(super) fn keep(&self, source: &SecretSource, fetched: &Fetched, ends: Option<SystemTime>) {
        if self.cache.is_none() {
            return;
        }
        let mut fetched = fetched.clone();
        if let (Some(lease), Some(ends)) = (&mut fetched.lease, ends) {
            lease.duration = ends.duration_since(fetched.at).unwrap_or_default();
        }
        self.newest.borrow_mut().insert(request(source), fetched);
        self.changed.notify_one();
    }

    /// Forgets a secret that nobody wants any more.
    pub(super) fn forget(&self, source: &SecretSource) {
        self.newest.borrow_mut().remove(&request(source));
        self.changed.notify_one();
    }

    /// Saves what has changed.
    pub(super) async fn run(self: Rc<Self>, tokens: Tokens) {
        let Some(cache) = &self.cache else { return };
        let mut has_failed = false;
        loop {
            self.changed.notified().await;
            sleep(GATHERING).await;
            let session = tokens.current().map(|session| CachedSession {
                token: session.token.clone(),
                accessor: session.accessor.clone(),
                expires: session.expires,
                renewable: session.renewable,
            });
            let answers = self.newest.borrow().clone();
            let saved = cache.save(&Contents { answers, session, at: SystemTime::now() });
            if let Err(error) = &saved
                && !has_failed
            {
                say!(Warn, "the sealed cache cannot be saved", error = Causes(&error));
            }
            has_failed = saved.is_err();
        }
    }
}

fn request(source: &SecretSource) -> Request {
    Request { path: source.path.clone(), data: source.data.clone(), version: source.version }
}
