//! `cargo xtask torture`: the logs role between writers that rotate, sinks that fail and kills, with
//! an optimised build.

use std::process::Command;

use crate::failure::Failure;
use crate::{program, workspace};

/// Builds the program and what tortures it, and starts that with these arguments.
pub(crate) fn command(arguments: &[String]) -> Result<(), Failure> {
    let pillion = workspace::pillion("quick")?;
    let torture = workspace::build("pillion-testkit", "quick")?.with_file_name("torture");
    program::run(Command::new(torture).arg(pillion).args(arguments))
}
