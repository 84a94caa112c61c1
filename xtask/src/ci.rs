//! `cargo xtask ci`: everything that a change has to pass, quickest first.

use std::process::Command;
use std::time::Instant;

use crate::failure::{Doing, Failure};
use crate::{arguments, docs, program, setup, suite, tidy, workspace};

/// How long each fuzz target runs.
const FUZZ_SECONDS: u32 = 10;

/// One thing that a change has to pass.
struct Step {
    name: &'static str,
    run: fn() -> Result<(), Failure>,
    fix: &'static str,
}

const STEPS: [Step; 8] = [
    Step { name: "fmt", run: fmt, fix: "cargo fmt --all" },
    Step { name: "tidy", run: tidy::check, fix: "docs/STYLE.md explains each rule" },
    Step {
        name: "clippy",
        run: clippy,
        fix: "each warning names its rule; allow none without a reason",
    },
    Step { name: "deny", run: deny, fix: "deny.toml lists what a dependency may be" },
    Step {
        name: "test",
        run: || suite::command(&[]),
        fix: "cargo test -p CRATE NAME repeats one test",
    },
    Step { name: "fuzz", run: fuzz, fix: "fuzz/artifacts holds the input that failed" },
    Step { name: "docs", run: docs::check, fix: "cargo xtask docs" },
    Step { name: "release", run: release, fix: "cargo build --release" },
];

/// `cargo xtask ci`.
pub(crate) fn command(arguments: &[String]) -> Result<(), Failure> {
    arguments::only(arguments, &[])?;
    let started = Instant::now();
    let mut times = Vec::with_capacity(STEPS.len());
    for step in STEPS {
        println!("ci: {} …", step.name);
        let began = Instant::now();
        (step.run)().map_err(|failure| {
            Failure::new(format!("ci: {} failed: {failure}", step.name)).fix(step.fix)
        })?;
        times.push(format!("{} {:.1} s", step.name, began.elapsed().as_secs_f64()));
    }
    println!("ci: passed in {:.0} s ({})", started.elapsed().as_secs_f64(), times.join(", "));
    Ok(())
}

fn fmt() -> Result<(), Failure> {
    program::run(workspace::cargo().args(["fmt", "--all", "--", "--check"]))
}

fn clippy() -> Result<(), Failure> {
    program::run(workspace::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "--deny",
        "warnings",
    ]))
}

/// Licences, duplicates and sources. Advisories need a network that not every machine has:
/// `cargo deny check advisories` is for those that do.
fn deny() -> Result<(), Failure> {
    let mut command = Command::new(setup::cargo_deny()?);
    command.current_dir(workspace::root());
    program::run(command.args(["--log-level", "error", "check", "bans", "licenses", "sources"]))
}

/// A short run of every fuzz target, enough to see that each still builds and finds nothing at
/// once. cargo-fuzz asks for options of the compiler that are not stable yet.
fn fuzz() -> Result<(), Failure> {
    let cargo_fuzz = || {
        let mut command = Command::new(setup::cargo_fuzz()?);
        command.current_dir(workspace::root()).env("RUSTC_BOOTSTRAP", "1").arg("fuzz");
        Ok::<_, Failure>(command)
    };
    let targets = program::output(cargo_fuzz()?.arg("list"))?;
    for target in targets.lines() {
        // What it learns goes into the first folder, which git ignores.
        let corpus = workspace::root().join("fuzz/corpus").join(target);
        std::fs::create_dir_all(&corpus).doing(format!("making {}", corpus.display()))?;
        let seeds = workspace::root().join("fuzz/seeds").join(target);
        let limit = format!("-max_total_time={FUZZ_SECONDS}");
        let mut command = cargo_fuzz()?;
        command.args(["run", target]).args([corpus, seeds]);
        program::run(command.args(["--", "-verbosity=0", &limit]))?;
    }
    Ok(())
}

fn release() -> Result<(), Failure> {
    workspace::pillion("release").map(drop)
}
