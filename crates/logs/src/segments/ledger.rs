//! Up to where a sink has everything: one small file of two slots that are written in turn, so that
//! a torn write leaves the other.
//!
//! A slot is, little endian: [`MAGIC`], 4 bytes; version, 4; turn, 8; segment, 8; offset, 8; CRC-32C
//! of these, 4.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

const MAGIC: [u8; 4] = *b"Plg\xfe";
const VERSION: u32 = 1;
const SLOT: usize = 36;
/// Slots lie in sectors of their own.
const STRIDE: u64 = 512;

/// A place in the segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The number of the segment.
    pub segment: u64,
    /// The offset in it.
    pub offset: u64,
}

/// What a ledger says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Everything before this is done.
    At(Position),
    /// There is no ledger.
    Missing,
    /// There is one, and nothing in it can be read.
    Bad,
}

/// An open ledger.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: File,
    turn: u64,
}

impl Ledger {
    /// Opens the ledger, and makes one where there is none that can be read.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Entry)> {
        let existed = path.try_exists()?;
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let (turn, entry) = match newest(&file)? {
            Some((turn, position)) => (turn, Entry::At(position)),
            None if existed => (0, Entry::Bad),
            None => (0, Entry::Missing),
        };
        // Takes the space now: what is only overwritten needs none on a full disk.
        if file.metadata()?.len() < 2 * STRIDE {
            let start = file.metadata()?.len();
            let rest = usize::try_from(2 * STRIDE - start).unwrap_or(0);
            file.write_all_at(&vec![0; rest], start)?;
        }
        Ok((Self { file, turn }, entry))
    }

    /// Notes a position. It is in the file for this process and those after it, and not for
    /// certain on the disk.
    pub(crate) fn write(&mut self, position: Position) -> io::Result<()> {
        let turn = self.turn + 1;
        self.file.write_all_at(&slot(turn, position), (turn % 2) * STRIDE)?;
        self.turn = turn;
        Ok(())
    }

    /// Another handle of the same file, to wait for the disk elsewhere.
    pub(crate) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// What the ledger at `path` says, without changing anything.
pub(crate) fn peek(path: &Path) -> io::Result<Entry> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Entry::Missing),
        Err(error) => return Err(error),
    };
    Ok(newest(&file)?.map_or(Entry::Bad, |(_, position)| Entry::At(position)))
}

fn newest(file: &File) -> io::Result<Option<(u64, Position)>> {
    let mut newest = None;
    for index in 0..2 {
        let mut bytes = [0; SLOT];
        match file.read_exact_at(&mut bytes, index * STRIDE) {
            Ok(()) => newest = newest.max(parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error),
        }
    }
    Ok(newest)
}

fn slot(turn: u64, position: Position) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    let (summed, checksum) = slot.split_at_mut(SLOT - 4);
    let numbers = [turn, position.segment, position.offset];
    let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
    let all = MAGIC.into_iter().chain(VERSION.to_le_bytes()).chain(numbers);
    summed.iter_mut().zip(all).for_each(|(to, from)| *to = from);
    checksum.copy_from_slice(&crc32c::crc32c(summed).to_le_bytes());
    slot
}

fn parse(slot: &[u8; SLOT]) -> Option<(u64, Position)> {
    let (summed, checksum) = slot.split_at(SLOT - 4);
    let numbers = summed.strip_prefix(&MAGIC)?.strip_prefix(&VERSION.to_le_bytes())?;
    if crc32c::crc32c(summed).to_le_bytes() != *checksum {
        return None;
    }
    let mut numbers = numbers.chunks_exact(8).map(|bytes| bytes.try_into().map(u64::from_le_bytes));
    let mut next = || numbers.next()?.ok();
    Some((next()?, Position { segment: next()?, offset: next()? }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn at(segment: u64, offset: u64) -> Position {
        Position { segment, offset }
    }

    #[test]
    fn the_last_position_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        assert_eq!(peek(&path).unwrap(), Entry::Missing);
        let (mut ledger, entry) = Ledger::open(&path).unwrap();
        assert_eq!(entry, Entry::Missing);
        for offset in 0..5 {
            ledger.write(at(7, offset)).unwrap();
            assert_eq!(peek(&path).unwrap(), Entry::At(at(7, offset)));
        }
        drop(ledger);
        assert_eq!(Ledger::open(&path).unwrap().1, Entry::At(at(7, 4)));
    }

    #[test]
    fn a_write_that_is_torn_at_any_byte_leaves_the_position_before_or_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let (mut ledger, _) = Ledger::open(&path).unwrap();
        ledger.write(at(1, 10)).unwrap();
        ledger.write(at(1, 20)).unwrap();
        let before = fs::read(&path).unwrap();
        ledger.write(at(1, 30)).unwrap();
        let after = fs::read(&path).unwrap();
        for torn in 0..=after.len() {
            fs::write(&path, [&after[..torn], &before[torn..]].concat()).unwrap();
            let Entry::At(read) = peek(&path).unwrap() else { panic!("nothing left at {torn}") };
            assert!([at(1, 20), at(1, 30)].contains(&read), "{read:?} at {torn}");
        }
    }

    #[test]
    fn no_flipped_bit_is_believed() {
        let good = slot(9, at(3, 77));
        assert_eq!(parse(&good), Some((9, at(3, 77))));
        for bit in 0..SLOT * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn a_ledger_of_garbage_is_bad_and_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        for garbage in [&b""[..], b"x", &[0xff; 5000]] {
            fs::write(&path, garbage).unwrap();
            let (mut ledger, entry) = Ledger::open(&path).unwrap();
            assert_eq!(entry, Entry::Bad);
            ledger.write(at(2, 3)).unwrap();
            assert_eq!(peek(&path).unwrap(), Entry::At(at(2, 3)));
        }
    }
}
