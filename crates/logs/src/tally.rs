//! How much of something there is: batches, records, bytes.

use std::ops::{AddAssign, SubAssign};

use crate::batch::Batch;

/// A number of batches, the records in them, and the bytes of these as they are encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Batches.
    pub batches: u64,
    /// Records.
    pub records: u64,
    /// Bytes of the encoded records.
    pub bytes: u64,
}

impl Tally {
    /// Whether it is nothing.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

impl From<&Batch> for Tally {
    fn from(batch: &Batch) -> Self {
        Self { batches: 1, records: batch.ends.len() as u64, bytes: batch.bytes.len() as u64 }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.batches += other.batches;
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Tally {
    fn sub_assign(&mut self, other: Self) {
        self.batches = self.batches.saturating_sub(other.batches);
        self.records = self.records.saturating_sub(other.records);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}
