//! Debian packages.

use std::process::Command;

use super::step;
use crate::failure::Failure;
use crate::program;

/// Installs Debian packages without starting the services that they bring.
const INSTALL_PACKAGES: &str = include_str!("install-packages.sh");

/// A program, and the Debian package that brings it.
pub(super) struct Tool {
    pub(super) program: &'static str,
    pub(super) package: &'static str,
}

/// Installs the packages of the tools that are not there.
pub(super) fn install(tools: &[Tool]) -> Result<(), Failure> {
    let missing = tools.iter().filter(|tool| program::find(tool.program).is_none());
    let mut packages: Vec<&str> = missing.map(|tool| tool.package).collect();
    if !has_venv() {
        packages.push("python3-venv");
    }
    if packages.is_empty() {
        return Ok(());
    }
    step(&format!("installing {} with apt-get", packages.join(", ")), || {
        let mut install = as_root(&packages)?;
        program::run(&mut install).map_err(|failure| failure.fix(by_hand(&packages)))
    })
}

/// Whether Python can make a virtual environment with pip in it.
fn has_venv() -> bool {
    program::output(Command::new("python3").args(["-c", "import ensurepip, venv"])).is_ok()
}

fn as_root(packages: &[&str]) -> Result<Command, Failure> {
    if program::find("apt-get").is_none() {
        return Err(Failure::new("apt-get is not here, so nothing can be installed")
            .fix(format!("install what these Debian packages bring: {}", packages.join(" "))));
    }
    let mut command = if nix::unistd::geteuid().is_root() {
        Command::new("sh")
    } else if program::find("sudo").is_some() {
        let mut sudo = Command::new("sudo");
        sudo.arg("sh");
        sudo
    } else {
        return Err(Failure::new("installing packages needs root, and there is no sudo")
            .fix(by_hand(packages)));
    };
    command.args(["-c", INSTALL_PACKAGES, "install-packages"]).args(packages);
    Ok(command)
}

fn by_hand(packages: &[&str]) -> String {
    format!(
        "as root: apt-get update && apt-get install --no-install-recommends {}",
        packages.join(" ")
    )
}
