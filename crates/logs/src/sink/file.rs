//! Lines appended to a file, which is opened anew when it was moved away.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::SinkError;
use super::writer::{Fault, Place, Writer, Written, whole};

/// Its owner and group may read it.
const MODE: u32 = 0o640;

/// A thread that appends to the file.
pub(super) fn writer(path: &Path) -> Result<Writer, SinkError> {
    let name = path.display().to_string();
    Writer::start(Appended::new(path), name)
}

struct Appended {
    path: PathBuf,
    /// With device and inode.
    file: Option<(Arc<File>, (u64, u64))>,
    /// How long it was before the last write.
    length: u64,
    /// It ends with a part of a record, which could not be taken back.
    is_torn: bool,
}

impl Place for Appended {
    fn write(&mut self, bytes: &[u8], ends: &[u32]) -> Written {
        match self.append(bytes) {
            Ok(()) => Written { records: ends.len(), fault: None },
            Err((written, error)) => {
                let (records, end) = whole(ends, written);
                self.take_back(written, end);
                Written { records, fault: Some(Fault::Failed(error.to_string())) }
            }
        }
    }
}

impl Appended {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None, length: 0, is_torn: false }
    }

    /// Appends the bytes, or says how many of them it appended.
    fn append(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let nothing = |error| (0, error);
        let mut file = self.open().map_err(nothing)?;
        if self.is_torn {
            // What is left of a record becomes a line of its own.
            file.write_all(b"\n").map_err(nothing)?;
            self.is_torn = false;
        }
        self.length = file.metadata().map_err(nothing)?.len();
        write(&file, bytes)
    }

    /// The file that has the path now: rotation moves the old one away.
    fn open(&mut self) -> io::Result<Arc<File>> {
        let now = std::fs::metadata(&self.path).ok().map(|found| (found.dev(), found.ino()));
        match &self.file {
            Some((file, open)) if Some(*open) == now => Ok(file.clone()),
            _ => {
                let options = OpenOptions::new().append(true).create(true).mode(MODE).clone();
                let file = Arc::new(options.open(&self.path)?);
                let found = file.metadata()?;
                self.is_torn = false;
                self.file = Some((file.clone(), (found.dev(), found.ino())));
                Ok(file)
            }
        }
    }

    /// Cuts off what was written behind the last whole record, unless somebody else wrote too.
    fn take_back(&mut self, written: usize, end: usize) {
        if written == end {
            return;
        }
        let after = |bytes: usize| self.length + u64::try_from(bytes).unwrap_or(u64::MAX);
        let cut = self.file.as_ref().is_some_and(|(file, _)| {
            let is_ours = file.metadata().is_ok_and(|found| found.len() == after(written));
            is_ours && file.set_len(after(end)).is_ok()
        });
        self.is_torn = !cut;
    }
}

/// Writes the bytes, or says how many of them it wrote.
fn write(mut file: &File, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_moved_or_removed_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("out.log"), folder.path().join("out.log.1"));
        let mut place = Appended::new(&path);
        let all = Written { records: 1, fault: None };
        assert_eq!(place.write(b"a\n", &[2]), all);
        assert_eq!(place.write(b"b\n", &[2]), all);
        std::fs::rename(&path, &moved).unwrap();
        assert_eq!(place.write(b"c\n", &[2]), all);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(place.write(b"d\n", &[2]), all);
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "a\nb\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "d\n");
    }

    #[test]
    fn a_folder_that_is_missing_is_trouble_until_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("later/out.log");
        let mut place = Appended::new(&path);
        let written = place.write(b"a\n", &[2]);
        assert!(matches!(written, Written { records: 0, fault: Some(Fault::Failed(_)) }));
        std::fs::create_dir(folder.path().join("later")).unwrap();
        assert_eq!(place.write(b"a\n", &[2]), Written { records: 1, fault: None });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\n");
    }

    #[test]
    fn what_was_written_of_a_record_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.log");
        let mut place = Appended::new(&path);
        place.write(b"whole\n", &[6]);
        place.write(b"whole\npart", &[6, 10]);
        place.take_back(10, 6);
        place.write(b"next\n", &[5]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\nwhole\nnext\n");
    }

    #[test]
    fn what_cannot_be_taken_back_ends_as_a_line_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.log");
        let mut place = Appended::new(&path);
        place.write(b"whole\npart", &[6, 10]);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"!").unwrap();
        place.take_back(10, 6);
        place.write(b"next\n", &[5]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\npart!\nnext\n");
    }
}
