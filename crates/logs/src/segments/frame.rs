//! One batch as it lies in a segment: a header with a checksum of its own, then partition, ends and
//! bytes under a second checksum. All numbers are little endian.
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 4 | [`MAGIC`]: bytes that are never in UTF-8 text, to find the next frame after a bad one |
//! | 4 | 1 | [`VERSION`] |
//! | 5 | 1 | 1: may be dropped when the disk is full; else 0 |
//! | 6 | 2 | 0 |
//! | 8 | 4 | length of the partition |
//! | 12 | 4 | number of records |
//! | 16 | 4 | length of the encoded records |
//! | 20 | 4 | CRC-32C of everything after the header |
//! | 24 | 8 | when the first record was read |
//! | 32 | 4 | CRC-32C of the 32 bytes before |
//!
//! The header's own checksum makes its lengths certain: damage in the payload costs one batch and
//! not the way to the next.

use crate::batch::Batch;
use crate::record::UnixNanos;
use crate::tally::Tally;

/// What each frame begins with.
pub(crate) const MAGIC: [u8; 4] = [0xf5, b'P', b'l', 0xfe];
/// The version of the layout.
pub(crate) const VERSION: u8 = 1;
/// Bytes of a header.
pub(crate) const HEADER: usize = 36;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Whether the batch may be dropped when the disk is full.
    pub(crate) droppable: bool,
    /// Length of the partition.
    pub(crate) partition: u32,
    /// Number of records.
    pub(crate) records: u32,
    /// Length of the encoded records.
    pub(crate) bytes: u32,
    /// CRC-32C of the payload.
    pub(crate) checksum: u32,
    /// When the first record was read.
    pub(crate) oldest: UnixNanos,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHeader {
    /// They do not begin as one, or do not match their checksum.
    Damaged,
    /// A whole header of a version that is not known here.
    Version(u8),
}

impl Header {
    /// Reads a header.
    pub(crate) fn parse(bytes: &[u8; HEADER]) -> Result<Self, NoHeader> {
        let (summed, checksum) = bytes.split_at(HEADER - 4);
        if !summed.starts_with(&MAGIC) || number(checksum) != crc32c::crc32c(summed) {
            return Err(NoHeader::Damaged);
        }
        let [_, _, _, _, version, droppable, _, _, rest @ ..] = bytes;
        if *version != VERSION {
            return Err(NoHeader::Version(*version));
        }
        let (numbers, [oldest @ .., _, _, _, _]) = rest.split_at(16) else {
            return Err(NoHeader::Damaged);
        };
        let mut numbers = numbers.chunks(4).map(number);
        let mut next = || numbers.next().unwrap_or_default();
        let (partition, records, bytes, checksum) = (next(), next(), next(), next());
        let oldest = UnixNanos::from_le_bytes(oldest.try_into().unwrap_or_default());
        Ok(Self { droppable: *droppable == 1, partition, records, bytes, checksum, oldest })
    }

    fn write(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        let (summed, checksum) = header.split_at_mut(HEADER - 4);
        let fields = [self.partition, self.records, self.bytes, self.checksum];
        let fields = fields.iter().flat_map(|field| field.to_le_bytes());
        let start = MAGIC.into_iter().chain([VERSION, u8::from(self.droppable), 0, 0]);
        let all = start.chain(fields).chain(self.oldest.to_le_bytes());
        summed.iter_mut().zip(all).for_each(|(to, from)| *to = from);
        checksum.copy_from_slice(&crc32c::crc32c(summed).to_le_bytes());
        header
    }

    /// The batch that it is about.
    pub(crate) fn tally(&self) -> Tally {
        Tally { batches: 1, records: self.records.into(), bytes: self.bytes.into() }
    }

    /// Bytes after the header.
    pub(crate) fn payload(&self) -> u64 {
        self.lead() + u64::from(self.bytes)
    }

    /// Bytes between the header and the encoded records.
    pub(crate) fn lead(&self) -> u64 {
        u64::from(self.partition) + 4 * u64::from(self.records)
    }

    /// Bytes of the whole frame.
    pub(crate) fn frame(&self) -> u64 {
        HEADER as u64 + self.payload()
    }
}

/// Writes everything of the batch's frame but its encoded records into `out`, which is cleared.
/// `None`: something in it is too long for the layout (4 GiB).
pub(crate) fn write_lead(batch: &Batch, droppable: bool, out: &mut Vec<u8>) -> Option<Header> {
    out.clear();
    out.resize(HEADER, 0);
    out.extend_from_slice(batch.partition.as_bytes());
    batch.ends.iter().for_each(|end| out.extend_from_slice(&end.to_le_bytes()));
    let lead = out.get(HEADER..).unwrap_or_default();
    let header = Header {
        droppable,
        partition: u32::try_from(batch.partition.len()).ok()?,
        records: u32::try_from(batch.ends.len()).ok()?,
        bytes: u32::try_from(batch.bytes.len()).ok()?,
        checksum: crc32c::crc32c_append(crc32c::crc32c(lead), &batch.bytes),
        oldest: batch.oldest,
    };
    out.get_mut(..HEADER)?.copy_from_slice(&header.write());
    Some(header)
}

/// Puts a batch together from what was read; `None` where it does not match its checksum or cannot
/// be what was written.
pub(crate) fn batch(header: &Header, lead: &[u8], bytes: Vec<u8>) -> Option<Batch> {
    let checksum = crc32c::crc32c_append(crc32c::crc32c(lead), &bytes);
    if checksum != header.checksum {
        return None;
    }
    let (partition, ends) = lead.split_at_checked(usize::try_from(header.partition).ok()?)?;
    let partition = std::str::from_utf8(partition).ok()?.into();
    let ends: Vec<u32> = ends.chunks_exact(4).map(number).collect();
    let is_whole = ends.is_sorted() && ends.last().copied().unwrap_or(0) == header.bytes;
    let oldest = header.oldest;
    let bytes = bytes.into();
    is_whole.then_some(Batch { partition, bytes, ends, oldest, receipts: Vec::new(), charge: None })
}

/// The number that four bytes are; other lengths do not occur.
fn number(bytes: &[u8]) -> u32 {
    bytes.try_into().map(u32::from_le_bytes).unwrap_or_default()
}
