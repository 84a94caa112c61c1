//! A long life at random: every batch is delivered, dropped and counted, or still there.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Push(FullPolicy),
    Pop,
    Done(prop::sample::Index),
    PutBack(prop::sample::Index),
    Sync,
    /// The process is killed: what memory held is gone, and comes again from its sources where
    /// they did not get its receipts back.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let policy = prop::sample::select(vec![BLOCK, OLDEST, NEWEST]);
    prop_oneof![
        8 => policy.prop_map(Step::Push),
        5 => Just(Step::Pop),
        4 => any::<prop::sample::Index>().prop_map(Step::Done),
        1 => any::<prop::sample::Index>().prop_map(Step::PutBack),
        1 => Just(Step::Sync),
        1 => Just(Step::Crash),
    ]
}

struct Life {
    folder: tempfile::TempDir,
    queue: Queue,
    sync: Sync,
    held: Vec<Taken>,
    /// Stands for the source: what it must not forget.
    sources: Vec<(u64, Ledger)>,
    delivered: BTreeSet<u64>,
    dropped: u64,
    next: u64,
}

impl Life {
    fn new(sync: Sync) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let queue = on_disk(3, folder.path(), 256 << 10, sync);
        let (held, sources, delivered) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { folder, queue, sync, held, sources, delivered, dropped: 0, next: 0 }
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Push(full) => {
                for _ in 0..20 {
                    self.push(self.next, *full).await;
                    self.next += 1;
                }
            }
            Step::Pop => self.held.extend(std::iter::from_fn(|| self.queue.try_pop()).take(10)),
            Step::Done(index) if !self.held.is_empty() => {
                let taken = self.held.swap_remove(index.index(self.held.len()));
                self.delivered.insert(id(taken.batch()));
                taken.done();
            }
            Step::PutBack(index) if !self.held.is_empty() => {
                self.held.swap_remove(index.index(self.held.len())).put_back();
            }
            Step::Done(_) | Step::PutBack(_) => {}
            Step::Sync => self.queue.sync().await,
            Step::Crash => self.crash().await,
        }
        let status = self.queue.status();
        assert!(status.disk_bytes <= 256 << 10);
        assert_eq!((status.counters.bad, status.counters.missing), (0, 0));
    }

    async fn push(&mut self, id: u64, full: FullPolicy) {
        let ledger = Ledger::new(0);
        let receipts = vec![ledger.hand_on(1)];
        self.sources.push((id, ledger));
        let batch = Batch { receipts, ..batch(id) };
        if waits(self.queue.push(batch, full)).await {
            // The source gives up: it has not got its receipt, and comes again.
            assert_eq!(full, BLOCK);
        }
    }

    async fn crash(&mut self) {
        self.dropped += self.queue.status().dropped.batches;
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        let sources = std::mem::take(&mut self.sources);
        let again: Vec<u64> = sources
            .into_iter()
            .filter(|(_, ledger)| ledger.position() == 0)
            .map(|(id, _)| id)
            .collect();
        self.held.clear();
        self.queue = on_disk(3, copy.path(), 256 << 10, self.sync);
        self.folder = copy;
        for id in again {
            self.push(id, BLOCK).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_batch_is_delivered_or_counted_or_still_with_its_source(
        steps in prop::collection::vec(step(), 1..120),
        always: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut life = Life::new(if always { Sync::Always } else { EVERY });
            for step in &steps {
                life.step(step).await;
            }
            life.held.drain(..).for_each(Taken::put_back);
            let rest = deliver(&life.queue);
            life.delivered.extend(rest);
            life.dropped += life.queue.status().dropped.batches;
            let waiting = life.sources.iter().filter(|(_, ledger)| ledger.position() == 0);
            let waiting: BTreeSet<u64> = waiting.map(|(id, _)| *id).collect();
            let gone = (0..life.next)
                .filter(|id| !life.delivered.contains(id) && !waiting.contains(id))
                .count() as u64;
            assert!(gone <= life.dropped, "{gone} are gone, {} were counted", life.dropped);
            assert!(life.queue.status().memory.is_zero() && life.queue.status().disk.is_zero());
        });
    }
}
