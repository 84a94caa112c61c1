//! What a check finds, and what a repair keeps.

use std::os::unix::fs::FileExt as _;

use super::*;
use crate::batch::Batch;
use crate::segments::Segments;

fn batch(id: u8) -> Batch {
    let (bytes, ends) = (vec![id; 50], vec![20, 50]);
    Batch { bytes: bytes.into(), ends, partition: "p".into(), oldest: 1, ..Batch::default() }
}

fn open(state: &Path) -> Segments {
    Segments::open(&state.join("buffer/search"), 1 << 20).unwrap()
}

fn drain(segments: &mut Segments) -> Vec<u8> {
    std::iter::from_fn(|| segments.read().unwrap()).map(|batch| batch.bytes[0]).collect()
}

/// A state folder with ten batches, of which so many are done.
fn state(done: usize) -> tempfile::TempDir {
    let state = tempfile::tempdir().unwrap();
    let mut segments = open(state.path());
    for id in 0..10 {
        segments.append(&batch(id), false).unwrap();
    }
    (0..done).for_each(|_| segments.read().unwrap().unwrap().done());
    segments.settle();
    state
}

fn segment(state: &Path) -> PathBuf {
    state.join("buffer/search/00000001.seg")
}

fn frame(state: &Path) -> u64 {
    fs::metadata(segment(state)).unwrap().len() / 10
}

/// Damages the payloads of these.
fn damage(state: &Path, ids: &[u64]) {
    let file = File::options().write(true).open(segment(state)).unwrap();
    for id in ids {
        file.write_all_at(b"!", (id + 1) * frame(state) - 1).unwrap();
    }
}

#[test]
fn a_good_buffer_is_counted_also_while_it_is_in_use() {
    let state = state(3);
    let bytes = fs::metadata(segment(state.path())).unwrap().len();
    let expected = SinkReport {
        sink: "search".into(),
        segments: 1,
        bytes,
        records: 20,
        unread_records: 14,
        unread_bytes: 350,
        ledger: "good",
        ..SinkReport::default()
    };
    let report = check(state.path()).unwrap();
    assert!(report.is_good());
    assert_eq!(report.sinks, std::slice::from_ref(&expected));
    let user = open(state.path());
    assert_eq!(
        check(state.path()).unwrap().sinks,
        [SinkReport { in_use: true, ..expected.clone() }]
    );
    let error = repair(state.path()).unwrap_err().to_string();
    assert!(error.contains("buffer/search: it is in use; stop"), "{error}");
    drop(user);
    assert_eq!(repair(state.path()).unwrap().sinks, [expected]);
}

#[test]
fn every_flaw_is_named_with_its_place_and_reason() {
    let state = state(0);
    let frame = frame(state.path());
    damage(state.path(), &[2]);
    let file = File::options().write(true).open(segment(state.path())).unwrap();
    file.write_all_at(b"!", 5 * frame).unwrap();
    file.set_len(10 * frame - 3).unwrap();
    let report = check(state.path()).unwrap();
    let [sink] = &report.sinks[..] else { panic!("{report:?}") };
    let found = sink.flaws.iter().map(|flaw| (flaw.offset, flaw.bytes, flaw.reason.as_str()));
    assert_eq!(
        found.collect::<Vec<_>>(),
        [
            (2 * frame, frame, "damaged payload"),
            (5 * frame, frame, "damaged header"),
            (9 * frame, frame - 3, "torn: not written to its end"),
        ]
    );
    assert_eq!((sink.records, sink.bad_bytes), (14, 3 * frame - 3));
    assert!(!report.is_good());
    assert!(serde_json::to_string(&report).unwrap().contains("\"reason\":\"damaged payload\""));
}

#[test]
fn a_repair_keeps_all_that_is_good_and_the_bad_bytes_aside() {
    for (done, bad, rest) in [
        (0, &[0_u64, 4, 9][..], &[1_u8, 2, 3, 5, 6, 7, 8][..]),
        (5, &[1, 3, 7], &[5, 6, 8, 9]),
        (5, &[4, 5], &[6, 7, 8, 9]),
        (9, &[0, 1, 2], &[9]),
    ] {
        let state = state(done);
        let frame = frame(state.path());
        damage(state.path(), bad);
        let report = repair(state.path()).unwrap();
        assert_eq!(report.sinks[0].repaired, 1);
        let aside = fs::read(segment(state.path()).with_extension("bad")).unwrap();
        assert_eq!(aside.len() as u64, frame * bad.len() as u64);
        let after = check(state.path()).unwrap();
        assert!(after.is_good(), "{after:?}");
        let mut segments = open(state.path());
        assert_eq!(drain(&mut segments), rest, "{done} done, {bad:?} bad");
        assert_eq!((segments.counters().bad, segments.counters().torn), (0, 0));
    }
}

#[test]
fn a_damaged_ledger_is_written_anew_and_everything_is_sent_again() {
    let state = state(5);
    let ledger = state.path().join("buffer/search/ledger");
    fs::write(&ledger, "rubbish").unwrap();
    assert_eq!(repair(state.path()).unwrap().sinks[0].ledger, "damaged");
    assert!(check(state.path()).unwrap().is_good());
    assert_eq!(drain(&mut open(state.path())), (0..10).collect::<Vec<_>>());
}

#[test]
fn what_a_newer_version_wrote_is_named_and_left_alone() {
    let state = state(0);
    let mut bytes = fs::read(segment(state.path())).unwrap();
    bytes[4] = 9;
    let checksum = crc32c::crc32c(&bytes[..32]).to_le_bytes();
    bytes[32..36].copy_from_slice(&checksum);
    fs::write(segment(state.path()), &bytes).unwrap();
    let report = repair(state.path()).unwrap();
    assert_eq!(report.sinks[0].flaws[0].reason, "version 9, which is not known");
    assert_eq!(report.sinks[0].repaired, 0);
    assert_eq!(fs::read(segment(state.path())).unwrap(), bytes);
}

#[test]
fn a_state_folder_without_buffers_is_in_order_and_a_missing_one_is_not() {
    let state = tempfile::tempdir().unwrap();
    assert_eq!(check(state.path()).unwrap(), Report::default());
    let error = check(&state.path().join("none")).unwrap_err().to_string();
    assert!(error.contains("none/buffer"), "{error}");
}
