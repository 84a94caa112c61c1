//! The order in which a sink sees batches for the first time, whatever becomes of the process.

use proptest::prelude::*;

use super::*;

/// The most bytes of the disk buffer: few, so that it is full from time to time.
const DISK: u64 = 80_000;
const PARTITIONS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Step {
    /// The source reads on; where there is no room, that is the end.
    Push(u64),
    /// The sink takes what it may, and gets it at once or later.
    Pop(bool),
    Done(prop::sample::Index),
    PutBack(prop::sample::Index),
    Sync,
    /// Killed; the next start reads again what was not given back.
    Kill,
    /// The end of a drain, with so many batches that never came to the queue.
    End(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..20_u64).prop_map(Step::Push),
        6 => any::<bool>().prop_map(Step::Pop),
        5 => any::<prop::sample::Index>().prop_map(Step::Done),
        2 => any::<prop::sample::Index>().prop_map(Step::PutBack),
        1 => Just(Step::Sync),
        1 => Just(Step::Kill),
        1 => (0..5_u64).prop_map(Step::End),
    ]
}

struct Life {
    folder: tempfile::TempDir,
    sync: Sync,
    queue: Queue,
    held: Vec<Taken>,
    /// Of the one file that all is read from: batch `n` ends at `n + 1`.
    source: Ledger,
    next: u64,
    /// The last of each partition that the sink has seen.
    seen: [Option<u64>; PARTITIONS.len()],
}

impl Life {
    fn new(sync: Sync) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let queue = ordered(folder.path(), sync);
        let source = Ledger::new(0);
        let seen = [None; PARTITIONS.len()];
        Self { folder, sync, queue, held: Vec::new(), source, next: 0, seen }
    }

    fn read(&mut self) -> Batch {
        let id = self.next;
        self.next += 1;
        let receipts = vec![self.source.hand_on(id + 1)];
        let partition = PARTITIONS[id as usize % PARTITIONS.len()];
        // Some are so short that there is room for them where there is none for others.
        let bytes = id.to_le_bytes().repeat(if id.is_multiple_of(4) { 1 } else { 120 });
        let ends = vec![bytes.len() as u32];
        let partition = partition.into();
        Batch { receipts, partition, bytes: bytes.into(), ends, ..Batch::default() }
    }

    fn pop(&mut self, arrives: bool) {
        while let Some(taken) = self.queue.try_pop() {
            if arrives {
                self.see(&taken);
            }
            self.held.push(taken);
        }
    }

    fn see(&mut self, taken: &Taken) {
        let id = id(taken.batch());
        let seen = &mut self.seen[id as usize % PARTITIONS.len()];
        let expected = seen.map_or(id % PARTITIONS.len() as u64, |seen| seen + 3);
        assert!(id <= expected, "{id} came before {expected}");
        *seen = Some(seen.map_or(id, |seen| seen.max(id)));
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Push(batches) => {
                for _ in 0..*batches {
                    let batch = self.read();
                    if let Some(batch) = self.queue.try_push(batch, BLOCK) {
                        self.end(vec![(batch, BLOCK)]).await;
                        break;
                    }
                }
            }
            Step::Pop(arrives) => self.pop(*arrives),
            Step::Done(index) if !self.held.is_empty() => {
                let taken = self.held.swap_remove(index.index(self.held.len()));
                self.see(&taken);
                taken.done();
            }
            Step::PutBack(index) if !self.held.is_empty() => {
                self.held.swap_remove(index.index(self.held.len())).put_back();
            }
            Step::Done(_) | Step::PutBack(_) => {}
            Step::Sync => self.queue.sync().await,
            Step::Kill => self.restart().await,
            Step::End(more) => {
                let rest = (0..*more).map(|_| (self.read(), BLOCK)).collect();
                self.end(rest).await;
            }
        }
    }

    async fn end(&mut self, rest: Vec<(Batch, FullPolicy)>) {
        self.held.drain(..).for_each(Taken::put_back);
        self.queue.spill_all(rest).await;
        self.restart().await;
    }

    /// Another process, which finds what this one left on the disk.
    async fn restart(&mut self) {
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        self.next = self.source.position();
        self.held.clear();
        self.queue = ordered(copy.path(), self.sync);
        self.folder = copy;
        self.source = Ledger::new(self.next);
    }
}

fn ordered(folder: &Path, sync: Sync) -> Queue {
    let disk = Some((folder.to_owned(), Buffer { disk: DISK, sync }));
    Queue::open(Plan { disk, order: Order::Partition, ..plan(5) })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_a_sink_sees_first_of_a_partition_is_in_order_over_kills_and_ends(
        steps in prop::collection::vec(step(), 1..80),
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
        });
    }
}
