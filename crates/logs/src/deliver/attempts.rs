//! The way of one batch: tried, split, tried again, until each of its records is delivered or dead.

use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use pillion_runtime::say;
use tokio::time::{Instant, sleep, sleep_until};

use super::circuit::Entry;
use super::pace::Outcome;
use super::{Inner, Parcel, backoff};
use crate::batch::Batch;
use crate::record::UnixNanos;
use crate::sink::{Cause, Load, Mixed, Trouble, Verdict};

/// Records of a batch that are still to be sent together.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Some that follow each other.
    Run(Range<usize>),
    /// Single ones.
    Chosen(Vec<usize>),
}

/// A batch on its way.
struct Way<'a, P> {
    inner: &'a Inner,
    parcel: &'a P,
    began: Instant,
    /// In a row, without a record that arrived.
    tries: u32,
}

/// Counted as long as it lives, however the way of a batch ends.
struct InFlight<'a>(&'a Inner, u64);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.counts.borrow_mut().end(self.1);
    }
}

/// Takes a batch all the way. Ends early, with the reason, only where the sink is closed for good.
pub(super) async fn run<P: Parcel>(inner: Rc<Inner>, parcel: P) -> Result<(), String> {
    let number = inner.counts.borrow_mut().begin(parcel.batch().oldest);
    let in_flight = InFlight(&inner, number);
    let mut way = Way { inner: &inner, parcel: &parcel, began: Instant::now(), tries: 0 };
    way.all().await?;
    drop(in_flight);
    parcel.done();
    Ok(())
}

impl<P: Parcel> Way<'_, P> {
    async fn all(&mut self) -> Result<(), String> {
        // The last is sent first.
        let mut pieces = vec![Piece::Run(0..self.batch().ends.len())];
        while let Some(piece) = pieces.pop() {
            if piece.len() == 0 {
                continue;
            }
            match self.send(&piece).await {
                Verdict::Delivered => self.delivered(&piece, &Mixed::default()),
                Verdict::Halve(reason) => match piece.halves() {
                    Some((first, second)) => pieces.extend([second, first]),
                    None => self.dead(&piece, &reason),
                },
                Verdict::Refused(reason) => self.dead(&piece, &reason),
                Verdict::Short(records, reason) => self.short(&piece, records, &reason),
                Verdict::Mixed(mixed) => {
                    self.delivered(&piece, &mixed);
                    for (record, reason) in &mixed.refused {
                        self.dead(&piece.chosen(&[*record]), reason);
                    }
                    if let Some(trouble) = &mixed.trouble {
                        pieces.extend(self.again(piece.chosen(&mixed.retry), trouble).await);
                    }
                }
                Verdict::Retry(trouble) => pieces.extend(self.again(piece, &trouble).await),
                Verdict::Closed(reason) => return Err(reason),
            }
        }
        Ok(())
    }

    fn batch(&self) -> &Batch {
        self.parcel.batch()
    }

    /// Sends a piece once the circuit lets it through, and reports how that went.
    async fn send(&self, piece: &Piece) -> Verdict {
        self.enter().await;
        let began = Instant::now();
        let batch = self.batch();
        let verdict = match piece {
            Piece::Run(records) => self.inner.sink.send(Load::of(batch, records.clone())).await,
            Piece::Chosen(records) => {
                let (bytes, ends) = gathered(batch, records);
                self.inner.sink.send(Load::new(&batch.partition, &bytes, &ends)).await
            }
        };
        let times = (began, Instant::now());
        let on_their_way = self.inner.counts.borrow().in_flight();
        self.inner.pace.borrow_mut().ended(times, on_their_way, outcome(&verdict));
        if has_answered(&verdict, piece.len()) {
            self.inner.circuit.borrow_mut().succeeded();
            self.inner.changed.notify_waiters();
        }
        verdict
    }

    async fn enter(&self) {
        loop {
            // Before looking, so that no report is missed in between.
            let changed = self.inner.changed.notified();
            let entry = self.inner.circuit.borrow_mut().enter(Instant::now());
            match entry {
                Entry::Go => return,
                Entry::At(time) => sleep_until(time).await,
                Entry::Later => changed.await,
            }
        }
    }

    /// Counts what arrived of a piece.
    fn delivered(&mut self, piece: &Piece, mixed: &Mixed) {
        let refused = mixed.refused.iter().map(|(place, _)| place);
        let missing: HashSet<&usize> = mixed.retry.iter().chain(refused).collect();
        let arrived = piece.records().enumerate().filter(|(place, _)| !missing.contains(place));
        let (records, bytes) = arrived.fold((0, 0), |(records, bytes), (_, record)| {
            (records + 1, bytes + self.bytes_of(record))
        });
        self.arrived(records, bytes);
    }

    fn arrived(&mut self, records: u64, bytes: usize) {
        self.inner.counts.borrow_mut().delivered(records, bytes, now());
        if records > 0 {
            self.tries = 0;
        }
    }

    fn bytes_of(&self, record: usize) -> usize {
        Load::of(self.batch(), record..record + 1).bytes().len()
    }

    /// Waits, and gives back what is to be sent again: nothing once its time is up.
    async fn again(&mut self, piece: Piece, trouble: &Trouble) -> Option<Piece> {
        self.tries = self.tries.saturating_add(1);
        self.complain(trouble);
        let retry = &self.inner.retry;
        let wait = backoff::wait(retry, self.tries, trouble, &mut self.inner.random.borrow_mut());
        self.inner.circuit.borrow_mut().failed(Instant::now(), wait);
        self.inner.changed.notify_waiters();
        let spent = self.began.elapsed();
        if let Some(limit) = retry.give_up.filter(|limit| spent + wait > *limit) {
            self.dead(&piece, &format!("given up after {limit:?}: {}", trouble.text));
            return None;
        }
        sleep(wait).await;
        Some(piece)
    }

    /// Says trouble aloud when it begins or changes.
    fn complain(&self, trouble: &Trouble) {
        if !self.inner.counts.borrow_mut().failed(trouble) {
            return;
        }
        let (sink, cause) = (&self.inner.name, trouble.cause.label());
        if let Some(remedy) = trouble.cause.remedy() {
            say!(
                Error,
                "logs cannot be delivered, and wait until somebody acts: {remedy}",
                sink = sink,
                cause = cause,
                error = trouble.text
            );
        } else {
            say!(
                Warn,
                "logs cannot be delivered, and are tried again",
                sink = sink,
                cause = cause,
                error = trouble.text
            );
        }
    }

    fn dead(&self, piece: &Piece, reason: &str) {
        let batch = self.batch();
        let records = piece.records().map(|record| Load::of(batch, record..record + 1).bytes());
        self.parcel.dead(records, reason);
        self.rejected(u64::try_from(piece.len()).unwrap_or(u64::MAX), reason);
    }

    /// Some were refused, and nobody knows which; so the bytes are those of all.
    fn short(&mut self, piece: &Piece, refused: u64, reason: &str) {
        let records = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        let bytes = piece.records().map(|record| self.bytes_of(record)).sum();
        self.arrived(records.saturating_sub(refused), bytes);
        self.rejected(refused, reason);
    }

    fn rejected(&self, records: u64, reason: &str) {
        self.inner.counts.borrow_mut().rejected(records, reason);
        say!(
            Warn,
            "a sink refused log records for good",
            sink = self.inner.name,
            records = records,
            reason = reason
        );
    }
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Run(records) => records.len(),
            Self::Chosen(records) => records.len(),
        }
    }

    /// The numbers of its records in the batch.
    fn records(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        match self {
            Self::Run(records) => Box::new(records.clone()),
            Self::Chosen(records) => Box::new(records.iter().copied()),
        }
    }

    /// Those of its records that have these places in it.
    fn chosen(&self, places: &[usize]) -> Self {
        Self::Chosen(match self {
            Self::Run(records) => places.iter().map(|place| records.start + place).collect(),
            Self::Chosen(records) => {
                places.iter().filter_map(|place| records.get(*place).copied()).collect()
            }
        })
    }

    /// Two of half the size; `None` for a single record.
    fn halves(&self) -> Option<(Self, Self)> {
        let half = self.len() / 2;
        (half > 0).then(|| match self {
            Self::Run(Range { start, end }) => {
                (Self::Run(*start..start + half), Self::Run(start + half..*end))
            }
            Self::Chosen(records) => {
                let (first, second) = records.split_at(half);
                (Self::Chosen(first.to_vec()), Self::Chosen(second.to_vec()))
            }
        })
    }
}

/// What a verdict says about how much the sink can take.
fn outcome(verdict: &Verdict) -> Outcome {
    match verdict {
        Verdict::Retry(trouble) | Verdict::Mixed(Mixed { trouble: Some(trouble), .. }) => {
            match trouble.cause {
                Cause::Busy | Cause::Timeout => Outcome::Overloaded,
                Cause::Connect
                | Cause::Broken
                | Cause::Server
                | Cause::Credentials
                | Cause::Address
                | Cause::Garbled
                | Cause::Local => Outcome::Unrelated,
            }
        }
        Verdict::Delivered | Verdict::Mixed(_) | Verdict::Short(..) => Outcome::Answered,
        Verdict::Halve(_) | Verdict::Refused(_) | Verdict::Closed(_) => Outcome::Unrelated,
    }
}

/// Whether the sink does what it is for, of so many records for at least one.
fn has_answered(verdict: &Verdict, records: usize) -> bool {
    match verdict {
        Verdict::Retry(_) => false,
        Verdict::Mixed(mixed) => mixed.retry.len() < records,
        Verdict::Delivered
        | Verdict::Halve(_)
        | Verdict::Refused(_)
        | Verdict::Short(..)
        | Verdict::Closed(_) => true,
    }
}

/// Records that do not follow each other, one after another.
fn gathered(batch: &Batch, records: &[usize]) -> (Bytes, Vec<u32>) {
    let mut bytes = Vec::new();
    let mut ends = Vec::with_capacity(records.len());
    for record in records {
        bytes.extend_from_slice(Load::of(batch, *record..record + 1).bytes());
        ends.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    }
    (bytes.into(), ends)
}

fn now() -> UnixNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNanos::try_from(since.as_nanos()).unwrap_or(UnixNanos::MAX)
}
