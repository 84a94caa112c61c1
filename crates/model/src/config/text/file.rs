//! Paths, globs, regular expressions, and text that is only text.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{Fault, Text};

/// The longest piece of text.
const LONGEST: usize = 4096;

/// An absolute path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath(PathBuf);

impl FilePath {
    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.display())
    }
}

impl Text for FilePath {
    const KIND: &'static str = "file path";
    const EXAMPLE: &'static str = "/var/lib/pillion";
    const PATTERN: &'static str = "^/.+$";

    fn read(text: &str) -> Result<Self, Fault> {
        absolute(text, "path")?;
        Ok(Self(PathBuf::from(text)))
    }
}

/// Which files: an absolute path with `*`, `?`, `[…]`, `{…,…}` and `**`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileGlob(String);

impl FileGlob {
    /// The glob.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Text for FileGlob {
    const KIND: &'static str = "glob";
    const EXAMPLE: &'static str = "/var/log/shop/*.log";
    const PATTERN: &'static str = "^/.+$";

    fn read(text: &str) -> Result<Self, Fault> {
        absolute(text, "glob")?;
        match globset::Glob::new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(Fault::new(format!("{text:?} is not a glob: {}", error.kind()))),
        }
    }
}

fn absolute(text: &str, kind: &str) -> Result<(), Fault> {
    if text.len() > LONGEST {
        return Err(Fault::new(format!("a {kind} has at most {LONGEST} bytes")));
    }
    match text.starts_with('/') {
        true => Ok(()),
        false => Err(Fault::new(format!("{text:?} is not an absolute {kind}"))
            .hint("begin with /: what a relative one means depends on who starts pillion")),
    }
}

/// A regular expression that runs in linear time: no look-around, no back-references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression(String);

impl Expression {
    /// The expression.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Text for Expression {
    const KIND: &'static str = "expression";
    const EXAMPLE: &'static str = r"^\d{4}-";
    const PATTERN: &'static str = "^.+$";

    fn read(text: &str) -> Result<Self, Fault> {
        if text.is_empty() || text.len() > LONGEST {
            return Err(Fault::new(format!("an expression has 1 to {LONGEST} bytes")));
        }
        match regex::Regex::new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => {
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or("").trim_start_matches("error: ");
                Err(Fault::new(format!("{text:?} is not a regular expression: {reason}")))
            }
        }
    }
}

/// One line of any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line(String);

impl Line {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Text for Line {
    const KIND: &'static str = "text";
    const EXAMPLE: &'static str = "shop";
    const PATTERN: &'static str = "^.*$";

    fn read(text: &str) -> Result<Self, Fault> {
        match text.len() > LONGEST {
            true => Err(Fault::new(format!("a text has at most {LONGEST} bytes"))),
            false => Ok(Self(text.to_owned())),
        }
    }
}
