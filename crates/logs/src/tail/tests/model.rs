//! A seeded interpreter writes, rotates, compresses, deletes, pauses, stops and kills; every line
//! that was written is compared with every line that came.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::advance;

use super::reader::{Folder, Reader, files};

/// A small random generator: xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Rotation {
    Rename,
    CopyTruncate,
}

struct Log {
    name: String,
    rotation: Rotation,
    /// Whether the line that was begun is not finished.
    unfinished: bool,
    rotated: u32,
    compressed: u32,
}

struct World {
    chance: Chance,
    folder: Folder,
    state: Folder,
    glob: &'static str,
    logs: Vec<Log>,
    written: BTreeSet<String>,
    reader: Option<Reader>,
    /// Delivered, and this was saved: must never come again.
    settled: BTreeSet<String>,
    delivered: BTreeMap<String, u32>,
    /// Ids by line, where no generation changed.
    ids: BTreeMap<String, u128>,
    sequence: u32,
    /// The greatest number that came of each log.
    greatest: BTreeMap<String, u32>,
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let logs = (0..3)
            .map(|number| Log {
                name: format!("app{number}.log"),
                rotation: [Rotation::Rename, Rotation::CopyTruncate][chance.below(2) as usize],
                unfinished: false,
                rotated: 0,
                compressed: 0,
            })
            .collect();
        let glob = ["*.log", "*.log*"][chance.below(2) as usize];
        Self {
            chance,
            folder: Folder::new(),
            state: Folder::new(),
            glob,
            logs,
            written: BTreeSet::new(),
            reader: None,
            settled: BTreeSet::new(),
            delivered: BTreeMap::new(),
            ids: BTreeMap::new(),
            sequence: 0,
            greatest: BTreeMap::new(),
            trace: Vec::new(),
        }
    }

    fn start(&mut self) {
        let mut files = files(self.folder.root(), &[self.glob]);
        files.open_files = 4;
        let mut reader = Reader::new(&files, Some(self.state.root()));
        reader.gives_back = self.chance.below(2) == 0;
        // The first look is taken: what was rotated before it is not ours.
        reader.tail.at_end();
        self.reader = Some(reader);
    }

    fn write(&mut self, which: usize) {
        let log = &mut self.logs[which];
        let mut text = String::new();
        for _ in 0..1 + self.chance.below(20) {
            if !log.unfinished {
                let length = [3, 40, 900, 20_000][self.chance.below(4) as usize];
                let fill =
                    format!("{:x} ", self.sequence).repeat(self.chance.below(length) as usize / 3);
                let line = format!("{} {} {fill}", log.name, self.sequence);
                self.sequence += 1;
                self.written.insert(line.clone());
                text.push_str(&line);
            }
            log.unfinished = self.chance.below(10) == 0;
            if log.unfinished {
                break;
            }
            text.push('\n');
        }
        self.trace.push(format!("write {} {} bytes", log.name, text.len()));
        self.folder.append(&log.name, &text);
    }

    fn rotate(&mut self, which: usize) {
        let log = &mut self.logs[which];
        if !self.folder.path(&log.name).exists() {
            return;
        }
        self.trace.push(format!("rotate {} {:?}", log.name, log.rotation));
        tick();
        for number in (1..=log.rotated).rev() {
            for end in ["", ".gz"] {
                let from = format!("{}.{number}{end}", log.name);
                if self.folder.path(&from).exists() {
                    self.folder.rename(&from, &format!("{}.{}{end}", log.name, number + 1));
                }
            }
        }
        log.rotated += 1;
        let to = format!("{}.1", log.name);
        // A line that is not finished is cut by the rotation, as in life.
        if log.unfinished {
            self.folder.append(&log.name, "\n");
            log.unfinished = false;
        }
        match log.rotation {
            Rotation::Rename => self.folder.rename(&log.name, &to),
            Rotation::CopyTruncate => self.folder.copytruncate(&log.name, &to),
        }
        tick();
    }

    fn compress(&mut self, which: usize) {
        let log = &mut self.logs[which];
        let number = 2 + self.chance.below(2);
        let from = format!("{}.{number}", log.name);
        if self.folder.path(&from).exists() {
            self.trace.push(format!("compress {from}"));
            tick();
            self.folder.gzip(&from, &format!("{from}.gz"));
            log.compressed += 1;
        }
    }

    /// Deletes the oldest, after everything was read: what was not read would be gone.
    async fn delete(&mut self, which: usize) {
        let Some(reader) = &mut self.reader else { return };
        reader.pump().await;
        self.take();
        self.acknowledge(1);
        let log = &mut self.logs[which];
        for end in ["", ".gz"] {
            let name = format!("{}.{}{end}", log.name, log.rotated);
            if log.rotated > 0 && self.folder.path(&name).exists() {
                self.trace.push(format!("delete {name}"));
                self.folder.remove(&name);
            }
        }
        // What was deleted must not be needed after a kill.
        self.save().await;
    }

    fn acknowledge(&mut self, one_in: u64) {
        let Some(reader) = &mut self.reader else { return };
        for line in &mut reader.lines {
            if self.chance.below(one_in) == 0
                && let Some(receipt) = line.receipt.take()
            {
                receipt.done();
            }
        }
    }

    async fn save(&mut self) {
        let Some(reader) = &mut self.reader else { return };
        self.trace.push("save".into());
        reader.tail.save().await.unwrap();
        for line in &reader.lines {
            if line.ledger.position() >= line.end {
                self.settled.insert(line.text.clone());
            }
        }
    }

    /// Compares what came.
    fn take(&mut self) {
        let Some(reader) = &mut self.reader else { return };
        for line in &mut reader.lines {
            // Seen at the last call.
            if line.id == 0 {
                continue;
            }
            let times = self.delivered.entry(line.text.clone()).or_default();
            *times += 1;
            let first = line.text.get(..40.min(line.text.len())).unwrap();
            let context = || format!("{first}\n{}", self.trace.join("\n"));
            assert!(self.written.contains(&line.text), "never written: {}", context());
            assert!(!self.settled.contains(&line.text), "came again: {}", context());
            let mut words = line.text.split(' ');
            let (log, number) =
                (words.next().unwrap(), words.next().unwrap().parse::<u32>().unwrap());
            let greatest = self.greatest.entry(log.to_owned()).or_default();
            assert!(*times > 1 || number >= *greatest, "late: {}", context());
            *greatest = number.max(*greatest);
            self.ids.insert(line.text.clone(), line.id);
            line.id = 0;
        }
        let mut here = BTreeSet::new();
        for line in &reader.lines {
            let first = line.text.get(..40.min(line.text.len())).unwrap();
            assert!(here.insert(&line.text), "twice: {first}\n{}", self.trace.join("\n"));
        }
    }

    async fn end_reader(&mut self) {
        self.take();
        if let Some(reader) = self.reader.take() {
            let positions = reader.positions.clone();
            drop(reader);
            positions.unwrap().settle().await;
        }
    }

    async fn act(&mut self) {
        let which = self.chance.below(3) as usize;
        match self.chance.below(24) {
            0..8 => self.write(which),
            8..10 => self.rotate(which),
            10 => self.compress(which),
            11 => self.delete(which).await,
            12..17 => {
                let steps = self.chance.below(6);
                self.trace.push(format!("read {steps}"));
                for _ in 0..steps {
                    if let Some(reader) = &mut self.reader {
                        reader.step().await;
                    }
                }
                self.take();
            }
            17 => {
                self.trace.push("read all".into());
                if let Some(reader) = &mut self.reader {
                    reader.pump().await;
                }
                self.take();
            }
            18 => self.acknowledge(1),
            19 => self.acknowledge(3),
            20 => self.save().await,
            21 => {
                self.trace.push("time".into());
                advance(Duration::from_secs(1 + self.chance.below(70))).await;
            }
            22 => {
                self.trace.push("kill".into());
                self.end_reader().await;
            }
            _ => {
                self.trace.push("stop".into());
                self.take();
                self.acknowledge(1);
                self.save().await;
                self.end_reader().await;
            }
        }
        if self.reader.is_none() && self.chance.below(4) == 0 {
            self.trace.push("start".into());
            self.start();
        }
    }

    async fn finish(&mut self) {
        for log in &mut self.logs {
            if std::mem::take(&mut log.unfinished) {
                self.folder.append(&log.name, "\n");
            }
        }
        if self.reader.is_none() {
            self.start();
        }
        let reader = self.reader.as_mut().unwrap();
        reader.pump_for(Duration::from_secs(8)).await;
        self.take();
        let missing: Vec<&str> = self
            .written
            .iter()
            .filter(|line| !self.delivered.contains_key(*line))
            .map(|line| line.get(..40.min(line.len())).unwrap())
            .collect();
        assert!(missing.is_empty(), "lost: {missing:?}\n{}", self.trace.join("\n"));
        self.end_reader().await;
    }
}

/// Waits until files are stamped with a later time: what happens within a tick has no order.
pub(super) fn tick() {
    let now = super::super::unix_ms();
    while super::super::unix_ms() < now + 2 {
        std::thread::yield_now();
    }
}

async fn run(seed: u64, steps: usize) {
    let mut world = World::new(seed);
    world.trace.push(format!("seed {seed} glob {}", world.glob));
    world.start();
    for _ in 0..steps {
        world.act().await;
    }
    world.finish().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_and_nothing_that_was_saved_comes_again() {
    // One seed, or the first and the last of several: `PILLION_MODEL_SEEDS=61-600`.
    let seeds = std::env::var("PILLION_MODEL_SEEDS").unwrap_or_else(|_| "1-20".into());
    let (first, last) = seeds.split_once('-').unwrap_or((&seeds, &seeds));
    let seeds = first.parse().unwrap()..=last.parse().unwrap();
    for seed in seeds {
        run(seed, 120).await;
    }
}
