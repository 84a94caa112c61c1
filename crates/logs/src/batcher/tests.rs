//! When batches close, what is in them, and what they hold.

use std::time::Duration;

use pillion_model::logs::DropPolicy;
use proptest::prelude::*;

use super::*;
use crate::receipt::Ledger;

const WAIT: Duration = Duration::from_secs(1);

fn batcher(bytes: usize, records: usize) -> (Batcher, Budget) {
    let budget = Budget::new(1 << 20);
    let limits = BatchLimits { bytes, records, wait: WAIT };
    (Batcher::new(limits, budget.clone(), Spares::new(bytes, budget.clone())), budget)
}

fn slot<'a>(partition: &'a str, receipt: &'a Receipt) -> Slot<'a> {
    Slot { partition, full: FullPolicy::Block, receipts: std::slice::from_ref(receipt), read: 5 }
}

fn closed(batcher: &mut Batcher) -> Vec<(String, Vec<String>)> {
    std::iter::from_fn(|| batcher.closed())
        .map(|(batch, _)| {
            let text = |record: &[u8]| String::from_utf8(record.to_vec()).unwrap();
            (batch.partition.to_string(), batch.records().map(text).collect())
        })
        .collect()
}

fn texts(batch: &[&str]) -> Vec<String> {
    batch.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_batch_closes_at_its_limits_and_never_exceeds_the_bytes() {
    let receipt = Ledger::new(0).hand_on(1);
    let now = Instant::now();
    for (bytes, records, expected) in [
        (10, 99, vec![vec!["aaaa", "bbb"], vec!["cccc", "dddddd"], vec!["eeeeeeeeeeeeee"]]),
        (99, 2, vec![vec!["aaaa", "bbb"], vec!["cccc", "dddddd"]]),
        (1, 99, ["aaaa", "bbb", "cccc", "dddddd", "eeeeeeeeeeeeee"].map(|text| vec![text]).into()),
    ] {
        let (mut batcher, _) = batcher(bytes, records);
        for record in ["aaaa", "bbb", "cccc", "dddddd", "eeeeeeeeeeeeee"] {
            batcher.add(slot("", &receipt), now, |out| out.extend_from_slice(record.as_bytes()));
        }
        let closed = closed(&mut batcher).into_iter().map(|(_, records)| records);
        let expected = expected.iter().map(|batch| texts(batch));
        assert_eq!(closed.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{bytes} {records}");
    }
}

#[test]
fn a_batch_closes_when_its_first_record_is_old_enough() {
    let receipt = Ledger::new(0).hand_on(1);
    let (mut batcher, _) = batcher(1000, 1000);
    let start = Instant::now();
    assert_eq!(batcher.deadline(), None);
    for (partition, after) in [("a", 0), ("b", 400), ("a", 900)] {
        let now = start + Duration::from_millis(after);
        batcher.add(slot(partition, &receipt), now, |out| out.push(b'x'));
    }
    assert_eq!(batcher.deadline(), Some(start + WAIT));
    batcher.close_due(start + WAIT - Duration::from_nanos(1));
    assert_eq!(closed(&mut batcher), []);
    batcher.close_due(start + WAIT);
    assert_eq!(closed(&mut batcher), [("a".to_owned(), texts(&["x", "x"]))]);
    assert_eq!(batcher.deadline(), Some(start + WAIT + Duration::from_millis(400)));
    batcher.close_all();
    assert_eq!(closed(&mut batcher), [("b".to_owned(), texts(&["x"]))]);
}

#[test]
fn one_partition_too_many_closes_the_oldest() {
    let receipt = Ledger::new(0).hand_on(1);
    let (mut batcher, _) = batcher(1000, 1000);
    let now = Instant::now();
    let names: Vec<String> = (0..=OPEN).map(|name| name.to_string()).collect();
    for name in &names[..OPEN] {
        batcher.add(slot(name, &receipt), now, |out| out.push(b'x'));
    }
    assert_eq!(closed(&mut batcher), []);
    batcher.add(slot(&names[OPEN], &receipt), now, |out| out.push(b'x'));
    assert_eq!(closed(&mut batcher), [("0".to_owned(), texts(&["x"]))]);
}

#[test]
fn records_whose_sources_drop_differently_are_apart() {
    let receipt = Ledger::new(0).hand_on(1);
    let (mut batcher, _) = batcher(1000, 1000);
    let policies = [FullPolicy::Block, FullPolicy::Drop(DropPolicy::Oldest)];
    for full in policies {
        let slot = Slot { full, ..slot("", &receipt) };
        batcher.add(slot, Instant::now(), |out| out.push(b'x'));
    }
    batcher.close_all();
    let closed: Vec<FullPolicy> = std::iter::from_fn(|| batcher.closed()).map(|it| it.1).collect();
    assert_eq!(closed, policies);
}

#[test]
fn a_chunk_has_one_receipt_in_a_batch_however_many_records_it_has() {
    let ledger = Ledger::new(0);
    let (mut batcher, budget) = batcher(1000, 1000);
    for end in [10, 20] {
        let receipt = ledger.hand_on(end);
        for _ in 0..100 {
            batcher.add(slot("", &receipt), Instant::now(), |out| out.push(b'x'));
        }
        receipt.done();
    }
    batcher.close_all();
    let (batch, _) = batcher.closed().unwrap();
    assert_eq!((batch.receipts.len(), batch.ends.len(), batch.oldest), (2, 200, 5));
    assert_eq!(budget.used(), batch.size());
    assert_eq!(ledger.position(), 0);
    batch.done();
    assert_eq!((ledger.position(), budget.used()), (20, 0));
}

#[test]
fn what_encodes_to_nothing_is_no_record() {
    let ledger = Ledger::new(0);
    let receipt = ledger.hand_on(1);
    let (mut batcher, budget) = batcher(1000, 1000);
    batcher.add(slot("", &receipt), Instant::now(), |_| ());
    assert_eq!((batcher.deadline(), budget.used()), (None, 0));
    receipt.done();
    assert_eq!(ledger.position(), 1);
}

#[test]
fn buffers_are_used_again_and_only_a_few_are_kept() {
    let spares = Spares::new(100, Budget::new(1000));
    for len in [201, 200, 50, 60] {
        spares.keep(vec![0; len].into(), vec![1]);
    }
    let kept: Vec<usize> = spares.list.borrow().iter().map(|(bytes, _)| bytes.capacity()).collect();
    assert_eq!(kept, [200, 50]);
    let (bytes, ends) = spares.take();
    assert!(bytes.is_empty() && ends.is_empty() && bytes.capacity() == 50);
}

#[test]
fn a_buffer_is_kept_only_where_the_budget_has_room_for_it_and_nobody_has_its_bytes() {
    let budget = Budget::new(100);
    let spares = Spares::new(100, budget.clone());
    let held = budget.take_anyway(41);
    spares.keep(vec![0; 60].into(), Vec::new());
    assert_eq!(spares.list.borrow().len(), 0);
    drop(held);
    let _held = budget.take_anyway(40);
    spares.keep(vec![0; 60].into(), Vec::new());
    spares.keep(vec![0; 1].into(), Vec::new());
    assert_eq!(spares.list.borrow().len(), 1);
    spares.take();
    let bytes = Bytes::from(vec![0; 10]);
    let on_its_way = bytes.clone();
    spares.keep(bytes, Vec::new());
    assert_eq!((spares.list.borrow().len(), on_its_way.len()), (0, 10));
}

#[test]
fn the_buffers_of_a_batch_take_little_more_than_the_batch_and_all_of_it_is_charged() {
    const LIMIT: usize = 64 << 10;
    let receipt = Ledger::new(0).hand_on(1);
    let (mut batcher, budget) = batcher(LIMIT, 10_000);
    let record = [b'x'; 700];
    let add = |batcher: &mut Batcher| {
        batcher.add(slot("", &receipt), Instant::now(), |out| out.extend_from_slice(&record));
    };
    let (batch, _) = loop {
        add(&mut batcher);
        // What remains are the ends of records, and the buffer of the record that was too much.
        assert!(budget.used() <= LIMIT + LIMIT / ONE_MORE + 4096, "{}", budget.used());
        if let Some(closed) = batcher.closed() {
            break closed;
        }
    };
    assert_eq!(batch.bytes.len(), LIMIT / 700 * 700);
    assert!(batch.size() > batch.bytes.len());
    // Its buffer comes again, and is not kept for a single record.
    let spares = Spares::new(LIMIT, Budget::new(1 << 20));
    spares.keep(batch.bytes, batch.ends);
    drop(batch.charge);
    let mut batcher = Batcher::new(batcher.limits, budget.clone(), spares);
    add(&mut batcher);
    assert!(budget.used() >= LIMIT);
    batcher.close_all();
    assert!(budget.used() < 4096, "{}", budget.used());
}

proptest! {
    #[test]
    fn every_record_is_in_one_batch_in_its_order(
        records in prop::collection::vec((0..5_u8, 1..40_usize), 0..200),
        bytes in 1..200_usize,
        limit in 1..20_usize,
    ) {
        let ledger = Ledger::new(0);
        let (mut batcher, budget) = batcher(bytes, limit);
        for (index, (partition, len)) in records.iter().enumerate() {
            let receipt = ledger.hand_on(index as u64 + 1);
            let partition = partition.to_string();
            let record = format!("{index:->len$}");
            let now = Instant::now();
            batcher.add(slot(&partition, &receipt), now, |out| out.extend_from_slice(record.as_bytes()));
            receipt.done();
        }
        batcher.close_all();
        let mut seen = vec![Vec::new(); 5];
        while let Some((batch, _)) = batcher.closed() {
            prop_assert!(batch.ends.len() <= limit);
            prop_assert!(batch.bytes.len() <= bytes || batch.ends.len() == 1);
            let partition: usize = batch.partition.parse().unwrap();
            for record in batch.records() {
                let text = std::str::from_utf8(record).unwrap();
                seen[partition].push(text.trim_start_matches('-').parse::<usize>().unwrap());
            }
            batch.done();
        }
        for (partition, seen) in seen.iter().enumerate() {
            let expected = records.iter().enumerate().filter(|(_, (p, _))| usize::from(*p) == partition);
            prop_assert_eq!(seen, &expected.map(|(index, _)| index).collect::<Vec<_>>());
        }
        prop_assert_eq!((ledger.position(), budget.used()), (records.len() as u64, 0));
    }
}
