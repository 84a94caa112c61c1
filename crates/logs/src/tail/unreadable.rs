//! What is said of a file or a folder that cannot be read.

use std::io;
use std::path::Path;

use pillion_runtime::say;

/// Says so aloud. All of them are tried again when they change, and from time to time.
pub(super) fn say_unreadable(path: &Path, error: &io::Error) {
    say!(
        Warn,
        "cannot read a log file or its folder, and try again",
        path = path.display(),
        error = reason(error)
    );
}

/// What the system says, and what to do about it.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("{error}; let the user that runs Pillion read it, and enter the folders above")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_said_with_who_needs_it() {
        let denied = reason(&io::ErrorKind::PermissionDenied.into());
        assert!(denied.contains("let the user that runs Pillion read it"), "{denied}");
        assert_eq!(reason(&io::Error::other("odd")), "odd");
    }
}
