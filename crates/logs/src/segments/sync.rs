//! Waiting until the disk has it: work that may take seconds, and is done on a thread that may wait.
//!
//! The order is the point: data, then names, then the ledger, and only then is a segment removed
//! that the ledger is past. Whatever moment the power fails at, the ledger on the disk never needs
//! a segment that is gone.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::ledger::Position;

/// Things to have on the disk for certain, and files to remove after that.
#[derive(Debug)]
pub struct SyncJob {
    /// Segments with bytes that the disk may not have.
    pub(crate) data: Vec<Arc<File>>,
    /// Everything before this is in them.
    pub(crate) upto: Position,
    /// The folder, where it has new names.
    pub(crate) folder: Option<PathBuf>,
    /// The ledger, where it has a new position.
    pub(crate) ledger: Option<io::Result<File>>,
    /// Segments that the ledger is past.
    pub(crate) remove: Vec<(u64, PathBuf)>,
}

/// What came of a [`SyncJob`].
#[derive(Debug)]
pub struct Synced {
    /// Whether the disk has everything before this position.
    pub data: io::Result<Position>,
    /// Whether it has the ledger.
    pub ledger: io::Result<()>,
    /// Numbers of the segments that are gone.
    pub(crate) removed: Vec<u64>,
    /// Those that could not be removed.
    pub(crate) left: Vec<u64>,
}

impl SyncJob {
    /// Where what it brings to the disk ends.
    #[must_use]
    pub fn upto(&self) -> Position {
        self.upto
    }

    /// Does it. Blocks for as long as the disk takes.
    #[must_use]
    pub fn run(self) -> Synced {
        let folder = self.folder.as_deref();
        let data = self
            .data
            .iter()
            .try_for_each(|file| file.sync_data())
            .and_then(|()| folder.map_or(Ok(()), |path| File::open(path)?.sync_all()))
            .map(|()| self.upto);
        let ledger = match self.ledger {
            Some(Ok(ledger)) => ledger.sync_data(),
            Some(Err(error)) => Err(error),
            None => Ok(()),
        };
        let may_remove = ledger.is_ok();
        let (removed, left) = self.remove.into_iter().partition::<Vec<_>, _>(|(_, path)| {
            may_remove
                && match fs::remove_file(path) {
                    Ok(()) => true,
                    Err(error) => error.kind() == io::ErrorKind::NotFound,
                }
        });
        let numbers = |list: Vec<(u64, PathBuf)>| list.into_iter().map(|(number, _)| number);
        Synced { data, ledger, removed: numbers(removed).collect(), left: numbers(left).collect() }
    }
}
