//! Which files a source means: globs of absolute paths, and the folders in which such files may
//! appear.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use thiserror::Error;

use super::names::{Packing, before_rotation, extends};

/// More folders of one source are not looked into.
const FOLDERS: usize = 10_000;

/// A glob that cannot be used.
#[derive(Debug, Error)]
pub enum GlobError {
    /// It does not begin with a slash.
    #[error("\"{0}\" is not an absolute path: begin it with /")]
    Relative(String),
    /// A slash between braces or brackets.
    #[error("\"{0}\" has a slash between braces or brackets: write one glob for each path")]
    SlashInside(String),
    /// Not a glob.
    #[error("\"{glob}\" is not a glob")]
    Invalid {
        /// What was given.
        glob: String,
        /// Why.
        #[source]
        error: globset::Error,
    },
}

/// The globs of one source.
#[derive(Debug)]
pub(super) struct Globs {
    include: GlobSet,
    exclude: GlobSet,
    ways: Vec<Vec<Step>>,
}

/// One name on the way of a glob.
#[derive(Debug)]
enum Step {
    /// This one.
    Name(String),
    /// Any that matches.
    Like(Box<GlobMatcher>),
    /// `**`: any number of folders, links to folders left out.
    Deep,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Paths that match, sorted. Some may be anything but a file.
    pub(super) files: BTreeSet<PathBuf>,
    /// Folders in which such a path, or a folder on the way to one, may appear.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Folders that could not be read, with the reason. Their files are not gone for that.
    pub(super) unreadable: Vec<(PathBuf, io::Error)>,
    /// Whether there are more folders than the limit.
    pub(super) more: bool,
}

impl Globs {
    pub(super) fn new(include: &[String], exclude: &[String]) -> Result<Self, GlobError> {
        let ways = include.iter().map(|glob| way(glob)).collect::<Result<_, _>>()?;
        Ok(Self { include: set(include)?, exclude: set(exclude)?, ways })
    }

    /// Whether the source means this path.
    pub(super) fn mean(&self, path: &Path) -> bool {
        self.include.is_match(path) && !self.excluded(path)
    }

    /// Whether this path is left out on purpose.
    pub(super) fn excluded(&self, path: &Path) -> bool {
        self.exclude.is_match(path)
    }

    /// Whether one of the globs is this path, and no pattern.
    pub(super) fn name(&self, path: &Path) -> bool {
        self.ways.iter().any(|way| literal(way).is_some_and(|named| named == path))
    }

    /// What lies in a folder and has a name that rotation gives to what is meant, also where it is
    /// meant itself.
    pub(super) fn rotated(&self, folder: &Path) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let is_rotated = |path: &PathBuf| {
            let is_read_as_it_is = self.mean(path) && Packing::of(path).is_none();
            let mut before = before_rotation(path).into_iter().filter(|before| self.mean(before));
            before.any(|before| !is_read_as_it_is || extends(path, &before))
        };
        paths.filter(is_rotated).collect()
    }

    /// Looks for everything that matches now.
    pub(super) fn walk(&self) -> Found {
        let mut found = Found::default();
        for way in &self.ways {
            self.follow(way, PathBuf::from("/"), &mut found);
        }
        found
    }

    fn follow(&self, way: &[Step], here: PathBuf, found: &mut Found) {
        let Some((step, rest)) = way.split_first() else {
            if self.mean(&here) {
                found.files.insert(here);
            }
            return;
        };
        match step {
            Step::Name(name) => self.follow_name(name, rest, &here, found),
            Step::Like(matcher) => {
                for entry in entries(&here, found) {
                    let name = entry.file_name();
                    if matcher.is_match(Path::new(&name)) && (rest.is_empty() || is_folder(&entry))
                    {
                        self.follow(rest, entry.path(), found);
                    }
                }
            }
            Step::Deep => {
                for entry in entries(&here, found) {
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        self.follow(way, entry.path(), found);
                    }
                }
                self.follow(rest, here, found);
            }
        }
    }

    /// Only the last folder that exists is watched: the others cannot change unnoticed, except by
    /// being moved, for which there is the look from time to time.
    fn follow_name(&self, name: &str, rest: &[Step], here: &Path, found: &mut Found) {
        let next = here.join(name);
        match fs::symlink_metadata(&next) {
            Ok(metadata) => {
                if rest.is_empty() || metadata.is_symlink() {
                    found.folders.insert(here.to_owned());
                }
                self.follow(rest, next, found);
            }
            Err(error) => {
                found.folders.insert(here.to_owned());
                if error.kind() != io::ErrorKind::NotFound {
                    found.unreadable.push((next, error));
                }
            }
        }
    }
}

/// The one path that a way leads to, if it has no pattern.
fn literal(way: &[Step]) -> Option<PathBuf> {
    let names = way.iter().map(|step| match step {
        Step::Name(name) => Some(name),
        Step::Like(_) | Step::Deep => None,
    });
    let relative = names.collect::<Option<PathBuf>>()?;
    Some(Path::new("/").join(relative))
}

/// What is in a folder; nothing where it is none, or cannot be read, which is noted.
fn entries(folder: &Path, found: &mut Found) -> Vec<fs::DirEntry> {
    if found.folders.len() >= FOLDERS && !found.folders.contains(folder) {
        found.more = true;
        return Vec::new();
    }
    let listed = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    match listed {
        Ok(entries) => {
            found.folders.insert(folder.to_owned());
            entries
        }
        Err(error) => {
            use io::ErrorKind::{NotADirectory, NotFound};
            if !matches!(error.kind(), NotADirectory | NotFound) {
                found.unreadable.push((folder.to_owned(), error));
            }
            Vec::new()
        }
    }
}

fn is_folder(entry: &fs::DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir() || kind.is_symlink())
}

fn set(globs: &[String]) -> Result<GlobSet, GlobError> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(compile(glob, glob)?);
    }
    set.build().map_err(|error| GlobError::Invalid { glob: globs.join(" "), error })
}

/// Compiles a part of `glob`, or all of it. A star does not match a slash.
fn compile(part: &str, glob: &str) -> Result<Glob, GlobError> {
    let built = GlobBuilder::new(part).literal_separator(true).build();
    built.map_err(|error| GlobError::Invalid { glob: glob.to_owned(), error })
}

fn way(glob: &str) -> Result<Vec<Step>, GlobError> {
    let Some(relative) = glob.strip_prefix('/') else {
        return Err(GlobError::Relative(glob.to_owned()));
    };
    let mut inside = 0_i32;
    for c in relative.chars() {
        match c {
            '{' | '[' => inside += 1,
            '}' | ']' => inside -= 1,
            '/' if inside > 0 => return Err(GlobError::SlashInside(glob.to_owned())),
            _ => {}
        }
    }
    let parts = relative.split('/').filter(|part| !part.is_empty());
    let mut steps = parts.map(|part| step(part, glob)).collect::<Result<Vec<_>, _>>()?;
    if let Some(Step::Deep) = steps.last() {
        steps.push(step("*", glob)?);
    }
    Ok(steps)
}

fn step(part: &str, glob: &str) -> Result<Step, GlobError> {
    if part == "**" {
        return Ok(Step::Deep);
    }
    if part.contains(['*', '?', '[', '{', '\\']) {
        return Ok(Step::Like(Box::new(compile(part, glob)?.compile_matcher())));
    }
    Ok(Step::Name(part.to_owned()))
}
