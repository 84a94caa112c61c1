//! Reading frames from a segment, and finding the next good one after a bad one.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::frame::{self, HEADER, Header, MAGIC, NoHeader};
use crate::batch::Batch;

/// Bytes that are searched at a time.
const WINDOW: usize = 64 << 10;

/// What lies at a place of a segment.
#[derive(Debug)]
pub(crate) enum Found {
    /// A whole batch.
    Batch(Header, Batch),
    /// Nothing that can be read, up to the next place where to look.
    Bad(Bad),
    /// The end of the segment.
    End,
}

/// Bytes of a segment that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    /// Where they begin.
    pub(crate) start: u64,
    /// Where the next frame begins, or the segment ends.
    pub(crate) end: u64,
    /// What is wrong.
    pub(crate) flaw: Flaw,
}

/// What is wrong with bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// They are no header, or a damaged one.
    Header,
    /// They are a header of a version that this program does not know.
    Version(u8),
    /// The header is good, what follows does not match its checksum.
    Payload,
    /// The last record of the segment was not written to its end.
    Torn,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("damaged header"),
            Self::Version(version) => write!(f, "version {version}, which is not known"),
            Self::Payload => f.write_str("damaged payload"),
            Self::Torn => f.write_str("torn: not written to its end"),
        }
    }
}

/// The header at `at` of a segment that has `len` bytes; `None` at its end.
pub(crate) fn header(file: &File, at: u64, len: u64) -> io::Result<Option<Result<Header, Flaw>>> {
    let left = len.saturating_sub(at);
    if left == 0 {
        return Ok(None);
    }
    let mut bytes = [0; HEADER];
    if left < HEADER as u64 {
        // So short a rest is a torn header if it begins as one.
        let begin = bytes.get_mut(..left.min(4) as usize).unwrap_or_default();
        read(file, begin, at)?;
        let flaw = if MAGIC.starts_with(begin) { Flaw::Torn } else { Flaw::Header };
        return Ok(Some(Err(flaw)));
    }
    read(file, &mut bytes, at)?;
    Ok(Some(match Header::parse(&bytes) {
        Ok(header) if header.frame() > left => Err(Flaw::Torn),
        Ok(header) => Ok(header),
        Err(NoHeader::Damaged) => Err(Flaw::Header),
        Err(NoHeader::Version(version)) => Err(Flaw::Version(version)),
    }))
}

/// What lies at `at` of a segment that has `len` bytes. No more memory is taken than the segment
/// has bytes, whatever they are.
pub(crate) fn find(file: &File, at: u64, len: u64) -> io::Result<Found> {
    let header = match header(file, at, len)? {
        None => return Ok(Found::End),
        Some(Err(flaw)) => return Ok(Found::Bad(skip(file, at, len, flaw)?)),
        Some(Ok(header)) => header,
    };
    if let Some(batch) = payload(file, at, &header)? {
        return Ok(Found::Batch(header, batch));
    }
    // The header is certain, and so is where the next frame begins.
    Ok(Found::Bad(Bad { start: at, end: at + header.frame(), flaw: Flaw::Payload }))
}

fn payload(file: &File, at: u64, header: &Header) -> io::Result<Option<Batch>> {
    let (lead_len, len) = (header.lead(), header.bytes);
    let (Ok(lead_len), Ok(len)) = (usize::try_from(lead_len), usize::try_from(len)) else {
        return Ok(None);
    };
    let (mut lead, mut bytes) = (vec![0; lead_len], vec![0; len]);
    let start = at + HEADER as u64;
    read(file, &mut lead, start)?;
    read(file, &mut bytes, start + header.lead())?;
    Ok(frame::batch(header, &lead, bytes))
}

/// Everything from `at` to the next place that has a good header whose frame ends within the
/// segment.
pub(super) fn skip(file: &File, at: u64, len: u64, flaw: Flaw) -> io::Result<Bad> {
    let mut window = Vec::new();
    let mut from = at + 1;
    while from < len {
        // A magic that a window cuts in two is found in the next, which begins before its end.
        let size = (len - from).min(WINDOW as u64) as usize;
        window.resize(size, 0);
        read(file, &mut window, from)?;
        for found in memchr::memmem::find_iter(&window, &MAGIC) {
            let place = from + found as u64;
            if matches!(header(file, place, len)?, Some(Ok(_))) {
                return Ok(Bad { start: at, end: place, flaw });
            }
        }
        let overlap = if from + (size as u64) < len { MAGIC.len() - 1 } else { 0 };
        from += (size - overlap) as u64;
    }
    Ok(Bad { start: at, end: len, flaw })
}

/// Fills `buffer`. A file that is shorter than it was reads as zeroes there: a flaw like others, not
/// an end of everything.
fn read(file: &File, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(buffer, at) {
            Ok(0) => {
                buffer.fill(0);
                return Ok(());
            }
            Ok(count) => {
                buffer = buffer.get_mut(count..).unwrap_or_default();
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
