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
use crate::sink::Sink;
use circuit::Circuit;
pub use circuit::State as CircuitState;
use pace::Pace;
use status::Counts;
pub use status::Status;

/// Where the batches of one sink come from.
pub trait Supply {
    /// A batch, with what is to be said about it.
    type Parcel: Parcel + 'static;

    /// Waits for the next batch; `None`: none will come any more. Where the sink asks for that
    /// order ([`Sink::order`]), it hands out one batch of a partition at a time. Dropping the
    /// future loses none.
    fn next(&mut self) -> impl Future<Output = Option<Self::Parcel>>;
}

/// A batch that was handed out. Dropped without [`Parcel::done`], it is to be handed out again,
/// before all that came after it.
pub trait Parcel {
    /// The batch.
    fn batch(&self) -> &Batch;

    /// The sink refused some of its records for good.
    fn dead<'r>(&self, records: impl Iterator<Item = &'r [u8]>, reason: &str);

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
        let mut tasks: JoinSet<Result<(), String>> = JoinSet::new();
        let mut has_more = true;
        while has_more || !tasks.is_empty() {
            // Neither arm loses anything when the other one wins.
            tokio::select! {
                next = supply.next(), if has_more && tasks.len() < self.limit() => match next {
                    Some(parcel) => drop(tasks.spawn_local(attempts::run(self.0.clone(), parcel))),
                    None => has_more = false,
                },
                Some(ended) = tasks.join_next() => match ended {
                    Ok(Ok(())) => {}
                    Ok(Err(closed)) => return End::Closed(closed),
                    Err(error) => self.panicked(&error),
                },
            }
        }
        End::Drained
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

    /// A task ended in a way that it never should; its batch has gone back to the supply.
    fn panicked(&self, error: &JoinError) {
        // It may have been the probe that all others wait for.
        self.0.circuit.borrow_mut().failed(Instant::now(), self.0.retry.min);
        self.0.changed.notify_waiters();
        say!(Error, "delivering log records failed", sink = self.0.name, error = error);
    }
}
