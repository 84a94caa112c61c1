//! Writing what a command was asked for to standard output, and why it failed to standard error.

use std::io::{self, Write as _};

/// Writes a whole text to standard output. A reader that has seen enough (`| head`) is content.
///
/// # Errors
/// Standard output is full.
pub(crate) fn output(text: &str) -> io::Result<()> {
    match write(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()
}

/// Writes a text to standard error.
pub(crate) fn error(text: &str) {
    // Nowhere is left to say that standard error is closed.
    drop(writeln!(io::stderr().lock(), "{}", text.trim_end()));
}
