//! Cargo's own tools, compiled from the registry.

use std::path::PathBuf;

use super::step;
use crate::failure::{Doing, Failure};
use crate::{program, workspace};

/// Compiles a program from the registry, once, into a folder of its own.
pub(super) fn tool(name: &str, version: &str) -> Result<PathBuf, Failure> {
    let folder = workspace::cache()?.join(format!("{name}-{version}"));
    let file = folder.join("bin").join(name);
    if file.is_file() {
        return Ok(file);
    }
    step(&format!("compiling {name} {version}, a minute or two, once"), || {
        let build = folder.join("build");
        let mut install = workspace::cargo();
        install.args(["install", "--quiet", "--locked", name, "--version", version]);
        // What is compiled on the way is of no use to the workspace.
        install.arg("--root").arg(&folder).env("CARGO_TARGET_DIR", &build);
        program::run(&mut install)?;
        std::fs::remove_dir_all(&build).doing(format!("removing {}", build.display()))
    })?;
    Ok(file)
}
