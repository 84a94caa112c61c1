//! A reader of the tests: frames lines, hands them on, and acknowledges what it is told to.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pillion_model::logs::Files;
use tokio::time::advance;

use super::super::*;
use crate::receipt::Receipt;

/// A line that was delivered.
pub(super) struct Line {
    pub(super) text: String,
    pub(super) id: u128,
    pub(super) end: u64,
    pub(super) ledger: Ledger,
    pub(super) receipt: Option<Receipt>,
}

/// A tail, and what it delivered.
pub(super) struct Reader {
    pub(super) tail: Tail,
    pub(super) positions: Option<Positions>,
    pub(super) lines: Vec<Line>,
    rests: HashMap<StreamId, Rest>,
    /// Whether incomplete lines are given back, instead of being kept here.
    pub(super) gives_back: bool,
}

struct Rest {
    bytes: Vec<u8>,
    begin: u64,
    seed: Seed,
    ledger: Ledger,
}

pub(super) fn files(folder: &Path, globs: &[&str]) -> Files {
    Files {
        include: globs.iter().map(|glob| format!("{}/{glob}", folder.display())).collect(),
        exclude: Vec::new(),
        from_start: true,
        compressed: true,
        open_files: 100,
        idle_close: Duration::from_secs(30),
    }
}

impl Reader {
    pub(super) fn new(files: &Files, state: Option<&Path>) -> Self {
        let positions = state.map(|state| Positions::open(state).unwrap());
        let tail = Tail::new(files, "test".into(), positions.clone()).unwrap();
        Self { tail, positions, lines: Vec::new(), rests: HashMap::new(), gives_back: false }
    }

    /// Takes one event, if there is one. The clock goes on a little.
    pub(super) async fn step(&mut self) -> bool {
        advance(GATHER).await;
        let mut back = None;
        match self.tail.try_next() {
            None => return false,
            Some(Event::Block(block)) => {
                let rest = self.rests.entry(block.stream).or_insert_with(|| Rest {
                    bytes: Vec::new(),
                    begin: block.offset,
                    seed: block.seed,
                    ledger: block.ledger.clone(),
                });
                assert_eq!(rest.begin + rest.bytes.len() as u64, block.offset, "{:?}", block.path);
                rest.bytes.extend_from_slice(block.bytes);
                cut(rest, &mut self.lines);
                if self.gives_back {
                    back = Some((block.stream, rest.begin));
                }
            }
            Some(Event::Ended(stream)) => {
                if let Some(rest) = self.rests.remove(&stream).filter(|rest| !rest.bytes.is_empty()) {
                    let end = rest.begin + rest.bytes.len() as u64;
                    line(&rest, rest.bytes.len(), end, &mut self.lines);
                }
            }
        }
        if let Some((stream, offset)) = back {
            if self.tail.give_back(stream, offset) {
                self.rests.get_mut(&stream).unwrap().bytes.clear();
            }
        }
        true
    }

    /// Reads until there is nothing more.
    pub(super) async fn pump(&mut self) {
        loop {
            while self.step().await {}
            if self.tail.at_end() {
                return;
            }
        }
    }

    /// Reads on while time goes by.
    pub(super) async fn pump_for(&mut self, time: Duration) {
        for _ in 0..time.as_secs() {
            self.pump().await;
            advance(Duration::from_secs(1)).await;
        }
        self.pump().await;
    }

    /// The lines so far.
    pub(super) fn texts(&self) -> Vec<&str> {
        self.lines.iter().map(|line| line.text.as_str()).collect()
    }

    pub(super) fn acknowledge_all(&mut self) {
        for line in &mut self.lines {
            if let Some(receipt) = line.receipt.take() {
                receipt.done();
            }
        }
    }

    /// Acknowledges everything, saves, and ends.
    pub(super) async fn stop(mut self) -> Vec<String> {
        self.acknowledge_all();
        self.tail.save().await.unwrap();
        self.lines.into_iter().map(|line| line.text).collect()
    }
}

fn cut(rest: &mut Rest, lines: &mut Vec<Line>) {
    while let Some(at) = rest.bytes.iter().position(|byte| *byte == b'\n') {
        let end = rest.begin + at as u64 + 1;
        line(rest, at, end, lines);
        rest.bytes.drain(..=at);
        rest.begin = end;
    }
}

fn line(rest: &Rest, length: usize, end: u64, lines: &mut Vec<Line>) {
    let text = String::from_utf8_lossy(&rest.bytes[..length]).into_owned();
    let (ledger, id) = (rest.ledger.clone(), rest.seed.record(rest.begin));
    let receipt = Some(ledger.hand_on(end));
    lines.push(Line { text, id, end, ledger, receipt });
}

/// A folder of files.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn append(&self, name: &str, text: &str) {
        use std::io::Write;
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    pub(super) fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub(super) fn copytruncate(&self, from: &str, to: &str) {
        std::fs::copy(self.path(from), self.path(to)).unwrap();
        std::fs::File::options().write(true).open(self.path(from)).unwrap().set_len(0).unwrap();
    }

    /// As gzip and logrotate do it: the time of the original stays.
    pub(super) fn gzip(&self, from: &str, to: &str) {
        use std::io::Write;
        let text = std::fs::read(self.path(from)).unwrap();
        let modified = std::fs::metadata(self.path(from)).unwrap().modified().unwrap();
        let file = std::fs::File::create(self.path(to)).unwrap();
        let mut packed = flate2::write::GzEncoder::new(&file, flate2::Compression::fast());
        packed.write_all(&text).unwrap();
        packed.finish().unwrap();
        file.set_modified(modified).unwrap();
        std::fs::remove_file(self.path(from)).unwrap();
    }

    pub(super) fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }
}
