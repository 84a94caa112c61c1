//! Programs for Java, as the jars that they consist of.

use std::process::Command;

use super::recipe::Recipe;
use super::step;
use crate::failure::{Doing, Failure};
use crate::{program, workspace};

/// The jars that a Maven project depends on.
pub(super) struct Jars {
    pub(super) name: &'static str,
    /// The text of its `pom.xml`, with a version for everything.
    pub(super) project: &'static str,
}

/// Puts the jars into `NAME/lib` of the cache folder, unless they are there.
pub(super) fn install(jars: &Jars) -> Result<(), Failure> {
    let recipe = Recipe::new(workspace::cache()?.join(jars.name), jars.project.to_owned());
    if recipe.is_done() {
        return Ok(());
    }
    step(&format!("downloading the jars of {}", jars.name), || {
        recipe.make(|| {
            let project = recipe.folder().join("pom.xml");
            std::fs::write(&project, jars.project)
                .doing(format!("writing {}", project.display()))?;
            let mut maven = Command::new("mvn");
            maven.args(["--batch-mode", "--quiet", "-Dstyle.color=never", "--file"]).arg(&project);
            maven.args(["dependency:copy-dependencies", "-DoutputDirectory=lib"]);
            program::run(&mut maven)
        })
    })
}
