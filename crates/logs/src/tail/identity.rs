//! Which file it is, and whether its contents are still those that were read.
//!
//! An inode number alone says little: it is used again. So a file is device, inode and birth time,
//! and what was read of it is known by a [`Mark`]: checksums of its first bytes and of the last
//! bytes before the place where reading stopped. Both are looked at whenever reading goes on.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// So many bytes at the beginning are remembered.
pub(super) const HEAD: usize = 1024;
/// So many bytes before the end of what was read are remembered.
pub(super) const TAIL: usize = 256;

/// Device, inode and birth time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Nanoseconds since 1970; 0 where the file system does not say.
    pub(super) born: u64,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let born = born.and_then(|since| u64::try_from(since.as_nanos()).ok());
        Self { device: metadata.dev(), inode: metadata.ino(), born: born.unwrap_or(0) }
    }
}

/// What is known of the bytes before `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// How many bytes `head` covers: the lesser of `end` and [`HEAD`].
    pub(super) head_bytes: u16,
    /// CRC32C of the first bytes.
    pub(super) head: u32,
    /// How far was read.
    pub(super) end: u64,
    /// CRC32C of the last bytes before `end`: as many as there are, at most [`TAIL`].
    pub(super) tail: u32,
}

impl Mark {
    /// How many bytes `tail` covers.
    pub(super) fn tail_bytes(&self) -> usize {
        least(self.end, TAIL)
    }

    /// The mark at `end` of what `read_at` reads, or `None` where that is shorter.
    pub(super) fn of(
        end: u64,
        mut read_at: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Option<Self>> {
        let (mut head, mut tail) = ([0; HEAD], [0; TAIL]);
        let (head, tail) = (head.get_mut(..least(end, HEAD)), tail.get_mut(..least(end, TAIL)));
        let (Some(head), Some(tail)) = (head, tail) else { return Ok(None) };
        let before = end.saturating_sub(tail.len() as u64);
        if read_at(0, head)? < head.len() || read_at(before, tail)? < tail.len() {
            return Ok(None);
        }
        let head_bytes = u16::try_from(head.len()).unwrap_or(u16::MAX);
        let (head, tail) = (crc32c::crc32c(head), crc32c::crc32c(tail));
        Ok(Some(Self { head_bytes, head, end, tail }))
    }

    /// The mark at `end` of a file.
    pub(super) fn of_file(file: &File, end: u64) -> io::Result<Option<Self>> {
        Self::of(end, |offset, bytes| read_full(file, offset, bytes))
    }

    /// Whether the file begins with what was read.
    pub(super) fn fits(&self, file: &File) -> io::Result<bool> {
        Ok(Self::of_file(file, self.end)?.as_ref() == Some(self))
    }

    /// Whether the file, which may be shorter, begins as what was read did.
    pub(super) fn fits_head(&self, file: &File) -> io::Result<bool> {
        let mut head = [0; HEAD];
        let head = head.get_mut(..usize::from(self.head_bytes)).unwrap_or_default();
        Ok(read_full(file, 0, head)? == head.len() && crc32c::crc32c(head) == self.head)
    }

    /// Whether `tail` are the bytes before `end`.
    pub(super) fn follows(&self, tail: &[u8]) -> bool {
        tail.len() == self.tail_bytes() && crc32c::crc32c(tail) == self.tail
    }

    /// Takes in bytes that follow: `window` ends with them, and begins at least [`TAIL`] bytes
    /// before them, or at the beginning of the file.
    pub(super) fn extend(&mut self, window: &[u8], new: usize) {
        let bytes = window.get(window.len().saturating_sub(new)..).unwrap_or_default();
        let missing = HEAD.saturating_sub(usize::from(self.head_bytes)).min(bytes.len());
        if missing > 0 {
            let more = bytes.get(..missing).unwrap_or_default();
            self.head = crc32c::crc32c_append(self.head, more);
            self.head_bytes += u16::try_from(missing).unwrap_or(0);
        }
        self.end += bytes.len() as u64;
        let tail = window.get(window.len().saturating_sub(self.tail_bytes())..);
        self.tail = crc32c::crc32c(tail.unwrap_or_default());
    }
}

/// The lesser of both.
fn least(bytes: u64, most: usize) -> usize {
    usize::try_from(bytes).unwrap_or(most).min(most)
}

/// Reads until `bytes` is full or the file ends.
pub(super) fn read_full(file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Stands for one generation of one file, the same whenever it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seed(pub(super) u128);

impl Seed {
    /// The seed of a file that is seen for the first time. `salt` sets contents apart that had the
    /// same place: 0, or a time.
    pub(super) fn new(source: &str, id: FileId, generation: u32, salt: u64) -> Self {
        let numbers = [id.device, id.inode, id.born, u64::from(generation), salt];
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
        Self(bytes.chain(source.bytes()).fold(FNV_OFFSET, |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(FNV_PRIME)
        }))
    }

    /// The id of the record that begins at `offset`. Two offsets never have the same.
    #[must_use]
    pub fn record(self, offset: u64) -> u128 {
        // Each step can be undone, so that nothing falls together.
        let mut id = self.0 ^ u128::from(offset);
        for _ in 0..2 {
            id = id.wrapping_mul(SPREAD);
            id ^= id >> 64;
        }
        id
    }
}

/// FNV-1a of 128 bits.
const FNV_OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const FNV_PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
/// Odd, and half of its bits are set.
const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
