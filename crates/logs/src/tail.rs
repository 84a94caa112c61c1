//! The file source: finds the files that are meant, and reads what is written to them, whatever
//! rotation does to them.
//!
//! Where to look is told by the kernel (inotify on folders, so that a thousand idle files cost
//! nothing); what is there is always found out by looking. Every minute everything is looked at once
//! more: changes on a network file system, and moves of folders further up, come without a notice.
//!
//! What is read is known by *generations*: what was written to a file between two truncations. A
//! generation keeps its identity when it is renamed, copied before a truncation, or compressed. Those
//! of one path were written one after another, and are read so (`table.rs`).
//!
//! What cannot be seen: a file that is truncated and written anew with the very bytes that it had
//! counts as unchanged; and what is written between the two steps of logrotate's `copytruncate` is
//! lost by logrotate itself.

mod content;
mod globs;
mod identity;
mod look;
mod names;
mod notices;
mod positions;
mod recover;
mod state;
mod strangers;
mod table;
#[cfg(test)]
mod tests;
mod turn;
mod unclaimed;
mod unreadable;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use pillion_model::logs::Files;
use pillion_runtime::say;
use tokio::time::{Instant, sleep_until};

use globs::Globs;
use look::Sight;
use names::Packing;
use notices::{Notice, Notices};
use table::{Slot, Table};
use turn::Step;
use unclaimed::Unclaimed;
use unreadable::say_unreadable;

use crate::receipt::Ledger;
pub use globs::GlobError;
pub use identity::Seed;
pub use positions::{Positions, PositionsError};
pub use state::{FileState, FileStatus, Status};

/// So much of a file is read at a time.
const BLOCK: usize = 128 << 10;
/// The most bytes before the end of what was read that can be given back.
const LONGEST: u64 = 16 << 20;
/// More files of one source are not known at a time.
const FILES: usize = 100_000;
/// A file that was moved or deleted may still be written to; its stream ends after this silence.
const QUIET: Duration = Duration::from_secs(5);
/// How often is looked after what is open, or not saved.
const BEAT: Duration = Duration::from_secs(1);
/// How often everything is looked at, although the kernel tells …
const LOOK: Duration = Duration::from_secs(60);
/// … and where it does not, because it has no watch left for us.
const BLIND_LOOK: Duration = Duration::from_secs(2);
/// Notices are gathered for so long, so that a writer of many lines does not wake us for each.
const GATHER: Duration = Duration::from_millis(5);

/// A stream: the bytes of one file, from where its reading began until it was truncated, deleted, or
/// rotated away and silent. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId {
    slot: Slot,
    part: u32,
}

/// What happens to a file.
#[derive(Debug)]
pub enum Event<'a> {
    /// Bytes were read.
    Block(Block<'a>),
    /// Nothing follows in this stream: what stands there without a line end is complete.
    Ended(StreamId),
}

/// Bytes of a stream. They follow those of its block before, except where bytes were given back.
#[derive(Debug)]
pub struct Block<'a> {
    /// Of which stream.
    pub stream: StreamId,
    /// Where the file is now.
    pub path: &'a Arc<Path>,
    /// Takes the end of each whole record that is handed on; where that is delivered, the next start
    /// goes on. The same for all streams of one generation.
    pub ledger: &'a Ledger,
    /// With an offset it makes the id of a record.
    pub seed: Seed,
    /// Where in the file the bytes begin.
    pub offset: u64,
    /// The bytes.
    pub bytes: &'a [u8],
    /// Whether it is the first of its stream.
    pub first: bool,
}

/// Reads the files of one source. It is driven by [`Tail::next`]; who does not call it lets the files
/// wait, and calls [`Tail::keep_up`] meanwhile.
pub struct Tail {
    source: Arc<str>,
    globs: Globs,
    compressed: bool,
    open_files: usize,
    idle_close: Duration,
    positions: Option<Positions>,
    /// `None`: the kernel has no watch left.
    notices: Option<Notices>,
    table: Table,
    unclaimed: Unclaimed,
    /// Those that may have something to read.
    ready: VecDeque<Slot>,
    /// Those that are open, the longest open first.
    open: Vec<Slot>,
    /// Those whose position may have changed.
    touched: HashSet<Slot>,
    ends: VecDeque<StreamId>,
    /// Those that are, or were, copies of others.
    copies: HashSet<Slot>,
    /// Files that nothing is known of yet.
    strangers: Vec<Sight>,
    /// Of the notices that are being handled: what was moved whereto; empty: out of sight.
    moves: HashMap<PathBuf, PathBuf>,
    /// Names that rotation gave to what is meant.
    rotated: HashSet<PathBuf>,
    reconciling: bool,
    /// Whether files that are there at the first look are read from their end.
    skip_present: bool,
    /// Until the first look has ended: when the source was last looked after, in milliseconds.
    away_since: Option<u64>,
    /// When this began, in milliseconds since 1970.
    began: u64,
    /// When what happens was last looked at, in milliseconds since 1970.
    looked: u64,
    /// The look before: until then, every path led to whom it was known to lead.
    looked_before: u64,
    buffer: Vec<u8>,
    lost: u64,
    /// Whether what is not a file yet could not be looked at, the last time.
    blocked: bool,
    /// Whether everything was looked at once.
    greeted: bool,
    /// How the files stand, for others.
    shown: Rc<RefCell<Status>>,
    next_look: Instant,
    next_beat: Instant,
    /// Notices are not looked at before.
    next_drain: Instant,
}

impl Tail {
    /// Reads the files of a source from where the positions say. To be called in a Tokio runtime
    /// with its I/O and time drivers on.
    ///
    /// # Errors
    /// When a glob cannot be used.
    pub fn new(
        files: &Files,
        source: Arc<str>,
        positions: Option<Positions>,
    ) -> Result<Self, GlobError> {
        let known = positions.as_ref().and_then(|positions| positions.of(&source));
        let skip_present = known.is_none() && !files.from_start;
        let away_since = known.as_ref().map(|(_, looked)| *looked);
        let mut unclaimed = Unclaimed::default();
        known.into_iter().flat_map(|(entries, _)| entries).for_each(|entry| unclaimed.add(entry));
        let now = Instant::now();
        let notices = Notices::new().map_err(|error| blind(&error)).ok();
        Ok(Self {
            source,
            globs: Globs::new(&files.include, &files.exclude)?,
            compressed: files.compressed,
            open_files: files.open_files.max(1),
            idle_close: files.idle_close,
            positions,
            notices,
            table: Table::default(),
            unclaimed,
            ready: VecDeque::new(),
            open: Vec::new(),
            touched: HashSet::new(),
            ends: VecDeque::new(),
            copies: HashSet::new(),
            strangers: Vec::new(),
            moves: HashMap::new(),
            rotated: HashSet::new(),
            reconciling: false,
            skip_present,
            away_since,
            began: unix_ms(),
            looked: 0,
            looked_before: 0,
            buffer: Vec::new(),
            lost: 0,
            blocked: false,
            greeted: false,
            shown: Rc::default(),
            next_look: now,
            next_beat: now,
            next_drain: now,
        })
    }

    /// Waits for the next event. Files take turns, a block each. Cancel-safe.
    ///
    /// While there is always something to read, it never waits: the caller has to let others run.
    pub async fn next(&mut self) -> Event<'_> {
        let step = loop {
            self.keep_house();
            if let Some(step) = self.turn() {
                break step;
            }
            self.wait().await;
        };
        self.event(step)
    }

    /// The next event, if there is one now.
    pub fn try_next(&mut self) -> Option<Event<'_>> {
        self.keep_house();
        let step = self.turn()?;
        Some(self.event(step))
    }

    /// Follows what happens to the files without reading them, so that what is rotated away and
    /// deleted meanwhile is held open. Never returns; cancel-safe.
    pub async fn keep_up(&mut self) {
        loop {
            self.keep_house();
            for slot in self.ready.clone() {
                let waits = self.table.get(slot).is_some_and(|file| {
                    file.content.is_none() && file.reached && file.copy_of.is_none()
                });
                if waits && self.open.len() < self.open_files {
                    self.open(slot);
                }
            }
            self.wait().await;
        }
    }

    /// Whether every file has been read to the end that it has now.
    pub fn at_end(&mut self) -> bool {
        self.next_drain = Instant::now();
        self.keep_house();
        self.ready.is_empty() && self.ends.is_empty()
    }

    /// Ends the streams: what was given back comes once more, then each stream's end. To be called
    /// before the last round of [`Tail::try_next`].
    pub fn finish(&mut self) {
        let speaking = self.table.iter().filter(|(_, file)| file.speaking);
        for slot in speaking.map(|(slot, _)| slot).collect::<Vec<_>>() {
            if let Some(file) = self.table.get_mut(slot) {
                file.finishing = true;
            }
            self.wake(slot);
        }
    }

    /// Whether there is something that the source means and that cannot be read.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.blocked || self.table.iter().any(|(_, file)| file.fault.is_some())
    }

    /// Writes down how far each file has been delivered.
    ///
    /// # Errors
    /// When the file cannot be written; the old one stays.
    pub async fn save(&mut self) -> io::Result<()> {
        self.note_positions();
        match &self.positions {
            Some(positions) => positions.save().await,
            None => Ok(()),
        }
    }

    fn event(&self, step: Step) -> Event<'_> {
        let block = match step {
            Step::Ended(stream) => return Event::Ended(stream),
            Step::Block { slot, offset, bytes, first } => (slot, offset, bytes, first),
        };
        let (slot, offset, bytes, first) = block;
        let stream = |part| StreamId { slot, part };
        let Some((file, ledger)) =
            self.table.get(slot).and_then(|f| f.ledger.as_ref().map(|l| (f, l)))
        else {
            return Event::Ended(stream(0));
        };
        let bytes = self.buffer.get(bytes).unwrap_or_default();
        let (stream, path, seed) = (stream(file.part), &file.path, file.seed);
        Event::Block(Block { stream, path, ledger, seed, offset, bytes, first })
    }

    /// Everything but reading.
    fn keep_house(&mut self) {
        let now = Instant::now();
        if now >= self.next_drain {
            self.next_drain = now + GATHER;
            self.heed();
        }
        if now >= self.next_look {
            let blind = self.notices.is_none();
            self.next_look = now + if blind { BLIND_LOOK } else { LOOK };
            self.reconcile();
        }
        if now >= self.next_beat {
            self.next_beat = now + BEAT;
            self.tidy();
            self.note_positions();
            self.show();
            if let Some(positions) = &self.positions {
                positions.save_when_due();
            }
        }
    }

    /// Waits until there is a notice, or something else is due.
    async fn wait(&mut self) {
        let idle = self.open.is_empty() && self.touched.is_empty() && self.ready.is_empty();
        let saved = !self.positions.as_ref().is_some_and(Positions::unsaved);
        let due = if idle && saved { self.next_look } else { self.next_look.min(self.next_beat) };
        let (gathered, notices) = (self.next_drain, &mut self.notices);
        let told = async {
            sleep_until(gathered).await;
            match notices {
                Some(notices) => notices.wait().await,
                None => pending().await,
            }
        };
        tokio::select! {
            told = told => if let Err(error) = told {
                blind(&error);
                self.notices = None;
            },
            () = sleep_until(due) => {}
        }
    }

    /// Looks where the kernel has told.
    fn heed(&mut self) {
        let Some(notices) = &mut self.notices else { return };
        self.looked_before = std::mem::replace(&mut self.looked, unix_ms());
        let told = match notices.drain() {
            Ok(told) => told,
            Err(error) => {
                blind(&error);
                self.notices = None;
                self.next_look = Instant::now();
                return;
            }
        };
        let mut looks: Vec<PathBuf> = Vec::new();
        for notice in told {
            match notice {
                Notice::Written(path) => self.written(&path),
                Notice::Look(path) => looks.push(path),
                Notice::MovedAway(path) => {
                    self.moves.insert(path.clone(), PathBuf::new());
                    looks.push(path);
                }
                Notice::Moved(from, to) => {
                    let is_ours = self.table.at(&from).is_some()
                        || self.globs.mean(&from)
                        || self.rotated.contains(&from)
                        || !self.table.through(&from).is_empty();
                    if is_ours && Packing::of(&to).is_none() {
                        self.rotated.insert(to.clone());
                    }
                    self.moves.insert(from.clone(), to.clone());
                    looks.extend([from, to]);
                }
                Notice::Anything => self.next_look = Instant::now(),
            }
        }
        let mut looked = HashSet::new();
        for path in looks {
            if looked.insert(path.clone()) {
                self.table.through(&path).iter().for_each(|from| self.look(from));
                self.look(&path);
            }
        }
        self.meet_strangers();
        self.moves.clear();
        self.rotated.clear();
    }

    fn written(&mut self, path: &Path) {
        let there = self.table.at(path);
        let through = self.table.through(path);
        let linked = through.iter().filter_map(|from| self.table.at(from));
        for slot in there.into_iter().chain(linked).collect::<Vec<_>>() {
            self.wake(slot);
        }
    }

    /// Looks at everything.
    fn reconcile(&mut self) {
        self.reconciling = true;
        if self.notices.is_none() {
            self.looked_before = std::mem::replace(&mut self.looked, unix_ms());
        }
        let found = self.globs.walk();
        self.blocked = !found.unreadable.is_empty();
        if !std::mem::replace(&mut self.greeted, true) {
            self.say_what_is_odd(&found);
        }
        for (path, error) in &found.unreadable {
            say_unreadable(path, error);
        }
        if found.more {
            say!(Error, "too many folders, some are not looked into", source = self.source);
        }
        for folder in &found.folders {
            if self.watch(folder) {
                // What came into it since it was looked into, nobody tells.
                self.next_look = Instant::now();
            }
        }
        for path in &found.files {
            self.look(path);
        }
        let known: Vec<Arc<Path>> = self.table.paths().cloned().collect();
        for path in known.iter().filter(|path| !found.files.contains(&***path)) {
            self.look(path);
        }
        self.recover_unclaimed();
        if let Some(since) = self.away_since.take() {
            self.adopt_since(since, &found.folders);
        }
        self.meet_strangers();
        self.skip_present = false;
        self.rotated.clear();
        self.reconciling = false;
        self.table.prune_links(&found.files);
        let mut wanted: BTreeSet<PathBuf> = found.folders;
        wanted.extend(self.table.link_folders().map(Path::to_owned));
        if let Some(notices) = &mut self.notices {
            notices.keep(&wanted);
        }
        self.forget();
    }

    /// Watches a folder from now on; says whether it was not watched before.
    fn watch(&mut self, folder: &Path) -> bool {
        let Some(notices) = &mut self.notices else { return false };
        notices.watch(folder).unwrap_or_else(|error| {
            blind(&error);
            self.notices = None;
            self.next_look = Instant::now();
            false
        })
    }
}

fn blind(error: &io::Error) {
    say!(Warn, "the kernel tells nothing about files, looking every 2 s instead", error = error);
}

fn since_1970_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// By the clock that files are stamped with, so that both can be compared.
fn unix_ms() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_REALTIME_COARSE).map(Duration::from);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(0))
}

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
