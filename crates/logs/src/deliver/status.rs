//! How the delivery to a sink stands: for metrics, status and people.

use std::collections::BTreeMap;

use super::CircuitState;
use crate::record::UnixNanos;
use crate::sink::{Cause, Trouble};

/// How the delivery to one sink stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Batches on their way, those that wait for their next try included.
    pub in_flight: usize,
    /// The most that may be, now.
    pub limit: usize,
    /// Records that arrived, since the start.
    pub delivered_records: u64,
    /// Their bytes, before compression.
    pub delivered_bytes: u64,
    /// Tries that did not succeed, by cause, since the start.
    pub retries: [(Cause, u64); Cause::ALL.len()],
    /// Records that were refused for good, or given up, since the start.
    pub rejected_records: u64,
    /// The circuit.
    pub circuit: CircuitState,
    /// What went wrong last; `None` once something has arrived after it.
    pub last_error: Option<String>,
    /// When something last arrived.
    pub last_success: Option<UnixNanos>,
    /// When the first record of the oldest batch on its way was read.
    pub oldest: Option<UnixNanos>,
}

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// By number, the time of the first record.
    in_flight: BTreeMap<u64, UnixNanos>,
    /// The number of the next batch.
    next: u64,
    delivered_records: u64,
    delivered_bytes: u64,
    retries: BTreeMap<&'static str, u64>,
    rejected_records: u64,
    last_error: Option<String>,
    last_success: Option<UnixNanos>,
}

impl Counts {
    /// A batch is on its way; returns its number.
    pub(super) fn begin(&mut self, oldest: UnixNanos) -> u64 {
        self.next += 1;
        self.in_flight.insert(self.next, oldest);
        self.next
    }

    pub(super) fn end(&mut self, number: u64) {
        self.in_flight.remove(&number);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn delivered(&mut self, records: usize, bytes: usize, now: UnixNanos) {
        self.delivered_records += count(records);
        self.delivered_bytes += count(bytes);
        if records > 0 {
            self.last_success = Some(now);
            self.last_error = None;
        }
    }

    /// Returns whether it is other trouble than the last time.
    pub(super) fn failed(&mut self, trouble: &Trouble) -> bool {
        *self.retries.entry(trouble.cause.label()).or_default() += 1;
        self.said(&trouble.text)
    }

    pub(super) fn rejected(&mut self, records: u64, reason: &str) {
        self.rejected_records += records;
        self.said(reason);
    }

    fn said(&mut self, text: &str) -> bool {
        let is_new = self.last_error.as_deref() != Some(text);
        if is_new {
            self.last_error = Some(text.to_owned());
        }
        is_new
    }

    pub(super) fn status(&self, circuit: CircuitState, limit: usize) -> Status {
        let retries = |cause: Cause| self.retries.get(cause.label()).copied().unwrap_or(0);
        Status {
            in_flight: self.in_flight(),
            limit,
            delivered_records: self.delivered_records,
            delivered_bytes: self.delivered_bytes,
            retries: Cause::ALL.map(|cause| (cause, retries(cause))),
            rejected_records: self.rejected_records,
            circuit,
            last_error: self.last_error.clone(),
            last_success: self.last_success,
            oldest: self.in_flight.values().min().copied(),
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
