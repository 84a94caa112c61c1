//! Where things are: the repository, what cargo built, what setup keeps.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Doing, Failure};
use crate::program;

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// Where setup keeps what is slow to obtain: outside `target/`, so that `cargo clean` spares it.
/// `PILLION_CACHE`, else `~/.cache/pillion`.
pub(crate) fn cache() -> Result<PathBuf, Failure> {
    if let Some(folder) = std::env::var_os("PILLION_CACHE") {
        return Ok(PathBuf::from(folder));
    }
    match std::env::var_os("HOME") {
        Some(home) => Ok(PathBuf::from(home).join(".cache/pillion")),
        None => Err(Failure::new("neither PILLION_CACHE nor HOME is set")
            .fix("set PILLION_CACHE to a folder that may be written")),
    }
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Builds Pillion with a cargo profile and returns the path of the program.
pub(crate) fn pillion(profile: &str) -> Result<PathBuf, Failure> {
    build("pillion", profile)
}

/// Builds the program of one package with a cargo profile and returns its path.
pub(crate) fn build(package: &str, profile: &str) -> Result<PathBuf, Failure> {
    program::run(cargo().args(["build", "--quiet", "--package", package, "--profile", profile]))?;
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(target().join(folder).join(package))
}

/// Every file below the root that git tracks or would track, relative to the root.
pub(crate) fn files() -> Result<Vec<PathBuf>, Failure> {
    let listed = program::output(Command::new("git").current_dir(root()).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))
    .doing("listing the files of the repository")?;
    let files = listed.lines().map(PathBuf::from);
    Ok(files.filter(|file| root().join(file).is_file()).collect())
}
