//! The bytes of an open file, decompressed where they have to be.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use nix::fcntl::OFlag;

use super::identity::{Mark, read_full};
use super::names::Packing;

/// So much is decompressed at a time.
const CHUNK: usize = 64 << 10;
/// A window of more than 8 MiB is refused: memory is bounded.
const WINDOW_LOG: u32 = 23;

/// An open file.
pub(super) enum Content {
    /// As it is.
    Plain(File),
    /// Decompressed.
    Packed(Box<Packed>),
}

/// A decompressor, which only ever goes forward.
pub(super) struct Packed {
    decoder: Box<dyn Read>,
    /// What was decompressed last, and where it begins.
    kept: Vec<u8>,
    kept_at: u64,
}

impl Content {
    /// Opens a file, and never waits: not for a writer of a pipe, nor for a device.
    ///
    /// # Errors
    /// When it cannot be opened, or is no regular file.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Metadata)> {
        let (file, metadata) = open(path)?;
        Ok((Self::Plain(file), metadata))
    }

    /// Opens a compressed file.
    ///
    /// # Errors
    /// When it cannot be opened, or is no regular file.
    pub(super) fn unpack(path: &Path, packing: Packing) -> io::Result<Self> {
        let (file, _) = open(path)?;
        let decoder: Box<dyn Read> = match packing {
            Packing::Gzip => Box::new(MultiGzDecoder::new(BufReader::new(file))),
            Packing::Zstd => {
                let mut decoder = zstd::Decoder::new(file)?;
                decoder.window_log_max(WINDOW_LOG)?;
                Box::new(decoder)
            }
        };
        Ok(Self::Packed(Box::new(Packed { decoder, kept: Vec::new(), kept_at: 0 })))
    }

    /// Reads from `offset` until `bytes` is full or the file ends.
    ///
    /// # Errors
    /// When the disk, or what is compressed, is damaged.
    pub(super) fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => read_full(file, offset, bytes),
            Self::Packed(packed) => packed.read_at(offset, bytes),
        }
    }

    /// The mark at `end`. Of a compressed file only once, and before anything behind `end`.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn mark(&mut self, end: u64) -> io::Result<Option<Mark>> {
        Mark::of(end, |offset, bytes| self.read_at(offset, bytes))
    }

    /// The file, where it is read as it is.
    pub(super) fn plain(&self) -> Option<&File> {
        match self {
            Self::Plain(file) => Some(file),
            Self::Packed(_) => None,
        }
    }
}

impl Packed {
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        if offset < self.kept_at {
            return Err(io::Error::from(io::ErrorKind::NotSeekable));
        }
        while !self.forget_before(offset) || self.kept.len() < bytes.len() {
            let before = self.kept.len();
            (&mut self.decoder).take(CHUNK as u64).read_to_end(&mut self.kept)?;
            if self.kept.len() == before {
                break;
            }
        }
        let known = self.kept.len().min(bytes.len());
        if self.kept_at < offset {
            return Ok(0);
        }
        for (to, from) in bytes.iter_mut().zip(&self.kept) {
            *to = *from;
        }
        Ok(known)
    }

    /// Drops what lies before `offset`. Returns whether that is all of it.
    fn forget_before(&mut self, offset: u64) -> bool {
        let surplus = usize::try_from(offset - self.kept_at).unwrap_or(usize::MAX);
        let dropped = surplus.min(self.kept.len());
        self.kept.drain(..dropped);
        self.kept_at += dropped as u64;
        dropped == surplus
    }
}

fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok((file, metadata))
}
