//! What a queue does when its disk refuses.

use pillion_testkit::SmallDisk;

use super::*;

#[tokio::test(start_paused = true)]
async fn on_a_full_disk_the_source_waits_and_goes_on_when_somebody_makes_room() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(folder.path(), "400k");
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 200 << 10]).unwrap();
    let queue = on_disk(3, &disk.path().join("sink"), 1 << 30, EVERY);
    let mut next = 0;
    while !waits(queue.push(batch(next), BLOCK)).await {
        next += 1;
    }
    assert!(queue.status().counters.errors > 0);
    std::fs::remove_file(&ballast).unwrap();
    push(&queue, next..next + 50).await;
    assert_eq!(deliver(&queue), (0..next + 50).collect::<Vec<_>>());
    assert_eq!(queue.status().dropped, Tally::default());
}

#[tokio::test(start_paused = true)]
async fn on_a_full_disk_what_is_dropped_is_counted_exactly() {
    for policy in [OLDEST, NEWEST] {
        let folder = tempfile::tempdir().unwrap();
        let disk = SmallDisk::mount(folder.path(), "300k");
        let queue = on_disk(3, &disk.path().join("sink"), 1 << 30, EVERY);
        for id in 0..1000 {
            queue.push(batch(id), policy).await;
        }
        let dropped = queue.status().dropped;
        let delivered = deliver(&queue);
        assert_eq!(dropped, tally(1000 - delivered.len() as u64), "{policy:?}");
        assert!(delivered.is_sorted() && delivered.len() > 100);
        assert_eq!(delivered.contains(&999), policy == OLDEST);
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_read_only_at_the_start_is_used_as_soon_as_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(folder.path(), "1m");
    let sink = disk.path().join("sink");
    let before = on_disk(1, &sink, 1 << 20, EVERY);
    push(&before, 0..3).await;
    assert_eq!(before.spill_all([]).await, Tally::default());
    drop(before);
    disk.remount("ro");
    let queue = on_disk(2, &sink, 1 << 20, EVERY);
    let trouble = queue.status().trouble.unwrap();
    assert!(trouble.contains("Read-only file system"), "{trouble}");
    push(&queue, 10..12).await;
    assert!(waits(queue.push(batch(12), BLOCK)).await, "memory does what it can");
    disk.remount("rw");
    tokio::select! {
        () = queue.tend() => {}
        () = push(&queue, [12]) => {}
    }
    assert_eq!(deliver(&queue), [0, 1, 2, 10, 11, 12]);
}
