//! Order, room, receipts: what a queue promises to sources and to its sink.

mod life;
mod order;
mod refusal;

use std::path::Path;

use pillion_model::logs::{DropPolicy, Sync};

use super::*;
use crate::budget::Budget;
use crate::receipt::Ledger;

const OLDEST: FullPolicy = FullPolicy::Drop(DropPolicy::Oldest);
const NEWEST: FullPolicy = FullPolicy::Drop(DropPolicy::Newest);
const BLOCK: FullPolicy = FullPolicy::Block;
const EVERY: Sync = Sync::Every(Duration::from_secs(1));
/// What each batch of [`batch`] takes in memory.
const SIZE: usize = 1000;

fn batch(id: u64) -> Batch {
    of_partition(id, "")
}

fn of_partition(id: u64, partition: &str) -> Batch {
    let bytes: Vec<u8> = id.to_le_bytes().into_iter().cycle().take(SIZE - 8).collect();
    let (oldest, partition) = (id as i64, partition.into());
    let ends = vec![100, (SIZE - 8) as u32];
    Batch { partition, bytes: bytes.into(), ends, oldest, ..Batch::default() }
}

fn id(batch: &Batch) -> u64 {
    u64::from_le_bytes(batch.bytes[..8].try_into().unwrap())
}

fn tally(batches: u64) -> Tally {
    Tally { batches, records: 2 * batches, bytes: 992 * batches }
}

fn plan(batches: usize) -> Plan {
    let budget = Budget::new(usize::MAX);
    let (dead, spares) = (DeadLetters::new(None, "sink"), Spares::new(0, budget.clone()));
    let memory = batches * SIZE;
    Plan { memory, read_ahead: 1 << 20, budget, disk: None, order: Order::Free, dead, spares }
}

fn on_disk(batches: usize, folder: &Path, disk: u64, sync: Sync) -> Queue {
    let disk = Some((folder.to_owned(), Buffer { disk, sync }));
    Queue::open(Plan { disk, ..plan(batches) })
}

impl Queue {
    /// Adds a batch, and waits where it has to.
    async fn push(&self, mut batch: Batch, full: FullPolicy) {
        loop {
            let room = self.room();
            let Some(back) = self.try_push(batch, full) else { return };
            batch = back;
            room.await;
        }
    }
}

async fn push(queue: &Queue, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        queue.push(batch(id), BLOCK).await;
    }
}

/// Takes everything that may be taken, and says that it is done.
fn deliver(queue: &Queue) -> Vec<u64> {
    let taken = std::iter::from_fn(|| queue.try_pop());
    taken
        .map(|taken| {
            let id = id(taken.batch());
            taken.done();
            id
        })
        .collect()
}

/// Whether it waits.
async fn waits(pushing: impl Future<Output = ()>) -> bool {
    timeout(Duration::from_millis(10), pushing).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn what_is_pushed_comes_out_in_order_and_gives_back_what_it_held() {
    let (ledger, budget) = (Ledger::new(0), Budget::new(100_000));
    let queue = Queue::open(plan(10));
    for id in 0..5 {
        let receipts = vec![ledger.hand_on(id + 1)];
        let charge = Some(budget.take_anyway(SIZE));
        queue.push(Batch { receipts, charge, ..batch(id) }, BLOCK).await;
    }
    assert_eq!((queue.status().memory, queue.status().oldest), (tally(5), Some(0)));
    let taken = queue.pop().await.unwrap();
    assert_eq!((queue.status().memory, queue.status().in_hand), (tally(4), tally(1)));
    assert_eq!((ledger.position(), budget.used(), queue.status().oldest), (0, 5 * SIZE, Some(0)));
    taken.done();
    assert_eq!((ledger.position(), budget.used(), queue.status().oldest), (1, 4 * SIZE, Some(1)));
    assert_eq!(deliver(&queue), [1, 2, 3, 4]);
    assert_eq!((ledger.position(), budget.used()), (5, 0));
    assert_eq!(queue.status(), Status::default());
}

/// Complaint 19: after 300 seconds of trying a batch is thrown away.
#[tokio::test(start_paused = true)]
async fn what_is_put_back_comes_first_again_however_often() {
    let queue = Queue::open(plan(10));
    push(&queue, 0..4).await;
    for _ in 0..1000 {
        let [first, second] = [queue.try_pop().unwrap(), queue.try_pop().unwrap()];
        assert_eq!([id(first.batch()), id(second.batch())], [0, 1]);
        second.put_back();
        // Also where nobody says anything, as when the task of the sink is ended.
        drop(first);
    }
    assert_eq!(deliver(&queue), [0, 1, 2, 3]);
    assert_eq!(queue.status().dropped, Tally::default());
}

#[tokio::test(start_paused = true)]
async fn over_its_share_a_source_waits_until_something_is_done() {
    let queue = Queue::open(plan(3));
    push(&queue, 0..3).await;
    assert!(waits(queue.push(batch(3), BLOCK)).await);
    let taken = queue.pop().await.unwrap();
    assert!(waits(queue.push(batch(3), BLOCK)).await, "in hand is still in memory");
    let (queue, other) = (queue.clone(), queue);
    tokio::join!(queue.push(batch(4), BLOCK), async { taken.done() });
    assert_eq!(deliver(&other), [1, 2, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_larger_than_the_share_goes_alone() {
    let queue = Queue::open(Plan { memory: SIZE - 1, ..plan(0) });
    push(&queue, [0]).await;
    assert!(waits(queue.push(batch(1), BLOCK)).await);
    assert_eq!(deliver(&queue), [0]);
    push(&queue, [1]).await;
    assert_eq!(deliver(&queue), [1]);
}

#[tokio::test(start_paused = true)]
async fn without_room_each_policy_drops_its_own_and_every_one_is_counted() {
    for (policies, last, kept) in [
        ([BLOCK, BLOCK, BLOCK], NEWEST, &[0, 1, 2][..]),
        ([OLDEST, OLDEST, OLDEST], NEWEST, &[0, 1, 2]),
        ([OLDEST, OLDEST, OLDEST], OLDEST, &[1, 2, 3]),
        ([BLOCK, OLDEST, OLDEST], OLDEST, &[0, 2, 3]),
        ([BLOCK, NEWEST, OLDEST], OLDEST, &[0, 1, 3]),
        ([BLOCK, NEWEST, BLOCK], OLDEST, &[0, 1, 2]),
    ] {
        let ledger = Ledger::new(0);
        let queue = Queue::open(plan(3));
        for (id, full) in policies.into_iter().chain([last]).enumerate() {
            let receipts = vec![ledger.hand_on(id as u64 + 1)];
            queue.push(Batch { receipts, ..batch(id as u64) }, full).await;
        }
        assert_eq!(queue.status().dropped, tally(1), "{policies:?} {last:?}");
        assert_eq!(deliver(&queue), kept, "{policies:?} {last:?}");
        assert_eq!(ledger.position(), 4, "what is dropped on purpose is done");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_put_back_is_dropped_first_and_what_is_in_hand_never() {
    let queue = Queue::open(plan(3));
    for id in 0..3 {
        queue.push(batch(id), OLDEST).await;
    }
    queue.try_pop().unwrap().put_back();
    queue.push(batch(3), OLDEST).await;
    let held: Vec<Taken> = std::iter::from_fn(|| queue.try_pop()).collect();
    assert_eq!(held.iter().map(|taken| id(taken.batch())).collect::<Vec<_>>(), [1, 2, 3]);
    queue.push(batch(4), OLDEST).await;
    assert_eq!(queue.status().dropped, tally(2));
    drop(held);
    assert_eq!(deliver(&queue), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn over_its_share_the_oldest_go_to_the_disk_and_come_out_first() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, budget) = (Ledger::new(0), Budget::new(100_000));
    let queue = on_disk(3, folder.path(), 1 << 20, EVERY);
    for id in 0..10 {
        let receipts = vec![ledger.hand_on(id + 1)];
        let charge = Some(budget.take_anyway(SIZE));
        queue.push(Batch { receipts, charge, ..batch(id) }, BLOCK).await;
    }
    let status = queue.status();
    assert_eq!((status.memory, status.disk, status.oldest), (tally(3), tally(7), Some(0)));
    assert!(status.disk_bytes > 7 * 992);
    assert_eq!((ledger.position(), budget.used()), (7, 3 * SIZE));
    assert_eq!(deliver(&queue), (0..10).collect::<Vec<_>>());
    assert_eq!((ledger.position(), budget.used()), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn where_all_of_memory_is_in_hand_what_comes_goes_to_the_disk_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let queue = on_disk(2, folder.path(), 1 << 20, EVERY);
    push(&queue, 0..2).await;
    let held: Vec<Taken> = std::iter::from_fn(|| queue.try_pop()).collect();
    push(&queue, 2..5).await;
    assert_eq!((queue.status().memory, queue.status().disk), (tally(0), tally(3)));
    drop(held);
    assert_eq!(deliver(&queue), [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn what_is_on_the_disk_comes_first_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let queue = on_disk(1, folder.path(), 1 << 20, EVERY);
    push(&queue, 0..6).await;
    queue.try_pop().unwrap().done();
    drop(queue);
    let queue = on_disk(10, folder.path(), 1 << 20, EVERY);
    push(&queue, 10..12).await;
    assert_eq!(deliver(&queue), [1, 2, 3, 4, 10, 11]);
}

#[tokio::test(start_paused = true)]
async fn under_always_receipts_wait_for_the_disk_or_for_delivery() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::new(0);
    let queue = on_disk(1, folder.path(), 1 << 20, Sync::Always);
    for id in 0..6 {
        let receipts = vec![ledger.hand_on(id + 1)];
        queue.push(Batch { receipts, ..batch(id) }, BLOCK).await;
    }
    assert_eq!(ledger.position(), 0);
    queue.try_pop().unwrap().done();
    assert_eq!(ledger.position(), 1);
    queue.sync().await;
    assert_eq!(ledger.position(), 5);
    assert_eq!(deliver(&queue), [1, 2, 3, 4, 5]);
    assert_eq!(ledger.position(), 6);
}

#[tokio::test(start_paused = true)]
async fn what_the_disk_refused_once_is_believed_only_when_it_is_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::new(0);
    let queue = on_disk(1, folder.path(), 1 << 20, Sync::Always);
    for id in 0..3 {
        let receipts = vec![ledger.hand_on(id + 1)];
        queue.push(Batch { receipts, ..batch(id) }, BLOCK).await;
    }
    let with_disk = |act: fn(&mut Disk)| act(queue.0.state.borrow_mut().disk.as_mut().unwrap());
    with_disk(|disk| drop((disk.job(), disk.synced(None))));
    queue.sync().await;
    assert_eq!(ledger.position(), 0);
    // A job that nobody waits for any more tells nothing either.
    with_disk(|disk| drop(disk.job()));
    with_disk(|disk| drop((disk.job(), disk.synced(None))));
    assert_eq!(ledger.position(), 0);
    assert_eq!(deliver(&queue), [0, 1, 2]);
    assert_eq!(ledger.position(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_makes_the_source_wait_until_a_segment_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let queue = on_disk(1, folder.path(), 128 << 10, EVERY);
    let mut next = 0;
    while !waits(queue.push(batch(next), BLOCK)).await {
        next += 1;
    }
    assert!(queue.status().disk_bytes <= 128 << 10);
    let delivering = async {
        let mut seen = Vec::new();
        while seen.len() < 200 {
            let taken = queue.pop().await.unwrap();
            seen.push(id(taken.batch()));
            taken.done();
        }
        seen
    };
    let seen = tokio::select! {
        ((), ()) = async { tokio::join!(push(&queue, next..next + 1000), queue.tend()) } => vec![],
        seen = delivering => seen,
    };
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
    assert_eq!(queue.status().dropped, Tally::default());
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_drops_its_oldest_segment_where_all_in_it_may_be_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let queue = on_disk(5, folder.path(), 512 << 10, EVERY);
    for id in 0..2000 {
        queue.push(batch(id), OLDEST).await;
    }
    let dropped = queue.status().dropped;
    let delivered = deliver(&queue);
    assert!(delivered.is_sorted() && delivered.ends_with(&[1998, 1999]));
    assert_eq!(dropped, tally(2000 - delivered.len() as u64));
    let (first, second) = (delivered[0], delivered[1]);
    assert!(first > 1400 && second == first + 1, "the newest are there: {first}");
}

#[tokio::test(start_paused = true)]
async fn where_the_sink_asks_for_it_one_batch_of_a_partition_is_in_hand() {
    let folder = tempfile::tempdir().unwrap();
    for on_disk in [false, true] {
        let buffer = Buffer { disk: 1 << 20, sync: EVERY };
        let disk = on_disk.then(|| (folder.path().to_owned(), buffer));
        let memory = if on_disk { SIZE } else { 10 * SIZE };
        let queue = Queue::open(Plan { order: Order::Partition, disk, memory, ..plan(0) });
        for (id, partition) in ["a", "a", "b", "a", "c"].into_iter().enumerate() {
            queue.push(of_partition(id as u64, partition), BLOCK).await;
        }
        let all = || -> Vec<Taken> { std::iter::from_fn(|| queue.try_pop()).collect() };
        let ids = |taken: &[Taken]| taken.iter().map(|taken| id(taken.batch())).collect::<Vec<_>>();
        let mut held = all();
        assert_eq!(ids(&held), [0, 2, 4]);
        held.remove(0).put_back();
        held.extend(all());
        assert_eq!(
            ids(&held).iter().filter(|id| [0, 1, 3].contains(*id)).collect::<Vec<_>>(),
            [&0]
        );
        let mut seen = Vec::new();
        while !held.is_empty() {
            seen.extend(ids(&held));
            held.drain(..).for_each(Taken::done);
            held.extend(all());
        }
        seen.retain(|id| [0, 1, 3].contains(id));
        assert_eq!(seen, [0, 1, 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_end_memory_goes_to_the_disk_and_is_there_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    for sync in [EVERY, Sync::Always] {
        let ledger = Ledger::new(0);
        let queue = on_disk(10, folder.path(), 1 << 20, sync);
        for id in 0..5 {
            let receipts = vec![ledger.hand_on(id + 1)];
            queue.push(Batch { receipts, ..batch(id) }, BLOCK).await;
        }
        queue.try_pop().unwrap().put_back();
        assert_eq!(queue.spill_all([]).await, Tally::default());
        assert_eq!(ledger.position(), 5);
        drop(queue);
        assert_eq!(deliver(&on_disk(10, folder.path(), 1 << 20, sync)), [0, 1, 2, 3, 4]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_at_the_end_is_said_and_its_receipts_are_not_given() {
    let ledger = Ledger::new(0);
    let queue = Queue::open(plan(10));
    queue.push(Batch { receipts: vec![ledger.hand_on(1)], ..batch(0) }, BLOCK).await;
    assert_eq!(queue.spill_all([]).await, tally(1));
    assert_eq!((ledger.position(), ledger.outstanding()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn at_the_end_nothing_is_kept_that_comes_after_what_could_not_be() {
    let folder = tempfile::tempdir().unwrap();
    let queue = on_disk(1, folder.path(), 20_000, EVERY);
    let mut next = 0..;
    while queue.try_push(of_partition(next.next().unwrap(), "a"), BLOCK).is_none() {}
    // There is room for the short ones.
    let short = |id: u64, partition: &str| {
        let (bytes, partition) = (id.to_le_bytes().to_vec(), partition.into());
        Batch { partition, bytes: bytes.into(), ends: vec![8], ..Batch::default() }
    };
    let rest = [of_partition(100, "b"), short(101, "b"), short(102, "a"), short(103, "c")];
    let left = queue.spill_all(rest.map(|batch| (batch, BLOCK))).await;
    assert_eq!((left.batches, queue.status().disk.batches), (4, next.start - 1));
    drop(queue);
    let kept = deliver(&on_disk(1, folder.path(), 20_000, EVERY));
    assert_eq!(kept[kept.len() - 2..], [next.start - 3, 103]);
}

#[tokio::test(start_paused = true)]
async fn a_disk_buffer_that_another_process_has_is_taken_over_when_it_lets_go() {
    let folder = tempfile::tempdir().unwrap();
    let other = on_disk(1, folder.path(), 1 << 20, EVERY);
    push(&other, 0..3).await;
    let queue = on_disk(1, folder.path(), 1 << 20, EVERY);
    let trouble = queue.status().trouble.unwrap();
    assert!(trouble.ends_with("is in use by another process"), "{trouble}");
    push(&queue, [10]).await;
    assert!(waits(queue.push(batch(11), BLOCK)).await);
    assert_eq!(other.spill_all([]).await, Tally::default());
    drop(other);
    tokio::select! {
        () = queue.tend() => {}
        () = push(&queue, [11]) => {}
    }
    assert_eq!(queue.status().trouble, None);
    assert_eq!(deliver(&queue), [0, 1, 2, 10, 11]);
}

#[tokio::test(start_paused = true)]
async fn what_the_sink_will_never_take_is_a_dead_letter_and_done() {
    let state = tempfile::tempdir().unwrap();
    let ledger = Ledger::new(0);
    let dead = DeadLetters::new(Some(state.path()), "sink");
    let queue = Queue::open(Plan { dead, ..plan(10) });
    queue.push(Batch { receipts: vec![ledger.hand_on(1)], ..batch(0) }, BLOCK).await;
    queue.try_pop().unwrap().dead("no such index", 0);
    assert_eq!(ledger.position(), 1);
    assert_eq!(queue.dead_letters().status().written.records, 2);
    assert_eq!(queue.status(), Status::default());
}

#[tokio::test(start_paused = true)]
async fn a_closed_queue_ends_when_everything_is_done() {
    let queue = Queue::open(plan(10));
    push(&queue, 0..2).await;
    queue.close();
    let taken = queue.pop().await.unwrap();
    queue.pop().await.unwrap().done();
    assert!(timeout(AGAIN, queue.pop()).await.is_err(), "what is in hand may come back");
    taken.put_back();
    queue.pop().await.unwrap().done();
    assert!(queue.pop().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn tend_brings_what_was_written_to_the_disk_and_removes_what_is_done() {
    let folder = tempfile::tempdir().unwrap();
    for (sync, within) in [(EVERY, 1), (Sync::Always, 0)] {
        let queue = on_disk(1, folder.path(), 1 << 20, sync);
        push(&queue, 0..200).await;
        deliver(&queue);
        let start = tokio::time::Instant::now();
        let is_behind = || {
            let state = queue.0.state.borrow();
            state.disk.as_ref().is_some_and(|disk| disk.is_behind())
        };
        let in_order = async {
            while is_behind() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(is_behind());
        tokio::select! { () = queue.tend() => {}, () = in_order => {} }
        assert!(start.elapsed() < Duration::from_secs(within) + Duration::from_millis(100));
        assert!(queue.status().disk_bytes < 64 << 10);
    }
}

#[tokio::test(start_paused = true)]
async fn only_so_much_is_read_from_the_disk_at_a_time_and_it_is_charged() {
    let folder = tempfile::tempdir().unwrap();
    let budget = Budget::new(usize::MAX);
    for (read_ahead, at_a_time) in [(0, 1), (1, 1), (SIZE, 1), (SIZE + 1, 2), (2 * SIZE, 2)] {
        let disk = Some((folder.path().to_owned(), Buffer { disk: 1 << 20, sync: EVERY }));
        let queue = Queue::open(Plan { disk, read_ahead, budget: budget.clone(), ..plan(1) });
        push(&queue, 0..5).await;
        let held: Vec<Taken> = std::iter::from_fn(|| queue.try_pop()).collect();
        assert_eq!((held.len(), budget.used()), (at_a_time, at_a_time * SIZE), "{read_ahead}");
        held.into_iter().for_each(Taken::done);
        assert_eq!(deliver(&queue).len(), 5 - at_a_time);
        assert_eq!(budget.used(), 0);
        queue.sync().await;
    }
}
