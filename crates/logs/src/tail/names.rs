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

/// The paths that `path` may have had before it was rotated, the likeliest first. What rotation puts
/// in is a number, a date, or `old`.
pub(super) fn before_rotation(path: &Path) -> Vec<PathBuf> {
    let Some(name) = path.file_name().map(OsStr::as_bytes) else { return Vec::new() };
    let plain = if Packing::of(path).is_some() { stem(name) } else { name };
    let mut names: Vec<Vec<u8>> = Vec::new();
    if plain.len() < name.len() {
        names.push(plain.to_vec());
    }
    let body = stem(plain);
    let extension = plain.get(body.len()..).unwrap_or_default();
    let is_cut = |cut: &usize| plain.get(*cut).is_some_and(|byte| CUTS.contains(byte));
    for cut in (1..plain.len()).rev().filter(is_cut) {
        let (Some(first), Some(added)) = (plain.get(..cut), plain.get(cut + 1..)) else { continue };
        if is_added(added) {
            names.push(first.to_vec());
        }
        if body.get(cut + 1..).is_some_and(is_added) {
            names.push([first, extension].concat());
        }
    }
    names.into_iter().map(|name| path.with_file_name(OsStr::from_bytes(&name))).collect()
}

/// Whether rotation adds this to a name.
fn is_added(part: &[u8]) -> bool {
    let is_stamp =
        |byte: &u8| byte.is_ascii_digit() || CUTS.contains(byte) || b":+TZ".contains(byte);
    part == b"old" || (part.iter().all(is_stamp) && part.iter().any(u8::is_ascii_digit))
}

/// Whether `path` may be what `original` was called after a rotation.
pub(super) fn is_rotated(path: &Path, original: &Path) -> bool {
    before_rotation(path).iter().any(|before| before == original)
}

/// Whether the one path is the other with something behind it, as rotation does it most often. A
/// name that rotation changed further in is seldom told from that of another app: `app-1.log` may
/// have nothing to do with `app.log`.
pub(super) fn extends(path: &Path, original: &Path) -> bool {
    path.as_os_str().as_bytes().starts_with(original.as_os_str().as_bytes())
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
            ("/l/app.log.old", "/l/app.log", true),
            ("/l/app.log.lock", "/l/app.log", false),
            ("/l/app-worker.log", "/l/app.log", false),
            ("/l/.hidden", "/l/", false),
        ] {
            let is = is_rotated(Path::new(path), Path::new(original));
            assert_eq!(is, expected, "{path} {original}");
        }
    }
}
