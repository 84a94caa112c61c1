//! Disks that are full, read-only, or in the way: real ones.

use pillion_testkit::SmallDisk;

use super::*;

/// Appends until the system refuses; says why, and which was refused.
fn until_refused(segments: &mut Segments, mut id: u64) -> (io::ErrorKind, u64) {
    loop {
        match segments.append(&batch(id, 10_000), false) {
            Ok(_) => id += 1,
            Err(Refused::Failed(error)) => return (error.kind(), id),
            Err(Refused::Full) => panic!("the disk is smaller than the bound"),
        }
    }
}

#[test]
fn a_full_disk_refuses_whole_batches_and_takes_more_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(folder.path(), "600k");
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![0; 200 << 10]).unwrap();
    let mut segments = open(&disk.path().join("sink"));
    let (kind, refused) = until_refused(&mut segments, 0);
    assert_eq!(kind, io::ErrorKind::StorageFull);
    assert!(segments.counters().errors > 0 && refused > 10);
    // Nothing of what was refused is left: a process that ends now leaves no torn record.
    let left = copy(&disk.path().join("sink"));
    let mut left = open(left.path());
    assert_eq!(left.counters(), Counters::default());
    assert_eq!(drain(&mut left), (0..refused).collect::<Vec<_>>());

    // Delivery goes on, and the ledger is written, for it has its space.
    segments.read().unwrap().unwrap().done();
    segments.settle();
    fs::remove_file(&ballast).unwrap();
    fill(&mut segments, [refused], 10_000);
    drop(segments);
    let mut segments = open(&disk.path().join("sink"));
    assert_eq!(drain(&mut segments), (1..=refused).collect::<Vec<_>>());
    assert_eq!(segments.counters(), Counters::default());
}

#[test]
fn what_is_done_makes_room_on_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(folder.path(), "600k");
    let mut segments = open(disk.path());
    let mut seen = Vec::new();
    let mut next = 0;
    while next < 500 {
        (_, next) = until_refused(&mut segments, next);
        while let Some(batch) = segments.read().unwrap() {
            seen.push(id(&batch));
            batch.done();
        }
        segments.settle_all();
        sync(&mut segments);
    }
    assert_eq!(seen, (0..next).collect::<Vec<_>>());
}

#[test]
fn a_disk_that_is_read_only_at_the_start_is_an_error_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(folder.path(), "1m");
    let sink = disk.path().join("sink");
    fill(&mut open(&sink), 0..3, 100);
    disk.remount("ro");
    let error = Segments::open(&sink, LIMIT).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
    disk.remount("rw");
    assert_eq!(drain(&mut open(&sink)), [0, 1, 2]);
}

#[test]
fn a_disk_that_becomes_read_only_refuses_batches_and_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(folder.path(), "2m");
    let sink = disk.path().join("sink");
    let mut segments = open(&sink);
    fill(&mut segments, 0..30, 10_000);
    while let Some(batch) = segments.read().unwrap() {
        batch.done();
    }
    segments.settle();
    let before = files(&sink).len();
    // A file system with open files cannot be made read-only from outside: a read-only view of it
    // takes its place.
    disk.freeze(&sink);
    let (kind, refused) = until_refused(&mut segments, 30);
    assert_eq!(kind, io::ErrorKind::ReadOnlyFilesystem);
    sync(&mut segments);
    assert!(segments.has_retired() && segments.counters().errors >= 2);
    assert_eq!(files(&sink).len(), before);
    assert_eq!(drain(&mut segments), (30..refused).collect::<Vec<_>>());
}
