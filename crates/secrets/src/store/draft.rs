//! What the next version of a set holds, checked as a whole before anything is written.

use std::collections::BTreeSet;
use std::fmt;

use nix::unistd::{Gid, Group, Uid, User};
use pillion_model::secrets::Limits;
use pillion_runtime::board::Secret;

/// The longest name of a file, folders included, in bytes.
const NAME: usize = 512;
/// The longest part of a name, as file systems have it.
const PART: usize = 255;
/// The most folders that a file lies in, and one.
pub(super) const DEPTH: usize = 16;
/// The bits that a file may have: none for everybody, none that change who a program runs as.
const ALLOWED_MODE: u32 = 0o770;

/// A name below the directory of a set: relative, without `.` or `..`, and none of our own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(String);

/// Who a file belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub(super) user: Uid,
    pub(super) group: Gid,
}

/// One file of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftFile {
    /// Its name.
    pub name: FileName,
    /// What is in it.
    pub content: Secret,
    /// Permission bits.
    pub mode: u32,
    /// Who it belongs to; `None`: us, and the group that the folder gives.
    pub owner: Option<Owner>,
}

/// The files of a version, ordered by name; each name can be made beside the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft(Vec<DraftFile>);

/// Why something cannot be the next version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// The name of a file.
    #[error("{name:?} cannot be the name of a file in a set: {rule}")]
    Name {
        /// The name.
        name: String,
        /// What it breaks.
        rule: &'static str,
    },
    /// Two files would be in each other's way.
    #[error("{0:?} is there twice, as a file or as the folder of another; rename one of them")]
    Twice(String),
    /// The permission bits.
    #[error(
        "{name}: mode {mode:04o} is not allowed: no bits for everybody, no set-user-id; 0400 or 0440 do"
    )]
    Mode {
        /// The file.
        name: FileName,
        /// Its bits.
        mode: u32,
    },
    /// More than a set can have.
    #[error(
        "{found} {what} are more than secrets.limits.{what}, which is {limit}: raise it, or have less"
    )]
    TooMuch {
        /// What there is too much of: `files` or `bytes`.
        what: &'static str,
        /// How much.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The user or group is not known here.
    #[error("there is no {kind} {name:?} on this machine; name another, or its number")]
    Owner {
        /// `user` or `group`.
        kind: &'static str,
        /// What was looked for.
        name: String,
    },
}

impl DraftError {
    /// The limit that there was too much for, as its key below `secrets`.
    pub(crate) fn limit(&self) -> Option<&'static str> {
        match self {
            Self::TooMuch { what: "files", .. } => Some("limits.files"),
            Self::TooMuch { .. } => Some("limits.bytes"),
            Self::Name { .. } | Self::Twice(_) | Self::Mode { .. } | Self::Owner { .. } => None,
        }
    }
}

impl FileName {
    /// Checks a name.
    ///
    /// # Errors
    /// It leads elsewhere, is too long, or is one that the store uses itself.
    pub fn new(name: impl Into<String>) -> Result<Self, DraftError> {
        let name = name.into();
        match broken_rule(&name) {
            None => Ok(Self(name)),
            Some(rule) => Err(DraftError::Name { name, rule }),
        }
    }

    /// The name, with `/` between its parts.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its folders, and the name in the last of them.
    pub(super) fn parts(&self) -> (Vec<&str>, &str) {
        let mut parts: Vec<&str> = self.0.split('/').collect();
        let last = parts.pop().unwrap_or_default();
        (parts, last)
    }

    /// The first part: what gets a link in the directory.
    fn top(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

fn broken_rule(name: &str) -> Option<&'static str> {
    if name.len() > NAME {
        return Some("it is longer than 512 bytes");
    }
    if name.contains('\0') {
        return Some("it contains a zero byte");
    }
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() > DEPTH {
        return Some("it lies in more than 15 folders");
    }
    if parts.iter().any(|part| part.is_empty() || *part == ".") {
        return Some("it is absolute, empty, or has an empty part");
    }
    if parts.iter().any(|part| part.starts_with("..")) {
        return Some("a part of it begins with two dots");
    }
    if parts.iter().any(|part| part.len() > PART) {
        return Some("a part of it is longer than 255 bytes");
    }
    let top = parts.first().copied().unwrap_or_default();
    super::RESERVED.contains(&top).then_some("the store uses that name itself")
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Owner {
    /// Finds a user and a group by name or number.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn find(user: &str, group: &str) -> Result<Self, DraftError> {
        let unknown = |kind, name: &str| DraftError::Owner { kind, name: name.to_owned() };
        let user = match user.parse() {
            Ok(number) => Uid::from_raw(number),
            Err(_) => match User::from_name(user) {
                Ok(Some(found)) => found.uid,
                Ok(None) | Err(_) => return Err(unknown("user", user)),
            },
        };
        let group = match group.parse() {
            Ok(number) => Gid::from_raw(number),
            Err(_) => match Group::from_name(group) {
                Ok(Some(found)) => found.gid,
                Ok(None) | Err(_) => return Err(unknown("group", group)),
            },
        };
        Ok(Self { user, group })
    }
}

impl Draft {
    /// Checks files as a whole.
    ///
    /// # Errors
    /// A mode that shows a file to everybody, or names in each other's way.
    pub fn new(mut files: Vec<DraftFile>) -> Result<Self, DraftError> {
        files.sort_by(|one, other| one.name.cmp(&other.name));
        if let Some(file) = files.iter().find(|file| file.mode & !ALLOWED_MODE != 0) {
            return Err(DraftError::Mode { name: file.name.clone(), mode: file.mode });
        }
        match clash(&files) {
            Some(name) => Err(DraftError::Twice(name)),
            None => Ok(Self(files)),
        }
    }

    /// Checks that it is no more than a set may have.
    ///
    /// # Errors
    /// [`DraftError::TooMuch`].
    pub fn within(self, limits: Limits) -> Result<Self, DraftError> {
        check_amount(self.0.iter().map(|file| &file.content), limits)?;
        Ok(self)
    }

    /// The files, by name.
    #[must_use]
    pub fn files(&self) -> &[DraftFile] {
        &self.0
    }

    /// The file of this name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&DraftFile> {
        self.0.iter().find(|file| file.name.as_str() == name)
    }

    /// What gets a link in the directory.
    pub(super) fn tops(&self) -> BTreeSet<String> {
        self.0.iter().map(|file| file.name.top().to_owned()).collect()
    }
}

/// Checks that files are no more than there may be.
pub(crate) fn check_amount<'a>(
    contents: impl Iterator<Item = &'a Secret>,
    limits: Limits,
) -> Result<(), DraftError> {
    let (files, bytes) = contents
        .fold((0, 0), |(files, bytes), content| (files + 1, bytes + content.reveal().len()));
    let most = [("files", files, limits.files), ("bytes", bytes, limits.bytes)];
    match most.into_iter().find(|(_, found, limit)| found > limit) {
        Some((what, found, limit)) => Err(DraftError::TooMuch { what, found, limit }),
        None => Ok(()),
    }
}

/// A name that is there as a file and a second time as a file or folder.
fn clash(files: &[DraftFile]) -> Option<String> {
    let mut names = BTreeSet::new();
    let twice = files.iter().find(|file| !names.insert(file.name.as_str()));
    let folders = || files.iter().flat_map(|file| folders_of(file.name.as_str()));
    twice
        .map(|file| file.name.to_string())
        .or_else(|| folders().find(|folder| names.contains(folder)).map(ToOwned::to_owned))
}

fn folders_of(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').filter_map(|(at, _)| name.get(..at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> DraftFile {
        DraftFile {
            name: FileName::new(name).unwrap(),
            content: "x".into(),
            mode: 0o400,
            owner: None,
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let long = "x".repeat(256);
        let too_long = ["y".repeat(250).as_str(); 3].join("/");
        let deep = vec!["d"; DEPTH + 1].join("/");
        for name in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "a/..",
            "..data",
            "a/..b/c",
            ".",
            "./a",
            "a/./b",
            "a//b",
            "a/",
            "current",
            "current/x",
            ".versions",
            ".versions/1/x",
            ".current.new",
            "a\0b",
            &long,
            &too_long,
            &deep,
        ] {
            assert!(FileName::new(name).is_err(), "{name:?}");
        }
        let deepest = vec!["d"; DEPTH].join("/");
        for name in
            ["a", ".a", "a..b", "a/current", "a/.versions", "ä b", "-", &long[1..], &deepest]
        {
            assert_eq!(FileName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn files_in_each_others_way_are_refused() {
        let draft = |names: &[&str]| Draft::new(names.iter().map(|name| file(name)).collect());
        for names in [&["a", "a"][..], &["a", "a/b"], &["a/b", "a-c", "a"], &["a/b/c", "a/b"]] {
            assert!(matches!(draft(names), Err(DraftError::Twice(_))), "{names:?}");
        }
        assert!(draft(&["a/b", "a-c", "ab", "a/c/d"]).is_ok());
    }

    #[test]
    fn a_mode_for_everybody_is_refused() {
        for mode in [0o404, 0o402, 0o401, 0o644, 0o4400, 0o2440, 0o1400, 0o100_400] {
            assert!(
                matches!(
                    Draft::new(vec![DraftFile { mode, ..file("a") }]),
                    Err(DraftError::Mode { .. })
                ),
                "{mode:o}"
            );
        }
        for mode in [0, 0o400, 0o440, 0o600, 0o770] {
            assert!(Draft::new(vec![DraftFile { mode, ..file("a") }]).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn a_set_is_bounded_in_files_and_bytes() {
        let limits = Limits { files: 3, bytes: 7 };
        let bounded = |files: Vec<DraftFile>| Draft::new(files).unwrap().within(limits);
        let files = |count: usize| (0..count).map(|n| file(&n.to_string())).collect();
        assert!(bounded(files(3)).is_ok());
        assert_eq!(
            bounded(files(4)).unwrap_err().to_string(),
            "4 files are more than secrets.limits.files, which is 3: raise it, or have less"
        );
        let large = |bytes| {
            let content = |bytes| vec![0; bytes].into();
            vec![
                DraftFile { content: content(bytes), ..file("a") },
                DraftFile { content: content(2), ..file("b") },
            ]
        };
        assert!(bounded(large(5)).is_ok());
        assert_eq!(
            bounded(large(6)).unwrap_err().to_string(),
            "8 bytes are more than secrets.limits.bytes, which is 7: raise it, or have less"
        );
    }

    #[test]
    fn owners_are_found_by_name_and_number() {
        let root = Owner::find("root", "root").unwrap();
        assert_eq!(root, Owner::find("0", "0").unwrap());
        for (user, group) in
            [("no-such-user-here", "root"), ("root", "no-such-group-here"), ("", "0")]
        {
            let error = Owner::find(user, group).unwrap_err();
            assert!(matches!(error, DraftError::Owner { .. }), "{error}");
        }
    }
}
