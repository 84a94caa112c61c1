//! The torture of the logs role: writers that rotate their files, sinks that fail half of the time,
//! and a Pillion that is killed again and again. What was promised is counted line by line.
//!
//! One run, of any size: a small one is a test, a large one is `cargo xtask torture`. The seed decides
//! what each writer writes and when it rotates, what becomes of the n-th request of each sink, and
//! when the program is killed; the machine decides what of that happens at the same time.

mod books;
mod chance;
mod receiver;
mod report;
mod shipper;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use books::Books;
use chance::Chance;
use receiver::Receiver;
pub use report::{Report, SinkReport};
use shipper::Shipper;
use writer::Writer;

/// What a run is.
#[derive(Clone, Debug)]
pub struct Torture {
    /// The program.
    pub program: PathBuf,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Lines of all writers together.
    pub lines: u64,
    /// Writers, each with a file of its own; 100 at most. The even ones rotate by rename, the others
    /// by copytruncate.
    pub writers: u64,
    /// How long the writers take, at least.
    pub writing: Duration,
    /// How long a file is written to before it is rotated; half to one and a half of it.
    pub rotation: Duration,
    /// How long Pillion runs before it is killed; half to one and a half of it.
    pub life: Duration,
}

/// When nothing has come for so long after the last line was written, nothing more will.
const SILENCE: Duration = Duration::from_secs(60);
/// Of so many ends one is a SIGTERM; the others are SIGKILL.
const GENTLE: u64 = 4;

impl Torture {
    /// Runs it. Takes as long as the writers, and then until every line has come, or nothing comes
    /// any more.
    ///
    /// # Panics
    /// When something else than the program under test fails.
    pub fn run(&self) -> Report {
        let began = Instant::now();
        let folder = TempDir::with_prefix("pillion-torture-").unwrap();
        let logs = folder.path().join("logs");
        std::fs::create_dir(&logs).unwrap();
        let each = self.lines / self.writers;
        let chance = Chance::new(self.seed);
        let [loki, http] = ["loki", "http"]
            .map(|name| Receiver::start(chance.of(name, 0), Books::new(self.writers, each)));
        let mut shipper = Shipper::new(self, folder.path(), &loki, &http);
        let over = AtomicBool::new(false);
        let rotations = thread::scope(|scope| {
            let writing: Vec<_> = (0..self.writers)
                .map(|number| {
                    let writer = Writer::new(self, number, &logs, chance.of("writer", number));
                    scope.spawn(move || writer.run(each))
                })
                .collect();
            let killing = scope.spawn(|| {
                kill_again_and_again(&mut shipper, self.life, chance.of("kill", 0), &over);
            });
            let rotations: Vec<u64> =
                writing.into_iter().map(|writer| writer.join().unwrap()).collect();
            over.store(true, Ordering::SeqCst);
            killing.join().unwrap();
            rotations
        });
        let wrote = began.elapsed();
        wait_for_all(&[&loki, &http], each * self.writers);
        let took = began.elapsed();
        shipper.end();
        Report::new(self, &shipper, &rotations, [("loki", &loki), ("http", &http)], (wrote, took))
    }
}

/// Ends the program and starts it, until it is over; it runs then.
fn kill_again_and_again(
    shipper: &mut Shipper,
    life: Duration,
    mut chance: Chance,
    over: &AtomicBool,
) {
    shipper.start();
    loop {
        let until = Instant::now() + chance.around(life);
        while Instant::now() < until {
            if over.load(Ordering::SeqCst) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        if chance.below(GENTLE) == 0 {
            shipper.terminate();
        } else {
            shipper.kill();
        }
        shipper.start();
    }
}

/// Waits until each sink has every line, or nothing new comes any more.
fn wait_for_all(sinks: &[&Arc<Receiver>], lines: u64) {
    let known = || sinks.iter().map(|sink| sink.books().distinct()).sum::<u64>();
    let all = lines * u64::try_from(sinks.len()).unwrap();
    let (mut last, mut since) = (known(), Instant::now());
    while last < all && since.elapsed() < SILENCE {
        thread::sleep(Duration::from_millis(50));
        let now = known();
        if now > last {
            (last, since) = (now, Instant::now());
        }
    }
}
