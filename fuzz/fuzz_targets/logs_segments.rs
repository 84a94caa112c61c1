//! Whatever lies in the folder of a disk buffer: reading it ends, what was good and not touched
//! comes out, and after a repair nothing is bad any more.
//!
//! The first byte of the input says what the rest is: 0: a segment; 1: a ledger; else changes to good
//! segments, four bytes each: where (2), what is done there, and with what.
#![no_main]

use std::fs;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pillion_logs::batch::Batch;
use pillion_logs::fsck;
use pillion_logs::segments::Segments;

const LIMIT: u64 = 1 << 20;
const BATCHES: u8 = 6;

fn batch(id: u8) -> Batch {
    let bytes = vec![id; 40].into();
    Batch { bytes, ends: vec![10, 40], partition: "p".into(), ..Batch::default() }
}

/// A good segment of some batches, of which the first is done.
fn write(folder: &Path) {
    let mut segments = Segments::open(folder, LIMIT).unwrap();
    for id in 0..BATCHES {
        segments.append(&batch(id), false).unwrap();
    }
    segments.read().unwrap().unwrap().done();
    segments.settle();
}

/// Applies the changes, and says which batches they leave alone.
fn change(segment: &Path, changes: &[u8]) -> Vec<u8> {
    let mut bytes = fs::read(segment).unwrap();
    let frame = bytes.len() / usize::from(BATCHES);
    let mut untouched: Vec<u8> = (1..BATCHES).collect();
    for change in changes.chunks_exact(4) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
        match change[2] % 3 {
            0 => bytes[at] ^= change[3],
            1 => bytes[at] = change[3],
            // Only the last may be cut: what comes after it moves.
            _ => {
                bytes.truncate(at.max(1));
                untouched.retain(|id| (usize::from(*id) + 1) * frame <= at);
            }
        }
        untouched.retain(|id| usize::from(*id) != at / frame);
    }
    fs::write(segment, bytes).unwrap();
    untouched
}

fn read(folder: &Path) -> Option<Vec<u8>> {
    let mut segments = Segments::open(folder, LIMIT).ok()?;
    let mut ids = Vec::new();
    while let Some(batch) = segments.read().unwrap() {
        ids.extend(batch.bytes.first());
        batch.done();
        segments.settle();
    }
    assert!(segments.unread().is_zero());
    // What comes after whatever was there is written and read.
    segments.append(&batch(99), false).unwrap();
    assert_eq!(segments.read().unwrap().unwrap().bytes[..], [99; 40]);
    Some(ids)
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, rest)) = data.split_first() else { return };
    let state = tempfile::tempdir_in("/dev/shm").unwrap();
    let folder = state.path().join("buffer/sink");
    write(&folder);
    let segment = folder.join("00000001.seg");
    let mut untouched = Vec::new();
    match kind {
        0 => fs::write(&segment, rest).unwrap(),
        1 => fs::write(folder.join("ledger"), rest).unwrap(),
        _ => untouched = change(&segment, rest),
    }
    let found = fsck::check(state.path()).unwrap();
    let is_newer = found.sinks[0].flaws.iter().any(|flaw| flaw.reason.starts_with("version"));
    if kind % 2 == 1 {
        fsck::repair(state.path()).unwrap();
        assert!(is_newer || fsck::check(state.path()).unwrap().is_good());
    }
    match read(&folder) {
        Some(ids) => assert!(untouched.iter().all(|id| ids.contains(id)), "{untouched:?} {ids:?}"),
        None => assert!(is_newer),
    }
});
