//! Records of one sink, encoded and on their way together.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::budget::Charge;
use crate::receipt::Receipt;
use crate::record::UnixNanos;

/// Records of one sink and one partition, encoded one after another.
#[derive(Debug, Default)]
pub struct Batch {
    /// What has to travel apart from the rest: a Loki stream's labels, an index. Empty for most.
    pub partition: Arc<str>,
    /// The encoded records, without anything between them.
    pub bytes: Bytes,
    /// Where each record ends in `bytes`.
    pub ends: Vec<u32>,
    /// When the first of them was read.
    pub oldest: UnixNanos,
    /// What is given back once all of it is delivered.
    pub receipts: Vec<Receipt>,
    /// What it takes of the budget.
    pub charge: Option<Charge>,
}

impl Batch {
    /// The encoded records, one by one.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let end = usize::try_from(*end).unwrap_or(usize::MAX);
            let record = self.bytes.get(start..end).unwrap_or_default();
            start = end;
            record
        })
    }

    /// The bytes that it takes in memory, near enough for a budget.
    #[must_use]
    pub fn size(&self) -> usize {
        let charged = self.charge.as_ref().map(Charge::bytes);
        charged.unwrap_or(self.bytes.len() + self.ends.len() * size_of::<u32>())
    }

    /// How old its first record is.
    #[must_use]
    pub fn age(&self, now: UnixNanos) -> Duration {
        Duration::from_nanos(u64::try_from(now.saturating_sub(self.oldest)).unwrap_or(0))
    }

    /// All of it is delivered, kept for certain, or dropped on purpose.
    pub fn done(self) {
        self.receipts.into_iter().for_each(Receipt::done);
    }
}
