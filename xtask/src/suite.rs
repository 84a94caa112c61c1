//! `cargo xtask test`: sets up what the tests need, builds, runs every test, sums them up.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;

use crate::failure::{Doing, Failure};
use crate::{arguments, setup, workspace};

/// What the test programs said about themselves.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// `cargo xtask test`.
pub(crate) fn command(arguments: &[String]) -> Result<(), Failure> {
    arguments::only(arguments, &[])?;
    let started = Instant::now();
    setup::for_tests()?;
    // The tests start the program itself.
    workspace::pillion("dev")?;
    let (tally, succeeded) = run_tests()?;
    let seconds = started.elapsed().as_secs();
    let Tally { passed, failed, ignored } = tally;
    if !succeeded || failed > 0 || ignored > 0 {
        return Err(Failure::new(format!(
            "tests: {passed} passed, {failed} failed, {ignored} ignored, in {seconds} s"
        ))
        .fix("the output above names each one; an ignored test counts as failed"));
    }
    println!("tests: {passed} passed, 0 failed, in {seconds} s");
    Ok(())
}

/// Runs all tests, passing on what they say; also returns whether cargo was content.
fn run_tests() -> Result<(Tally, bool), Failure> {
    let mut command = workspace::cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    command.env("CARGO_TERM_COLOR", "never");
    let mut child = command.stdout(Stdio::piped()).spawn().doing("starting cargo test")?;
    let mut tally = Tally::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.doing("reading what cargo test says")?;
            println!("{line}");
            tally.add(&line);
        }
    }
    let status = child.wait().doing("waiting for cargo test")?;
    Ok((tally, status.success()))
}

impl Tally {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        let words: Vec<&str> =
            counts.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let [count, word] = pair else { continue };
            let Ok(count) = count.parse::<u64>() else { continue };
            match *word {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_programs_are_added_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 0.01s",
            "test result: FAILED. 1 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1s",
            "test prints_test_result ... ok",
        ] {
            tally.add(line);
        }
        assert_eq!(tally, Tally { passed: 4, failed: 2, ignored: 1 });
    }
}
