//! What the segments survive: ends of the process at any byte, damage, removal, refusals.

mod life;
mod refusal;

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::batch::Batch;

/// A batch of two records that says which one it is.
fn batch(id: u64, len: usize) -> Batch {
    let bytes: Vec<u8> = id.to_le_bytes().into_iter().cycle().take(len.max(8)).collect();
    let ends = vec![3, u32::try_from(bytes.len()).unwrap()];
    let (oldest, partition) = (id as i64, format!("{{app=\"{id}\"}}").into());
    Batch { partition, bytes: bytes.into(), ends, oldest, receipts: Vec::new(), charge: None }
}

/// Which one it is; all of it is as it was written.
fn id(read: &Batch) -> u64 {
    let id = u64::from_le_bytes(read.bytes[..8].try_into().unwrap());
    let written = batch(id, read.bytes.len());
    assert_eq!(
        (&read.bytes, &read.ends, &read.partition),
        (&written.bytes, &written.ends, &written.partition)
    );
    assert_eq!(read.oldest, written.oldest);
    id
}

const LIMIT: u64 = 1 << 20;

fn open(path: &Path) -> Segments {
    Segments::open(path, LIMIT).unwrap()
}

fn fill(segments: &mut Segments, ids: impl IntoIterator<Item = u64>, len: usize) {
    for id in ids {
        segments.append(&batch(id, len), false).unwrap();
    }
}

/// Reads everything, without saying that it is done.
fn drain(segments: &mut Segments) -> Vec<u64> {
    std::iter::from_fn(|| segments.read().unwrap()).map(|batch| id(&batch)).collect()
}

fn sync(segments: &mut Segments) {
    if let Some(job) = segments.sync_job() {
        let synced = job.run();
        segments.synced(&synced);
    }
}

fn files(path: &Path) -> Vec<PathBuf> {
    segments(path).unwrap().into_iter().map(|number| segment(path, number)).collect()
}

/// The folder as it is at this moment: what a kill -9 leaves.
fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}

#[test]
fn what_is_appended_is_read_in_order_and_kept_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut segments = open(folder.path());
    fill(&mut segments, 0..50, 5000);
    assert_eq!(segments.unread(), Tally { batches: 50, records: 100, bytes: 250_000 });
    assert!(files(folder.path()).len() > 1);
    for expected in 0..10 {
        let batch = segments.read().unwrap().unwrap();
        assert_eq!(id(&batch), expected);
        batch.done();
        segments.settle();
    }
    drop(segments);
    let mut segments = open(folder.path());
    assert_eq!(segments.unread(), Tally { batches: 40, records: 80, bytes: 200_000 });
    assert_eq!(segments.oldest(), Some(10));
    assert_eq!(drain(&mut segments), (10..50).collect::<Vec<_>>());
    assert_eq!(segments.counters(), Counters::default());
}

#[test]
fn what_is_done_out_of_order_is_sent_again_only_from_the_first_that_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut segments = open(folder.path());
    fill(&mut segments, 0..5, 100);
    let mut read: Vec<Batch> = std::iter::from_fn(|| segments.read().unwrap()).collect();
    read.remove(3).done();
    read.remove(0).done();
    segments.settle();
    drop((segments, read));
    assert_eq!(drain(&mut open(folder.path())), [1, 2, 3, 4]);
}

#[test]
fn a_process_that_ends_at_any_byte_of_the_last_record_loses_that_record_only() {
    let folder = tempfile::tempdir().unwrap();
    let mut segments = open(folder.path());
    fill(&mut segments, 0..3, 50);
    let file = files(folder.path()).remove(0);
    let before = fs::metadata(&file).unwrap().len();
    fill(&mut segments, [3], 50);
    let after = fs::metadata(&file).unwrap().len();
    for cut in before..=after {
        let copy = copy(folder.path());
        let file = files(copy.path()).remove(0);
        OpenOptions::new().write(true).open(&file).unwrap().set_len(cut).unwrap();
        let mut segments = open(copy.path());
        let is_torn = cut > before && cut < after;
        assert_eq!(segments.counters().torn, u64::from(is_torn), "at {cut}");
        fill(&mut segments, [4], 50);
        let expected: &[u64] = if cut == after { &[0, 1, 2, 3, 4] } else { &[0, 1, 2, 4] };
        assert_eq!(drain(&mut segments), expected, "at {cut}");
        assert_eq!(segments.counters().bad, 0);
    }
}

/// Complaint 10: one bad record stops the buffer until somebody removes it by hand.
#[test]
fn a_flipped_bit_anywhere_costs_one_record_and_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut segments = open(folder.path());
    fill(&mut segments, 0..3, 20);
    drop(segments);
    let file = files(folder.path()).remove(0);
    let good = fs::read(&file).unwrap();
    let frame = good.len() / 3;
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let copy = copy(folder.path());
        fs::write(files(copy.path()).remove(0), bad).unwrap();
        let hit = (bit / 8 / frame) as u64;
        let mut segments = open(copy.path());
        fill(&mut segments, [3], 20);
        let expected: Vec<u64> = (0..4).filter(|id| *id != hit).collect();
        assert_eq!(drain(&mut segments), expected, "bit {bit}");
        let counters = segments.counters();
        // Damage at the very end cannot be told from a torn record.
        assert_eq!((counters.bad, counters.torn), if hit == 2 { (0, 1) } else { (1, 0) });
        if hit < 2 {
            assert_eq!(counters.bad_bytes, frame as u64);
        }
    }
}

#[test]
fn garbage_between_records_is_skipped_even_where_it_looks_like_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut segments = open(folder.path());
    fill(&mut segments, 0..2, 20);
    drop(segments);
    let file = files(folder.path()).remove(0);
    let good = fs::read(&file).unwrap();
    let (first, second) = good.split_at(good.len() / 2);
    let magics = frame::MAGIC.repeat(20_000);
    for garbage in [&b"x"[..], &[0; 70_000], &magics, &first[..30]] {
        let copy = copy(folder.path());
        fs::write(files(copy.path()).remove(0), [first, garbage, second].concat()).unwrap();
        let mut segments = open(copy.path());
        assert_eq!(drain(&mut segments), [0, 1]);
        assert_eq!(segments.counters().bad_bytes, garbage.len() as u64);
    }
}

#[test]
fn a_damaged_record_that_was_known_is_counted_with_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let mut segments = open(folder.path());
    fill(&mut segments, 0..3, 20);
    let file = files(folder.path()).remove(0);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    assert_eq!(drain(&mut segments), [0, 2]);
    assert_eq!(segments.counters().lost, Tally { batches: 1, records: 2, bytes: 20 });
    assert!(segments.unread().is_zero());
}

#[test]
fn without_a_ledger_or_with_a_damaged_one_all_that_is_there_is_sent_again() {
    for damage in [None, Some(vec![0xff; 1024]), Some(Vec::new())] {
        let folder = tempfile::tempdir().unwrap();
        let mut segments = open(folder.path());
        fill(&mut segments, 0..5, 100);
        segments.read().unwrap().unwrap().done();
        segments.settle();
        drop(segments);
        let path = ledger(folder.path());
        match damage {
            None => fs::remove_file(path).unwrap(),
            Some(bytes) => fs::write(path, bytes).unwrap(),
        }
        let mut segments = open(folder.path());
        assert_eq!(segments.counters().ledger_faults, 1);
        assert_eq!(drain(&mut segments), [0, 1, 2, 3, 4]);
    }
}

#[test]
fn a_ledger_ahead_of_the_data_hides_nothing_that_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut segments = open(folder.path());
    fill(&mut segments, 0..5, 100);
    std::iter::from_fn(|| segments.read().unwrap()).for_each(Batch::done);
    segments.settle();
    drop(segments);
    let file = files(folder.path()).remove(0);
    OpenOptions::new().write(true).open(&file).unwrap().set_len(10).unwrap();
    let mut segments = open(folder.path());
    assert_eq!(segments.counters().ledger_faults, 1);
    fill(&mut segments, 5..8, 100);
    assert_eq!(drain(&mut segments), [5, 6, 7]);
    drop(segments);
    fs::remove_file(&file).unwrap();
    assert_eq!(drain(&mut open(folder.path())), [5, 6, 7]);
}

/// Complaint 10: a segment that is removed before the ledger is on the disk ends in a crash loop.
#[test]
fn a_segment_is_removed_only_by_a_job_that_brings_the_ledger_to_the_disk_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut segments = open(folder.path());
    fill(&mut segments, 0..60, 5000);
    let before = files(folder.path());
    std::iter::from_fn(|| segments.read().unwrap()).for_each(Batch::done);
    segments.settle();
    assert_eq!(files(folder.path()), before);
    let job = segments.sync_job().unwrap();
    assert!(job.ledger.is_some() && !job.remove.is_empty());
    assert_eq!(files(folder.path()), before);
    let synced = job.run();
    segments.synced(&synced);
    assert!(files(folder.path()).len() <= 1);
    assert!(segments.used() < 100_000);

    let mut job = SyncJob { ledger: Some(Err(io::Error::other("disk"))), ..empty_job() };
    job.remove = vec![(1, folder.path().join("ledger"))];
    let synced = job.run();
    assert!(synced.ledger.is_err() && synced.left == [1] && ledger(folder.path()).exists());
}

fn empty_job() -> SyncJob {
    let (data, upto) = (Vec::new(), Position::default());
    SyncJob { data, upto, folder: None, ledger: None, remove: Vec::new() }
}

#[test]
fn segments_that_the_ledger_is_past_are_removed_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut segments = open(folder.path());
    fill(&mut segments, 0..60, 5000);
    (0..40).for_each(|_| segments.read().unwrap().unwrap().done());
    segments.settle();
    drop(segments);
    let mut segments = open(folder.path());
    sync(&mut segments);
    assert!(files(folder.path()).len() < 4);
    assert_eq!(drain(&mut segments), (40..60).collect::<Vec<_>>());
}

/// Complaint 11: a disk buffer that a sidecar cannot afford.
#[test]
fn the_bound_is_held_to_the_byte_and_room_comes_back_with_what_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let frame = {
        let scratch = tempfile::tempdir().unwrap();
        let mut segments = open(scratch.path());
        fill(&mut segments, [0], 1000);
        segments.used()
    };
    let mut segments = Segments::open(folder.path(), 10 * frame).unwrap();
    fill(&mut segments, 0..10, 1000);
    assert!(matches!(segments.append(&batch(10, 1000), false), Err(Refused::Full)));
    assert_eq!(segments.used(), 10 * frame);
    drop(segments);
    let mut segments = Segments::open(folder.path(), 10 * frame - 1).unwrap();
    assert!(matches!(segments.append(&batch(10, 8), false), Err(Refused::Full)));
    std::iter::from_fn(|| segments.read().unwrap()).for_each(Batch::done);
    segments.settle();
    assert!(matches!(segments.append(&batch(10, 1000), false), Err(Refused::Full)));
    sync(&mut segments);
    assert_eq!(segments.used(), 0);
    fill(&mut segments, 10..19, 1000);
    assert_eq!(drain(&mut segments), (10..19).collect::<Vec<_>>());
    assert!(matches!(segments.append(&batch(99, 10_000), false), Err(Refused::Full)));
}

#[test]
fn a_batch_longer_than_a_segment_has_one_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut segments = open(folder.path());
    fill(&mut segments, [0], 100);
    fill(&mut segments, [1], 300_000);
    fill(&mut segments, [2], 100);
    assert_eq!(files(folder.path()).len(), 3);
    drop(segments);
    assert_eq!(drain(&mut open(folder.path())), [0, 1, 2]);
}

#[test]
fn a_segment_that_somebody_removes_is_counted_and_gone_past() {
    let folder = tempfile::tempdir().unwrap();
    let mut segments = open(folder.path());
    fill(&mut segments, 0..100, 5000);
    let count = files(folder.path()).len();
    assert!(count >= 3);
    fs::remove_file(&files(folder.path())[1]).unwrap();
    let read = drain(&mut segments);
    let lost = segments.counters().lost;
    assert_eq!(segments.counters().missing, 1);
    assert_eq!(read.len() as u64 + lost.batches, 100);
    assert_eq!(lost.records, lost.batches * 2);
    assert!(read.is_sorted() && lost.batches > 0);
}

#[test]
fn when_the_whole_folder_is_removed_what_comes_next_is_kept() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("buffer/sink");
    let mut segments = open(&folder);
    fill(&mut segments, 0..3, 100);
    fs::remove_dir_all(&folder).unwrap();
    fill(&mut segments, 3..5, 100);
    assert_eq!(id(&segments.read().unwrap().unwrap()), 3);
    drop(segments);
    let mut segments = open(&folder);
    assert_eq!(segments.counters(), Counters::default());
    segments.read().unwrap().unwrap().done();
    segments.settle();
    drop(segments);
    assert_eq!(drain(&mut open(&folder)), [4]);
}

#[test]
fn a_second_process_is_kept_out_until_the_first_lets_go() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let error = Segments::open(folder.path(), LIMIT).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
    assert!(error.to_string().ends_with("is in use by another process"), "{error}");
    drop(first);
    open(folder.path());
}

#[test]
fn what_a_newer_version_wrote_is_refused_and_stays() {
    for at in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        let mut segments = open(folder.path());
        fill(&mut segments, 0..2, 20);
        drop(segments);
        let file = files(folder.path()).remove(0);
        let mut bytes = fs::read(&file).unwrap();
        let start = at * bytes.len() / 2;
        let header = &mut bytes[start..start + 36];
        header[4] = 2;
        let checksum = crc32c::crc32c(&header[..32]).to_le_bytes();
        header[32..].copy_from_slice(&checksum);
        fs::write(&file, &bytes).unwrap();
        let error = Segments::open(folder.path(), LIMIT).unwrap_err().to_string();
        assert!(error.contains("00000001.seg") && error.contains("version 2"), "{error}");
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }
}

#[test]
fn the_oldest_segment_that_may_be_dropped_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut segments = open(folder.path());
    for id in 0..40 {
        segments.append(&batch(id, 20_000), id != 8).unwrap();
    }
    assert_eq!(id(&segments.read().unwrap().unwrap()), 0);
    // The first is being read, the second has one that may not be dropped, the last is written to.
    let mut dropped = Vec::new();
    while let Some(Dropped { segment, tally }) = segments.drop_oldest() {
        assert_eq!(tally.records, tally.batches * 2);
        dropped.push(segment);
    }
    let last = segments.next - 1;
    assert_eq!(dropped, (3..last).collect::<Vec<_>>());
    let rest = drain(&mut segments);
    assert!(rest.contains(&8) && rest.is_sorted(), "{rest:?}");
    assert_eq!(segments.counters().missing, 0);
}

#[test]
fn after_a_wait_for_the_disk_that_failed_nothing_more_is_trusted_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut segments = open(folder.path());
    fill(&mut segments, 0..2, 20);
    let data = Err(io::Error::from_raw_os_error(5));
    let synced = Synced { data, ledger: Ok(()), removed: Vec::new(), left: Vec::new() };
    segments.synced(&synced);
    assert_eq!(segments.counters().errors, 1);
    fill(&mut segments, 2..4, 20);
    assert_eq!(files(folder.path()).len(), 2);
    assert_eq!(drain(&mut segments), [0, 1, 2, 3]);
}
