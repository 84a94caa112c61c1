//! `cargo xtask setup`: installs what the tests and the bench need, on a Debian machine.
//!
//! Everything is looked for first, so that a machine that has it all is left alone within
//! milliseconds. What is kept (Python packages, compiled programs) lives in [`workspace::cache`].
//! What there is stands in the tables of `setup/inventory.rs`.

mod cargo;
mod debian;
mod go;
mod inventory;
mod maven;
mod python;
mod recipe;

use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

use crate::failure::{Doing, Failure};
use crate::{arguments, workspace};

/// `cargo xtask setup [--bench]`.
pub(crate) fn command(arguments: &[String]) -> Result<(), Failure> {
    arguments::only(arguments, &["--bench"])?;
    if arguments::has(arguments, "--bench") {
        for_bench()?;
    } else {
        for_tests()?;
    }
    println!("setup: everything is there");
    Ok(())
}

/// Installs what the tests need.
pub(crate) fn for_tests() -> Result<(), Failure> {
    let _alone = alone()?;
    debian::install(&inventory::TEST_PACKAGES)?;
    python::install(&inventory::TEST_PYTHON)?;
    maven::install(&inventory::OPENSEARCH)?;
    go::install(&inventory::GO_PROGRAMS)
}

/// Installs what the bench needs beyond the tests.
pub(crate) fn for_bench() -> Result<(), Failure> {
    for_tests()?;
    let _alone = alone()?;
    debian::install(&inventory::BENCH_PACKAGES)?;
    python::install(&inventory::BENCH_PYTHON)
}

/// The Envoy that the bench compares with, once [`for_bench`] has run.
pub(crate) fn envoy() -> Result<PathBuf, Failure> {
    Ok(inventory::BENCH_PYTHON.folder()?.join("bin/envoy"))
}

/// The OpenBao that keeps secrets, server and agent in one program, once [`for_tests`] has run.
pub(crate) fn openbao() -> Result<PathBuf, Failure> {
    Ok(inventory::TEST_PYTHON.folder()?.join("bin/bao"))
}

/// The pinned cargo-deny; compiled on first use, which takes about two minutes.
pub(crate) fn cargo_deny() -> Result<PathBuf, Failure> {
    cargo::tool("cargo-deny", "0.20.2")
}

/// The pinned cargo-fuzz; compiled on first use, which takes about a minute.
pub(crate) fn cargo_fuzz() -> Result<PathBuf, Failure> {
    cargo::tool("cargo-fuzz", "0.13.2")
}

/// Waits until no other setup fills the same cache folder; the lock ends with the file.
fn alone() -> Result<File, Failure> {
    let cache = workspace::cache()?;
    std::fs::create_dir_all(&cache).doing(format!("making {}", cache.display()))?;
    let path = cache.join("setup.lock");
    let file = File::create(&path).doing(format!("making {}", path.display()))?;
    if file.try_lock().is_err() {
        println!("setup: waiting for another setup to end");
        file.lock().doing(format!("locking {}", path.display()))?;
    }
    Ok(file)
}

/// Says what is about to be done, does it, and says how long it took.
fn step(what: &str, run: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    println!("setup: {what} …");
    let began = Instant::now();
    run()?;
    println!("setup: {what}: {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}
