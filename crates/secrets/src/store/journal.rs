//! The journal of a set: which version was confirmed, which one is being tried, and what the engine
//! noted for each. One small file, replaced whole, with a checksum.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write as _};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::folder::Folder;

const FILE: &str = "journal";
const NEW_FILE: &str = "journal.new";
/// First word of the file; the number changes with the form of what follows.
const FORM: &str = "pillion-journal-1";
/// The most bytes that are noted for one version.
pub const NOTES: usize = 64 << 10;
/// Versions whose notes are kept; what is older is forgotten.
pub(super) const NOTED_VERSIONS: usize = 64;
/// More is no journal of ours: all notes in Base64, and some.
const LIMIT: usize = NOTED_VERSIONS * NOTES * 2;

/// The number of a version. It grows, and is never used twice.
pub type Version = u64;

/// What the journal says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    /// The highest number that was ever given.
    pub(super) last: Version,
    /// The version that the app confirmed last.
    pub(super) confirmed: Option<Version>,
    /// What is under way.
    pub(super) trying: Option<Trying>,
    /// What the engine noted.
    pub(super) notes: BTreeMap<Version, Notes>,
}

/// A version on its way in, or out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trying {
    /// The version.
    pub version: Version,
    /// Where the way back leads to; `None`: there is nothing older.
    pub before: Option<Version>,
    /// Whether the way back is being taken.
    pub returning: bool,
}

/// What the engine wants to find again after a crash. It may name leases, so it is not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Notes(pub(super) Vec<u8>);

impl TryFrom<String> for Notes {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        STANDARD.decode(text).map(Self)
    }
}

impl From<Notes> for String {
    fn from(notes: Notes) -> Self {
        STANDARD.encode(notes.0)
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Journal {
    /// Reads it; `None` where there is none yet.
    ///
    /// # Errors
    /// It cannot be read, or is not what was written.
    pub(super) fn read(folder: &Folder) -> io::Result<Option<Self>> {
        match folder.read(FILE, LIMIT) {
            Ok(bytes) => parse(&bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file; once it returns, the new contents are on disk.
    pub(super) fn write(&self, folder: &Folder) -> io::Result<()> {
        let body = serde_json::to_vec(self)?;
        folder.remove(NEW_FILE)?;
        let mut file = folder.create(NEW_FILE)?;
        file.write_all(format!("{FORM} {}\n", checksum(&body)).as_bytes())?;
        file.write_all(&body)?;
        file.sync_all()?;
        folder.rename(NEW_FILE, FILE)?;
        folder.sync()
    }

    /// Notes something for a version; the oldest notes go where there are too many.
    pub(super) fn note(&mut self, version: Version, notes: Vec<u8>) {
        self.notes.insert(version, Notes(notes));
        while self.notes.len() > NOTED_VERSIONS {
            self.notes.pop_first();
        }
    }
}

fn parse(bytes: &[u8]) -> io::Result<Journal> {
    let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let line = bytes.iter().position(|byte| *byte == b'\n');
    let (head, body) = line
        .and_then(|end| Some((bytes.get(..end)?, bytes.get(end + 1..)?)))
        .ok_or_else(|| damaged("its first line is missing"))?;
    if head != format!("{FORM} {}", checksum(body)).as_bytes() {
        return Err(damaged("its checksum does not fit its contents"));
    }
    serde_json::from_slice(body).map_err(|_| damaged("its contents are not those of a journal"))
}

fn checksum(body: &[u8]) -> String {
    digest(&SHA256, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Journal {
        let mut journal = Journal { last: 7, confirmed: Some(6), ..Journal::default() };
        journal.trying = Some(Trying { version: 7, before: Some(6), returning: false });
        journal.note(6, b"lease-6".to_vec());
        journal.note(7, vec![0, 255, 10]);
        journal
    }

    #[test]
    fn what_is_written_is_read_and_shows_no_notes() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path()).unwrap();
        assert_eq!(Journal::read(&folder).unwrap(), None);
        std::fs::write(dir.path().join(NEW_FILE), "left by a crash").unwrap();
        journal().write(&folder).unwrap();
        assert_eq!(Journal::read(&folder).unwrap(), Some(journal()));
        assert!(!format!("{:?}", journal()).contains("lease"));
    }

    #[test]
    fn a_journal_with_any_other_byte_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path()).unwrap();
        journal().write(&folder).unwrap();
        let bytes = std::fs::read(dir.path().join(FILE)).unwrap();
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(parse(&other).is_err(), "byte {at}");
            assert!(parse(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_oldest_notes_are_forgotten_where_there_are_too_many() {
        let mut journal = Journal::default();
        for version in 1..=NOTED_VERSIONS as u64 {
            journal.note(version, Vec::new());
        }
        assert!(journal.notes.contains_key(&1));
        journal.note(NOTED_VERSIONS as u64 + 1, Vec::new());
        assert_eq!(journal.notes.len(), NOTED_VERSIONS);
        assert!(!journal.notes.contains_key(&1));
    }
}
