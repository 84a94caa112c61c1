//! An error together with what caused it, for messages.

use std::error::Error;
use std::fmt;

/// Shows an error with its causes, each said once.
#[derive(Debug)]
pub struct Causes<'a>(pub &'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("cannot keep positions")]
        Hidden(#[source] io::Error),
        #[error("cannot keep positions: {0}")]
        Said(#[source] io::Error),
        #[error(transparent)]
        Through(#[from] io::Error),
    }

    #[test]
    fn every_cause_is_said_once() {
        let full = || io::Error::other("the disk is full");
        for (error, expected) in [
            (Outer::Hidden(full()), "cannot keep positions: the disk is full"),
            (Outer::Said(full()), "cannot keep positions: the disk is full"),
            (Outer::Through(full()), "the disk is full"),
            (
                Outer::Hidden(io::Error::other(Outer::Hidden(full()))),
                "cannot keep positions: cannot keep positions: the disk is full",
            ),
        ] {
            assert_eq!(Causes(&error).to_string(), expected);
        }
    }
}
