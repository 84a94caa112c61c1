//! The names that users give to routes and upstreams.

use std::fmt;

use super::{Fault, Text};

const LONGEST: usize = 64;

/// A name: letters, digits, `-`, `_` and `.`, beginning with a letter or digit, 64 bytes at most.
/// It appears in metrics and logs as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Text for Name {
    const KIND: &'static str = "name";
    const EXAMPLE: &'static str = "payments";
    const PATTERN: &'static str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";

    fn read(text: &str) -> Result<Self, Fault> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if text.is_empty() {
            return Err(Fault::new("a name is not empty"));
        }
        if text.len() > LONGEST {
            return Err(Fault::new(format!("a name has at most {LONGEST} characters")));
        }
        match text.chars().find(|c| !allowed(*c)) {
            Some(c) => Err(Fault::new(format!("{text:?} is not a name: it contains {c:?}"))
                .hint("a name has letters, digits, '-', '_' and '.'")),
            None if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) => Err(Fault::new(
                format!("{text:?} is not a name: it does not begin with a letter or a digit"),
            )),
            None => Ok(Self(text.to_owned())),
        }
    }
}
