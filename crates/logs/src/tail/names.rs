//! Names that rotation gives: `app.log` becomes `app.log.1`, `app.log-20261121`, `app.1.log`,
//! `app.log.2.gz`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where a name may be cut to have the one that it was made of.
const CUTS: [u8; 4] = [b'.', b'-', b'_', b'@'];

/// How a file is compressed, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Packing {
    /// Of a path, by its extension. `None`: it is read as it is.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.as_bytes() {
            b"gz" => Some(Self::Gzip),
            b"zst" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// The paths that `path` may have had before it was rotated, the likeliest first.
pub(super) fn before_rotation(path: &Path) -> Vec<PathBuf> {
    let Some(name) = path.file_name().map(OsStr::as_bytes) else { return Vec::new() };
    let plain = if Packing::of(path).is_some() { stem(name) } else { name };
    let mut names: Vec<Vec<u8>> = Vec::new();
    let extension = plain.get(stem(plain).len()..).unwrap_or_default();
    if plain.len() < name.len() {
        names.push(plain.to_vec());
    }
    for cut in (1..plain.len()).rev().filter(|cut| plain.get(*cut).is_some_and(|b| CUTS.contains(b))) {
        let Some(first) = plain.get(..cut) else { continue };
        names.push(first.to_vec());
        if first.len() + extension.len() < plain.len() {
            names.push([first, extension].concat());
        }
    }
    names.into_iter().map(|name| path.with_file_name(OsStr::from_bytes(&name))).collect()
}

/// Whether `path` may be what `original` was called after a rotation.
pub(super) fn is_rotated(path: &Path, original: &Path) -> bool {
    before_rotation(path).iter().any(|before| before == original)
}

/// A name without its last extension.
fn stem(name: &[u8]) -> &[u8] {
    match name.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot > 0 => name.get(..dot).unwrap_or(name),
        Some(_) | None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_names_are_known_by_what_they_were_made_of() {
        for (path, original, expected) in [
            ("/l/app.log.1", "/l/app.log", true),
            ("/l/app.log.12.gz", "/l/app.log", true),
            ("/l/app.log.zst", "/l/app.log", true),
            ("/l/app.log-20261121", "/l/app.log", true),
            ("/l/app.log-20261121-1763729.gz", "/l/app.log", true),
            ("/l/app.1.log", "/l/app.log", true),
            ("/l/app-20261121.log", "/l/app.log", true),
            ("/l/app-2026-11-21.log.gz", "/l/app.log", true),
            ("/l/0.log.20261121-101112", "/l/0.log", true),
            ("/l/messages.1", "/l/messages", true),
            ("/l/app.log", "/l/app.log", false),
            ("/l/app.log", "/l/app.log.1", false),
            ("/l/other.log.1", "/l/app.log", false),
            ("/k/app.log.1", "/l/app.log", false),
            ("/l/.hidden", "/l/", false),
        ] {
            let is = is_rotated(Path::new(path), Path::new(original));
            assert_eq!(is, expected, "{path} {original}");
        }
    }
}
