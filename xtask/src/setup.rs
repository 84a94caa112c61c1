//! `cargo xtask setup`: installs what the tests and the bench need, on a Debian machine.
//!
//! Everything is looked for first, so that a machine that has it all is left alone within
//! milliseconds. What is kept (Python packages, cargo tools) lives in [`workspace::cache`].

use std::path::PathBuf;
use std::process::Command;

use crate::failure::{Doing, Failure};
use crate::program;
use crate::{arguments, workspace};

/// Installs Debian packages without starting the services that they bring.
const INSTALL_PACKAGES: &str = include_str!("setup/install-packages.sh");

/// A program, and the Debian package that brings it.
struct Tool {
    program: &'static str,
    package: &'static str,
}

const TEST_TOOLS: [Tool; 8] = [
    Tool { program: "curl", package: "curl" },
    Tool { program: "haproxy", package: "haproxy" },
    Tool { program: "ip", package: "iproute2" },
    Tool { program: "nghttp", package: "nghttp2-client" },
    Tool { program: "nginx", package: "nginx-light" },
    Tool { program: "promtool", package: "prometheus" },
    Tool { program: "ps", package: "procps" },
    Tool { program: "python3", package: "python3" },
];

const BENCH_TOOLS: [Tool; 1] = [Tool { program: "wrk", package: "wrk" }];

/// A set of Python packages in a virtual environment of its own.
struct PythonSet {
    name: &'static str,
    requirements: &'static str,
}

const TEST_PYTHON: PythonSet =
    PythonSet { name: "test", requirements: include_str!("../python/test.txt") };
const BENCH_PYTHON: PythonSet =
    PythonSet { name: "bench", requirements: include_str!("../python/bench.txt") };

/// `cargo xtask setup [--bench]`.
pub(crate) fn command(arguments: &[String]) -> Result<(), Failure> {
    arguments::only(arguments, &["--bench"])?;
    for_tests()?;
    if arguments::has(arguments, "--bench") {
        for_bench()?;
    }
    println!("setup: everything is there");
    Ok(())
}

/// Installs what the tests need.
pub(crate) fn for_tests() -> Result<(), Failure> {
    install_packages(&TEST_TOOLS, &TEST_PYTHON)?;
    install_python(&TEST_PYTHON)
}

/// Installs what the bench needs beyond the tests.
pub(crate) fn for_bench() -> Result<(), Failure> {
    for_tests()?;
    install_packages(&BENCH_TOOLS, &BENCH_PYTHON)?;
    install_python(&BENCH_PYTHON)
}

/// The Envoy that the bench compares with, once [`for_bench`] has run.
pub(crate) fn envoy() -> Result<PathBuf, Failure> {
    Ok(BENCH_PYTHON.folder()?.join("bin/envoy"))
}

/// The pinned cargo-deny; compiled on first use, which takes about two minutes.
pub(crate) fn cargo_deny() -> Result<PathBuf, Failure> {
    cargo_tool("cargo-deny", "0.20.2")
}

/// The pinned cargo-fuzz; compiled on first use, which takes about a minute.
pub(crate) fn cargo_fuzz() -> Result<PathBuf, Failure> {
    cargo_tool("cargo-fuzz", "0.13.2")
}

/// Compiles a program from the registry, once, into a folder of its own.
fn cargo_tool(name: &str, version: &str) -> Result<PathBuf, Failure> {
    let folder = workspace::cache()?.join(format!("{name}-{version}"));
    let file = folder.join("bin").join(name);
    if !file.is_file() {
        println!("setup: compiling {name} {version}, a minute or two, once");
        let build = folder.join("build");
        let mut install = workspace::cargo();
        install.args(["install", "--quiet", "--locked", name, "--version", version]);
        // What is compiled on the way is of no use to the workspace.
        install.arg("--root").arg(&folder).env("CARGO_TARGET_DIR", &build);
        program::run(&mut install)?;
        std::fs::remove_dir_all(&build).doing(format!("removing {}", build.display()))?;
    }
    Ok(file)
}

fn install_packages(tools: &[Tool], python: &PythonSet) -> Result<(), Failure> {
    let mut missing: Vec<&str> = tools
        .iter()
        .filter(|tool| program::find(tool.program).is_none())
        .map(|tool| tool.package)
        .collect();
    if !python.is_installed()? && !has_venv() {
        missing.push("python3-venv");
    }
    if missing.is_empty() {
        return Ok(());
    }
    println!("setup: installing {} with apt-get", missing.join(", "));
    let mut install = as_root(&missing)?;
    program::run(&mut install).map_err(|failure| failure.fix(by_hand(&missing)))
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

impl PythonSet {
    fn folder(&self) -> Result<PathBuf, Failure> {
        Ok(workspace::cache()?.join("python").join(self.name))
    }

    /// Written last, with the requirements that were met.
    fn stamp(&self) -> Result<PathBuf, Failure> {
        Ok(self.folder()?.join("requirements.txt"))
    }

    fn is_installed(&self) -> Result<bool, Failure> {
        let met = std::fs::read_to_string(self.stamp()?);
        Ok(met.is_ok_and(|met| met == self.requirements))
    }
}

fn install_python(set: &PythonSet) -> Result<(), Failure> {
    if set.is_installed()? {
        return Ok(());
    }
    let folder = set.folder()?;
    println!("setup: installing Python packages into {}", folder.display());
    program::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let wanted = folder.join("wanted.txt");
    std::fs::write(&wanted, set.requirements).doing(format!("writing {}", wanted.display()))?;
    program::run(
        Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(&wanted),
    )?;
    std::fs::rename(&wanted, set.stamp()?).doing("noting what was installed")
}
