//! `cargo xtask tidy`: the house rules that neither rustfmt nor clippy can check.

mod complaints;
mod crates;
mod source;

use std::path::Path;

use crate::failure::{Doing, Failure};
use crate::{arguments, workspace};

/// Where each direct dependency has its line.
const DEPENDENCIES: &str = "docs/decisions/dependencies.md";
/// Where each complaint has the test that holds it.
const COMPLAINTS: &str = "docs/internals/known-complaints.md";

/// `cargo xtask tidy`.
pub(crate) fn command(arguments: &[String]) -> Result<(), Failure> {
    arguments::only(arguments, &[])?;
    check()?;
    println!("tidy: the house rules hold");
    Ok(())
}

/// Fails with every broken rule at once.
pub(crate) fn check() -> Result<(), Failure> {
    let mut problems = Vec::new();
    for file in workspace::files()? {
        let name = file.display().to_string();
        if file.extension().is_some_and(|extension| extension == "rs") {
            problems.extend(source::problems(&name, &read(&file)?));
        } else if is_our_manifest(&file) {
            problems.extend(crates::problems(&name, &read(&file)?));
        }
    }
    let reasons = read(Path::new(DEPENDENCIES))?;
    for dependency in crates::foreign(&read(Path::new("Cargo.toml"))?) {
        if !reasons.contains(&format!("`{dependency}`")) {
            problems.push(format!("Cargo.toml: {dependency} has no line in {DEPENDENCIES}"));
        }
    }
    let complaints = read(Path::new(COMPLAINTS))?;
    problems
        .extend(complaints::problems(COMPLAINTS, &complaints, |file| read(Path::new(file)).ok()));
    if problems.is_empty() { Ok(()) } else { Err(Failure::new(problems.join("\n"))) }
}

fn is_our_manifest(file: &Path) -> bool {
    file.ends_with("Cargo.toml") && file.starts_with("crates")
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(workspace::root().join(file))
        .doing(format!("reading {}", file.display()))
}
