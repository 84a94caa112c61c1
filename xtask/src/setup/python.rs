//! Python packages, and what comes as one.

use std::path::PathBuf;
use std::process::Command;

use super::recipe::Recipe;
use super::step;
use crate::failure::{Doing, Failure};
use crate::{program, workspace};

/// A set of Python packages in a virtual environment of its own.
pub(super) struct Set {
    pub(super) name: &'static str,
    pub(super) requirements: &'static str,
}

impl Set {
    /// The virtual environment.
    pub(super) fn folder(&self) -> Result<PathBuf, Failure> {
        Ok(workspace::cache()?.join("python").join(self.name))
    }
}

/// Installs a set, unless it is there.
pub(super) fn install(set: &Set) -> Result<(), Failure> {
    let recipe = Recipe::new(set.folder()?, set.requirements.to_owned());
    if recipe.is_done() {
        return Ok(());
    }
    step(&format!("installing the Python packages `{}`", set.name), || {
        recipe.make(|| {
            let folder = recipe.folder();
            program::run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
            let wanted = folder.join("requirements.txt");
            std::fs::write(&wanted, set.requirements)
                .doing(format!("writing {}", wanted.display()))?;
            program::run(
                Command::new(folder.join("bin/pip"))
                    .args(["install", "--quiet", "--disable-pip-version-check", "--requirement"])
                    .arg(&wanted),
            )
        })
    })
}
