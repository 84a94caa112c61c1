//! Files here: one, or all of a folder such as a `ConfigMap` volume.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use pillion_model::secrets::Limits;
use pillion_runtime::board::Secret;
use pillion_runtime::watch::{FileWatch, files_within};
use tokio::time::timeout;

use super::pace::Pace;
use super::{Files, Proof, SILENCE, SourceError};
use crate::store::{FileName, check_amount};

/// The link of a `ConfigMap` volume to its current version, which the kubelet replaces.
const DATA: &str = "..data";
/// A volume may change while it is read; so often we begin again.
const ATTEMPTS: usize = 8;

/// A path that is watched.
#[derive(Debug)]
pub(super) struct FilesSource {
    path: PathBuf,
    limits: Limits,
    watch: Option<FileWatch>,
    /// Whether the last look saw the files.
    is_current: bool,
}

impl FilesSource {
    pub(super) fn new(path: PathBuf, limits: Limits) -> Self {
        Self { path, limits, watch: None, is_current: false }
    }

    /// The files: at once, then as soon as they have changed.
    pub(super) async fn next(
        &mut self,
        pace: &mut Pace,
        proof: &Proof,
    ) -> Result<Files, SourceError> {
        match &mut self.watch {
            // The watch begins before the first look, so that nothing is missed in between.
            None => self.watch = Some(FileWatch::new(&self.path)),
            Some(watch) if self.is_current => {
                while timeout(SILENCE, watch.changed()).await.is_err() {
                    // The watch looks by itself, too; there it is still.
                    if self.path.exists() {
                        proof.give();
                    }
                }
            }
            // Both may be dropped: what has changed is read in any case.
            Some(watch) => tokio::select! {
                () = watch.changed() => {}
                () = pace.recover() => {}
            },
        }
        self.is_current = false;
        let files = read(&self.path, self.limits.bytes)?;
        check_amount(files.files.values(), self.limits)?;
        self.is_current = true;
        proof.give();
        Ok(files)
    }
}

fn read(path: &Path, bytes: usize) -> Result<Files, SourceError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match read_once(path, bytes) {
            // The version that was being read is gone: there is a newer one.
            Err(SourceError::Read { reason, .. })
                if reason.kind() == io::ErrorKind::NotFound
                    && attempt < ATTEMPTS
                    && path.exists() => {}
            result => return result,
        }
    }
}

fn read_once(path: &Path, bytes: usize) -> Result<Files, SourceError> {
    let failed = |reason| SourceError::Read { path: path.to_owned(), reason };
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let found = BTreeMap::from([(name.into_owned(), path.to_owned())]);
        return collect(found, None, bytes);
    }
    // One look at the link decides: all files are of one version.
    let version = match fs::read_link(path.join(DATA)) {
        Ok(target) => Some(target),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let folder = version.as_ref().map_or_else(|| path.to_owned(), |version| path.join(version));
    let found = files_within(&folder).map_err(failed)?;
    let found = found.into_iter().map(|(name, path)| (name.to_string_lossy().into_owned(), path));
    collect(found.collect(), version, bytes)
}

fn collect(
    found: BTreeMap<String, PathBuf>,
    version: Option<PathBuf>,
    bytes: usize,
) -> Result<Files, SourceError> {
    let mut files = BTreeMap::new();
    let (mut newest, mut room) = (UNIX_EPOCH, bytes);
    for (name, path) in found {
        let failed = |reason| SourceError::Read { path: path.clone(), reason };
        let metadata = fs::metadata(&path).map_err(failed)?;
        // Opening a pipe would wait for a writer.
        if !metadata.is_file() {
            return Err(failed(io::Error::other("it is no file")));
        }
        newest = newest.max(metadata.modified().map_err(failed)?);
        let content = read_file(&path, room).map_err(failed)?;
        room = room.saturating_sub(content.len());
        files.insert(FileName::new(name)?, Secret::from(content));
    }
    let version = match version {
        Some(version) => version.display().to_string(),
        None => {
            let seconds = newest.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            format!("modified at {seconds}")
        }
    };
    Ok(Files { files, version })
}

/// Reads a file, and of one that is too large only as much as shows that it is.
fn read_file(path: &Path, room: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(room as u64 + 1).read_to_end(&mut content)?;
    Ok(content)
}
