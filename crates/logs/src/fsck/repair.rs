//! Writing segments anew without what cannot be read in them.
//!
//! The order keeps every step safe to end at: first the ledger says that the segment is to be sent
//! from its beginning, then the segment is replaced, then the ledger says the exact place again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::Inspected;
use crate::segments::{Bad, Entry, Ledger, Position, aside, ledger, segment};

/// Repairs what can be repaired; says how many segments that were.
pub(super) fn repair(folder: &Path, segments: &[Inspected]) -> io::Result<u64> {
    let (mut ledger, entry) = Ledger::open(&ledger(folder))?;
    let done = match entry {
        Entry::At(position) => position,
        Entry::Missing | Entry::Bad => Position::default(),
    };
    note(&mut ledger, done)?;
    let mut repaired = 0;
    for inspected in segments.iter().filter(|segment| segment.is_repairable()) {
        let is_at = inspected.number == done.segment;
        if is_at {
            note(&mut ledger, Position { offset: 0, ..done })?;
        }
        rewrite(folder, inspected)?;
        if is_at {
            let before = |bad: &Bad| bad.end.min(done.offset).saturating_sub(bad.start);
            let gone: u64 = inspected.bad.iter().map(before).sum();
            note(&mut ledger, Position { offset: done.offset - gone, ..done })?;
        }
        repaired += 1;
    }
    Ok(repaired)
}

fn note(ledger: &mut Ledger, position: Position) -> io::Result<()> {
    ledger.write(position)?;
    ledger.handle()?.sync_all()
}

fn rewrite(folder: &Path, inspected: &Inspected) -> io::Result<()> {
    let path = segment(folder, inspected.number);
    let mut from = File::open(&path)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    let new_path = path.with_extension("new");
    let mut good = options.clone().truncate(true).open(&new_path)?;
    let mut bad = options.append(true).open(aside(folder, inspected.number))?;
    let len = from.metadata()?.len();
    let mut at = 0;
    for flaw in &inspected.bad {
        copy(&mut from, &mut good, at, flaw.start)?;
        copy(&mut from, &mut bad, flaw.start, flaw.end)?;
        at = flaw.end;
    }
    copy(&mut from, &mut good, at, len)?;
    good.sync_all()?;
    bad.sync_all()?;
    fs::rename(&new_path, &path)?;
    File::open(folder)?.sync_all()
}

fn copy(from: &mut File, to: &mut File, start: u64, end: u64) -> io::Result<()> {
    from.seek(SeekFrom::Start(start))?;
    io::copy(&mut from.take(end - start), to).map(drop)
}
