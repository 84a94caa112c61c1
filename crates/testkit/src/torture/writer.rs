//! A writer: an app that writes numbered lines to its file, and the rotation of that file.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::Torture;
use super::books::text;
use super::chance::Chance;

/// How often a writer writes.
const BEAT: Duration = Duration::from_millis(20);
/// The most bytes of a line beside its number.
const FILLER: u64 = 120;

/// A writer.
pub(super) struct Writer {
    number: u64,
    path: PathBuf,
    chance: Chance,
    /// Lines a second.
    pace: f64,
    rotation: Duration,
    copies: bool,
    rotations: u64,
    buffer: Vec<u8>,
}

impl Writer {
    pub(super) fn new(torture: &Torture, number: u64, folder: &Path, chance: Chance) -> Self {
        let each = (torture.lines / torture.writers) as f64;
        Self {
            number,
            path: folder.join(format!("w{number:02}.log")),
            chance,
            pace: each / torture.writing.as_secs_f64(),
            rotation: torture.rotation,
            copies: number % 2 == 1,
            rotations: 0,
            buffer: Vec::new(),
        }
    }

    /// Writes so many lines; returns how often the file was rotated.
    pub(super) fn run(mut self, lines: u64) -> u64 {
        let began = Instant::now();
        let mut file = self.open();
        let mut rotated = Instant::now();
        let mut after = self.chance.around(self.rotation);
        let mut written = 0;
        while written < lines {
            let wanted = (began.elapsed().as_secs_f64() * self.pace) as u64 + 1;
            for number in written..wanted.min(lines) {
                self.line(number);
            }
            written = wanted.min(lines).max(written);
            file.write_all(&self.buffer).unwrap();
            self.buffer.clear();
            if rotated.elapsed() >= after {
                file = self.rotate(file);
                (rotated, after) = (Instant::now(), self.chance.around(self.rotation));
            }
            // An app that is not always busy: this is its pace, and waits for nothing.
            thread::sleep(BEAT);
        }
        self.rotations
    }

    fn open(&self) -> File {
        File::options().append(true).create(true).open(&self.path).unwrap()
    }

    fn line(&mut self, number: u64) {
        let filler = usize::try_from(self.chance.below(FILLER)).unwrap();
        let (writer, text) = (self.number, text((self.number, number)));
        writeln!(self.buffer, r#"{{"file":"w{writer:02}","msg":"{text}{:x>filler$}"}}"#, "")
            .unwrap();
    }

    /// As logrotate does it. Nothing is written between the copy and the truncation: what an app
    /// writes there is lost to any reader, and no matter of this one.
    fn rotate(&mut self, file: File) -> File {
        let mut old = self.path.clone().into_os_string();
        old.push(format!(".{}", self.rotations));
        self.rotations += 1;
        if self.copies {
            fs::copy(&self.path, old).unwrap();
            file.set_len(0).unwrap();
            return file;
        }
        fs::rename(&self.path, old).unwrap();
        self.open()
    }
}
