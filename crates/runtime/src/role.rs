//! A role beside the proxy: a thread of its own, so that it never adds a microsecond to a request;
//! started again with back-off when it fails, so that it takes nobody with it; and ended in order.

use std::error::Error;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::causes::Causes;
use crate::metrics::{Counter, Desc, Gauge, Kind, Registry};
use crate::say;

/// How often a role was started again.
pub(crate) static RESTARTS: Desc = Desc {
    name: "pillion_role_restarts",
    kind: Kind::Counter,
    unit: "",
    help: "Starts of a role after it failed.",
    labels: &["role"],
};
/// Whether a role runs.
pub(crate) static UP: Desc = Desc {
    name: "pillion_role_up",
    kind: Kind::Gauge,
    unit: "",
    help: "Whether a role runs (1), or failed and waits for its next start (0).",
    labels: &["role"],
};

/// The wait before the first restart; it doubles.
const BACKOFF: Duration = Duration::from_millis(500);
/// The longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A role that ran for so long has come to rest: the next failure is the first again.
const SETTLED: Duration = Duration::from_secs(60);

/// How a role is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It failed, for this reason, and is started again soon.
    Failed(String),
    /// It has ended, as it was told to.
    Ended,
}

/// A role that was started.
#[derive(Debug)]
pub struct Role {
    name: &'static str,
    stop: Stopper,
    state: watch::Receiver<State>,
    thread: Option<JoinHandle<()>>,
}

/// The other end of a [`Stop`].
#[derive(Debug)]
pub struct Stopper(watch::Sender<Option<Instant>>);

impl Stopper {
    /// Both ends.
    #[must_use]
    pub fn new() -> (Self, Stop) {
        let (stop, stopped) = watch::channel(None);
        (Self(stop), Stop(stopped))
    }

    /// Tells to end: what is under way is finished until `deadline`. A second call can only shorten
    /// the time.
    pub fn stop(&self, deadline: Instant) {
        self.0.send_if_modified(|asked| {
            let sooner = asked.is_none_or(|before| deadline < before);
            if sooner {
                *asked = Some(deadline);
            }
            sooner
        });
    }
}

/// What tells a role to end. Clones tell the same.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<Option<Instant>>);

impl Stop {
    /// Waits until the role is to end; returns by when it has to have finished.
    pub async fn asked(&mut self) -> Instant {
        // Whoever could have asked is gone: that is an order too.
        let asked = self.0.wait_for(Option::is_some).await.ok().and_then(|asked| *asked);
        asked.unwrap_or_else(Instant::now)
    }

    /// Waits until the role has to have finished, however often the time is shortened meanwhile.
    pub async fn over(&mut self) {
        let mut deadline = self.asked().await;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(deadline.into()) => return,
                changed = self.0.changed() => match (changed, self.deadline()) {
                    (Ok(()), Some(sooner)) => deadline = sooner,
                    // Nobody is left who could shorten it.
                    (Ok(()), None) | (Err(_), _) => {
                        return tokio::time::sleep_until(deadline.into()).await;
                    }
                },
            }
        }
    }

    /// By when the role has to have finished, once it is to end.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.0.has_changed() {
            Ok(_) => *self.0.borrow(),
            Err(_) => Some(self.0.borrow().unwrap_or_else(Instant::now)),
        }
    }
}

impl Role {
    /// Starts a role. `run` is called on its thread, within a single-threaded runtime, and again
    /// after each failure: an error, a panic, or an end that nobody asked for.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start<F, R, E>(name: &'static str, registry: &Registry, run: R) -> io::Result<Self>
    where
        R: FnMut(Stop) -> F + Send + 'static,
        F: Future<Output = Result<(), E>> + 'static,
        E: Error,
    {
        let (stop, stopped) = Stopper::new();
        let (state, seen) = watch::channel(State::Running);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let registry = registry.clone();
        let thread =
            std::thread::Builder::new().name(format!("pillion-{name}")).spawn(move || {
                let keeper = Keeper {
                    name,
                    restarts: registry.counter(&RESTARTS, &[name]),
                    up: registry.gauge(&UP, &[name]),
                    state,
                    stop: stopped,
                };
                keeper.keep(&runtime, run);
                runtime.shutdown_background();
            })?;
        Ok(Self { name, stop, state: seen, thread: Some(thread) })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How it is, and every change of it.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Tells it to end: what is under way is finished until `deadline`. A second call can only
    /// shorten the time.
    pub fn stop(&self, deadline: Instant) {
        self.stop.stop(deadline);
    }

    /// Waits until it has ended, which it does soon after its deadline.
    pub async fn ended(&mut self) {
        // The thread drops its end when it is over, whatever it was over with.
        while *self.state.borrow() != State::Ended && self.state.changed().await.is_ok() {}
        if let Some(thread) = self.thread.take().filter(JoinHandle::is_finished) {
            drop(thread.join());
        }
    }
}

/// What runs a role on its thread.
struct Keeper {
    name: &'static str,
    restarts: Counter,
    up: Gauge,
    state: watch::Sender<State>,
    stop: Stop,
}

impl Keeper {
    fn keep<F, R, E>(mut self, runtime: &tokio::runtime::Runtime, mut run: R)
    where
        R: FnMut(Stop) -> F,
        F: Future<Output = Result<(), E>> + 'static,
        E: Error,
    {
        let mut wait = BACKOFF;
        loop {
            self.up.set(1);
            let began = Instant::now();
            let stop = self.stop.clone();
            // What a panic may have left half done is dropped with the future; a role keeps what
            // has to last on disk.
            let ended = catch_unwind(AssertUnwindSafe(|| {
                LocalSet::new().block_on(runtime, async { run(stop).await })
            }));
            self.up.set(0);
            let reason = match ended {
                Ok(Ok(())) if self.stop.deadline().is_some() => break,
                Ok(Ok(())) => "it ended by itself".to_owned(),
                Ok(Err(error)) => Causes(&error).to_string(),
                Err(_) => "it panicked".to_owned(),
            };
            if began.elapsed() > SETTLED {
                wait = BACKOFF;
            }
            if !self.again(runtime, reason, wait) {
                break;
            }
            wait = (wait * 2).min(BACKOFF_MAX);
        }
        self.state.send_replace(State::Ended);
    }

    /// Waits for the next start; `false` when the role was told to end meanwhile.
    fn again(&mut self, runtime: &tokio::runtime::Runtime, reason: String, wait: Duration) -> bool {
        let name = self.name;
        if self.stop.deadline().is_some() {
            say!(Warn, "a role failed while it was ending", role = name, error = reason);
            return false;
        }
        say!(
            Error,
            "a role failed and is started again; the others go on",
            role = name,
            error = reason,
            wait = format_args!("{wait:?}")
        );
        self.state.send_replace(State::Failed(reason));
        let stopped =
            runtime.block_on(async { tokio::time::timeout(wait, self.stop.asked()).await.is_ok() });
        if !stopped {
            self.restarts.inc();
            self.state.send_replace(State::Running);
        }
        !stopped
    }
}

/// A value that a role follows: its configuration, swapped whole on a reload.
pub type Followed<T> = watch::Receiver<Arc<T>>;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn wait_for(role: &Role, wanted: impl Fn(&State) -> bool) -> State {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut state = role.state();
        runtime.block_on(async { state.wait_for(|state| wanted(state)).await.unwrap().clone() })
    }

    fn end(mut role: Role) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        role.stop(Instant::now());
        runtime.block_on(role.ended());
        assert_eq!(*role.state.borrow(), State::Ended);
    }

    #[test]
    fn the_time_until_the_end_can_be_shortened_while_it_runs() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (stopper, mut stop) = Stopper::new();
        stopper.stop(Instant::now() + Duration::from_secs(3600));
        runtime.block_on(async {
            let over = stop.over();
            tokio::pin!(over);
            tokio::select! {
                biased;
                () = &mut over => panic!("an hour has not gone by"),
                () = async {} => stopper.stop(Instant::now()),
            }
            over.await;
        });
    }

    #[test]
    fn a_role_that_failed_is_started_again_and_ends_when_it_is_told_to() {
        let registry = Registry::new(10);
        let (started, starts) = mpsc::channel();
        let mut start = 0;
        let role = Role::start("trial", &registry, move |mut stop: Stop| {
            start += 1;
            started.send(start).unwrap();
            let fails = start < 3;
            async move {
                match fails {
                    true => Err(io::Error::other("the disk is full")),
                    false => {
                        stop.asked().await;
                        Ok(())
                    }
                }
            }
        })
        .unwrap();
        let starts: Vec<u32> = starts.into_iter().take(3).collect();
        assert_eq!(starts, [1, 2, 3]);
        let text = registry.render();
        assert!(text.contains("pillion_role_restarts_total{role=\"trial\"} 2"), "{text}");
        end(role);
    }

    #[test]
    fn why_a_role_failed_can_be_seen_and_it_ends_also_while_it_waits() {
        type Run = fn() -> io::Result<()>;
        let runs: [(Run, &str); 3] = [
            (|| Err(io::Error::other("the disk is full")), "the disk is full"),
            (|| panic!("a fault of ours"), "it panicked"),
            (|| Ok(()), "it ended by itself"),
        ];
        for (run, reason) in runs {
            let role =
                Role::start("trial", &Registry::new(10), move |_| async move { run() }).unwrap();
            // It fails again and again, and waits longer each time: sooner or later it is seen.
            let state = wait_for(&role, |state| matches!(state, State::Failed(_)));
            assert_eq!(state, State::Failed(reason.to_owned()));
            end(role);
        }
    }
}
