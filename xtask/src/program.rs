//! Other programs: finding them, running them to their end.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::failure::{Doing, Failure};

/// Folders that hold system programs and are often missing from a user's `PATH`.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// Where Debian keeps the versions of PostgreSQL, each with a `bin` folder.
const POSTGRES: &str = "/usr/lib/postgresql";

/// Where a program is, if it is installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let postgres = std::fs::read_dir(POSTGRES).into_iter().flatten().flatten();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .chain(postgres.map(|version| version.path().join("bin")))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Where a program is that the bench needs.
pub(crate) fn installed(name: &str) -> Result<PathBuf, Failure> {
    find(name).ok_or_else(|| {
        Failure::new(format!("{name} is not installed")).fix("cargo xtask setup --bench")
    })
}

/// Runs a command with our own input and output; fails when it does.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let line = line(command);
    let status = command.status().doing(format!("starting `{line}`"))?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("`{line}` failed: {status}"))) }
}

/// Runs a command without input and returns what it wrote to its standard output. When it fails,
/// what it wrote to its standard error is the failure.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let line = line(command);
    let output = command.stdin(Stdio::null()).output().doing(format!("starting `{line}`"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("`{line}` failed: {}\n{}", output.status, said.trim_end())))
}

/// A command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}
