//! Delivery to one sink: how much at a time, how often, and until when.
//!
//! One task takes batches from a [`Supply`]; each batch on its way is a task of its own. A sink
//! that is slow, away or refusing holds up its own batches and nothing else.

mod attempts;
mod backoff;
mod circuit;
mod pace;
mod status;

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use pillion_model::logs::Retry;
use pillion_runtime::say;
use pillion_traffic::Random;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::batch::Batch;
use crate::sink::{Order, Sink};
use circuit::Circuit;
pub use circuit::State as CircuitState;
use pace::Pace;
use status::Counts;
pub use status::Status;

/// Where the batches of one sink come from.
pub trait Supply {
    /// A batch, with what is to be said about it.
    type Parcel: Parcel + 'static;

    /// Waits for the next batch; `None`: none will come any more. Dropping the future loses none.
    fn next(&mut self) -> impl Future<Output = Option<Self::Parcel>>;
}

/// A batch that was handed out. Dropped without [`Parcel::done`], it is to be handed out again,
/// before all that came after it.
pub trait Parcel {
    /// The batch.
    fn batch(&self) -> &Batch;

    /// The sink refused one of its records for good.
    fn dead(&self, record: &[u8], reason: &str);

    /// Every record is delivered or dead.
    fn done(self);
}

/// How a delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The supply has ended, and all of it is delivered or dead.
    Drained,
    /// The sink will never take anything again; what it had goes back to the supply.
    Closed(String),
}

/// Delivers to one sink. Clones are the same delivery: one runs, others look at its status.
#[derive(Clone, Debug)]
pub struct Deliverer(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    name: Arc<str>,
    sink: Sink,
    retry: Retry,
    pace: RefCell<Pace>,
    circuit: RefCell<Circuit>,
    random: RefCell<Random>,
    counts: RefCell<Counts>,
    /// The circuit may let someone through.
    changed: Notify,
}

/// What a task that delivered a batch leaves.
type Finished = (Arc<str>, Result<(), String>);

impl Deliverer {
    /// Delivery to the sink with this name. `seed` makes the jitter of this process its own.
    #[must_use]
    pub fn new(name: Arc<str>, sink: Sink, retry: Retry, seed: u64) -> Self {
        let pace = RefCell::new(Pace::new(sink.concurrency));
        Self(Rc::new(Inner {
            name,
            sink,
            retry,
            pace,
            circuit: RefCell::default(),
            random: RefCell::new(Random::new(seed)),
            counts: RefCell::default(),
            changed: Notify::new(),
        }))
    }

    /// Delivers until the supply ends. To be run in a [`tokio::task::LocalSet`]; dropped, it gives
    /// back to the supply what is on its way.
    pub async fn run<S: Supply>(&self, mut supply: S) -> End {
        let mut waiting: VecDeque<S::Parcel> = VecDeque::new();
        let mut busy: HashSet<Arc<str>> = HashSet::new();
        let mut tasks: JoinSet<Finished> = JoinSet::new();
        let mut has_more = true;
        loop {
            while tasks.len() < self.limit()
                && let Some(parcel) = self.next_free(&mut waiting, &busy)
            {
                busy.insert(parcel.batch().partition.clone());
                tasks.spawn_local(attempts::run(self.0.clone(), parcel));
            }
            if !has_more && waiting.is_empty() && tasks.is_empty() {
                return End::Drained;
            }
            // Neither arm loses anything when the other one wins.
            tokio::select! {
                next = supply.next(), if has_more && self.wants_more(waiting.len(), tasks.len()) => {
                    has_more = next.is_some();
                    waiting.extend(next);
                }
                Some(finished) = tasks.join_next() => match self.finished(finished) {
                    Some((partition, Ok(()))) => drop(busy.remove(&partition)),
                    Some((_, Err(closed))) => return End::Closed(closed),
                    None => busy.clear(),
                },
            }
        }
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let circuit = self.0.circuit.borrow().state();
        self.0.counts.borrow().status(circuit, self.limit())
    }

    /// How many batches may be on their way now.
    fn limit(&self) -> usize {
        self.0.pace.borrow().limit()
    }

    fn wants_more(&self, waiting: usize, on_their_way: usize) -> bool {
        match self.0.sink.order {
            Order::Free => waiting + on_their_way < self.limit(),
            // One whose partition is busy must not keep those of others from being seen.
            Order::ByPartition => waiting < self.0.sink.concurrency,
        }
    }

    /// The first batch that may go, which leaves those of each partition in their order.
    fn next_free<P: Parcel>(
        &self,
        waiting: &mut VecDeque<P>,
        busy: &HashSet<Arc<str>>,
    ) -> Option<P> {
        let at = match self.0.sink.order {
            Order::Free => 0,
            Order::ByPartition => {
                waiting.iter().position(|parcel| !busy.contains(&parcel.batch().partition))?
            }
        };
        waiting.remove(at)
    }

    /// `None`: it panicked, which gave its batch back.
    fn finished(&self, finished: Result<Finished, JoinError>) -> Option<Finished> {
        match finished {
            Ok(finished) => Some(finished),
            Err(error) => {
                // It may have been the probe that all others wait for.
                self.0.circuit.borrow_mut().failed(Instant::now(), self.0.retry.min);
                self.0.changed.notify_waiters();
                say!(
                    Error,
                    "a delivery ended in a way that it never should",
                    sink = self.0.name,
                    error = error
                );
                None
            }
        }
    }
}
