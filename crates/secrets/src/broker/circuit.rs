//! What has failed is left alone for a while: each path for itself, and the whole server where that
//! is what failed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Failure;
use crate::bao::{Error, Trouble};
use crate::chance;

/// Paths that are remembered. They come from the configuration and from the leases of it.
const LIMIT: usize = 4096;

/// The circuits of one server.
#[derive(Debug)]
pub(super) struct Circuits {
    backoff: (Duration, Duration),
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    server: Option<Circuit>,
    paths: BTreeMap<String, Circuit>,
}

/// Something that has failed.
#[derive(Debug)]
struct Circuit {
    failures: u32,
    /// Nobody asks before; after, one may, and the others wait for what that brings.
    until: Instant,
    error: Arc<Error>,
}

impl Circuits {
    pub(super) fn new(backoff: (Duration, Duration)) -> Self {
        Self { backoff, open: Mutex::default() }
    }

    /// Whether a path may be asked for now; otherwise why not.
    pub(super) fn admit(&self, path: &str, now: Instant) -> Result<(), Failure> {
        let mut open = self.lock();
        let Open { server, paths } = &mut *open;
        for circuit in [server.as_ref(), paths.get(path)].into_iter().flatten() {
            if circuit.until > now {
                return Err(Failure { error: circuit.error.clone(), wait: circuit.until - now });
            }
        }
        if let Some(server) = server {
            // One goes ahead. It does not hang for longer than this, or others may go too.
            server.until = now + self.backoff.1;
        }
        Ok(())
    }

    pub(super) fn succeeded(&self, path: &str) {
        let mut open = self.lock();
        open.server = None;
        open.paths.remove(path);
    }

    /// Notes a failure, and when the next try is allowed.
    pub(super) fn failed(&self, path: &str, error: Error, now: Instant, chance: f64) -> Failure {
        let error = Arc::new(error);
        let mut open = self.lock();
        if matches!(error.trouble, Trouble::LeaseGone) {
            // Whoever holds it asks for another one, and not for this again.
            open.paths.remove(path);
            return Failure { error, wait: Duration::ZERO };
        }
        let of_the_server = error.trouble.is_of_the_server();
        let last = match of_the_server {
            true => open.server.take(),
            false => open.paths.remove(path),
        };
        let failures = last.map_or(0, |last| last.failures).saturating_add(1);
        let wait = self.wait(&error.trouble, failures, chance);
        let circuit = Circuit { failures, until: now + wait, error: error.clone() };
        if of_the_server {
            open.server = Some(circuit);
        } else {
            // It answers, if only this path with a failure.
            open.server = None;
            open.remember(path, circuit);
        }
        Failure { error, wait }
    }

    fn wait(&self, trouble: &Trouble, failures: u32, chance: f64) -> Duration {
        let wait = chance::wait(failures, self.backoff, chance);
        trouble.wait().map_or(wait, |asked| asked.max(wait))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn remember(&mut self, path: &str, circuit: Circuit) {
        if self.paths.len() >= LIMIT && !self.paths.contains_key(path) {
            let first = self.paths.iter().min_by_key(|(_, circuit)| circuit.until);
            if let Some(path) = first.map(|(path, _)| path.clone()) {
                self.paths.remove(&path);
            }
        }
        self.paths.insert(path.to_owned(), circuit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circuits() -> Circuits {
        Circuits::new((Duration::from_secs(1), Duration::from_secs(60)))
    }

    fn denied() -> Error {
        Error::new("read a", Trouble::Denied { said: String::new() })
    }

    fn sealed() -> Error {
        Error::new("read a", Trouble::Sealed { said: String::new() })
    }

    fn second(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_path_that_fails_is_left_alone_for_longer_each_time_and_others_are_not_concerned() {
        let (circuits, start) = (circuits(), Instant::now());
        let mut now = start;
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(circuits.admit("a", now).is_ok());
            assert_eq!(circuits.failed("a", denied(), now, 0.0).wait, Duration::from_secs(wait));
            let refused = circuits.admit("a", now).unwrap_err();
            assert_eq!(refused.wait, Duration::from_secs(wait));
            assert_eq!(refused.to_string(), "cannot read a: permission denied");
            assert!(circuits.admit("b", now).is_ok());
            now += Duration::from_secs(wait);
        }
        assert!(circuits.admit("a", now).is_ok());
        circuits.succeeded("a");
        assert_eq!(circuits.failed("a", denied(), now, 0.0).wait, Duration::from_secs(1));
    }

    #[test]
    fn a_server_that_is_sealed_is_asked_by_one_at_a_time() {
        let (circuits, start) = (circuits(), Instant::now());
        circuits.failed("a", sealed(), start, 0.0);
        assert!(circuits.admit("b", start).is_err());
        let later = second(start, 1);
        assert!(circuits.admit("b", later).is_ok());
        assert!(circuits.admit("a", later).is_err(), "b is asking");
        assert_eq!(circuits.failed("b", sealed(), later, 0.0).wait, Duration::from_secs(2));
        let later = second(start, 3);
        assert!(circuits.admit("c", later).is_ok());
        circuits.succeeded("c");
        assert!(circuits.admit("a", later).is_ok());
        assert!(circuits.admit("b", later).is_ok());
    }

    #[test]
    fn one_that_never_comes_back_does_not_block_the_others_for_ever() {
        let (circuits, start) = (circuits(), Instant::now());
        circuits.failed("a", sealed(), start, 0.0);
        assert!(circuits.admit("a", second(start, 1)).is_ok());
        assert!(circuits.admit("b", second(start, 60)).is_err());
        assert!(circuits.admit("b", second(start, 61)).is_ok());
    }

    #[test]
    fn a_server_that_fails_one_path_is_not_away() {
        let (circuits, start) = (circuits(), Instant::now());
        circuits.failed("a", sealed(), start, 0.0);
        let later = second(start, 1);
        assert!(circuits.admit("a", later).is_ok());
        circuits.failed("a", denied(), later, 0.0);
        assert!(circuits.admit("b", later).is_ok());
    }

    #[test]
    fn a_wait_that_the_server_asks_for_is_kept() {
        let (circuits, start) = (circuits(), Instant::now());
        let wait = Some(Duration::from_secs(30));
        let busy = Error::new("read a", Trouble::TooMany { wait, said: String::new() });
        assert_eq!(circuits.failed("a", busy, start, 0.5).wait, Duration::from_secs(30));
        assert!(circuits.admit("b", second(start, 29)).is_err());
        assert!(circuits.admit("b", second(start, 30)).is_ok());
    }

    #[test]
    fn a_lease_that_is_gone_leaves_nothing_behind() {
        let circuits = circuits();
        let gone = Error::new("renew a", Trouble::LeaseGone);
        assert_eq!(circuits.failed("a", gone, Instant::now(), 0.0).wait, Duration::ZERO);
        assert!(circuits.lock().paths.is_empty());
    }

    #[test]
    fn no_more_paths_than_the_limit_are_remembered() {
        let (circuits, start) = (circuits(), Instant::now());
        for number in 0..=LIMIT {
            circuits.failed(&number.to_string(), denied(), start, 0.0);
        }
        assert_eq!(circuits.lock().paths.len(), LIMIT);
        assert!(circuits.admit(&LIMIT.to_string(), start).is_err(), "the last one is");
    }
}
