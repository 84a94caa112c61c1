//! `cargo xtask bench`: Pillion and its peers, one after another on the same core, in turns.

mod case;
mod logs;
mod openbao;
mod page;
mod proxy;
mod report;
mod role;
mod secrets;
mod section;
mod stand;
mod subject;
mod targets;
mod template;
mod usage;

use std::os::unix::process::CommandExt;
use std::process::Command;

use case::{CASES, Case, Work};
use logs::FluentBit;
use proxy::ProxyWork;
pub(crate) use proxy::relay::command as relay;
use report::{Report, Value};
use stand::Stand;
use subject::Subject;

use crate::failure::{Doing, Failure};
use crate::{program, setup, workspace};

/// Rounds of a case in which a start is the measurement: quick to repeat, and noisy.
const START_ROUNDS: u32 = 11;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    rounds: u32,
    /// How long each load lasts.
    seconds: u32,
    /// Names of the cases; empty: all.
    cases: Vec<String>,
    /// Whether the table goes into docs/PERFORMANCE.md.
    write: bool,
}

/// `cargo xtask bench [--quick] [--case NAME]… [--rounds N] [--write]`.
pub(crate) fn command(arguments: &[String]) -> Result<(), Failure> {
    if arguments.iter().any(|argument| argument == "--help") {
        print!("{}", help());
        return Ok(());
    }
    let options = Options::parse(arguments)?;
    if cfg!(debug_assertions) {
        return again_optimised(arguments);
    }
    let absent = absent(&options)?;
    setup::for_bench()?;
    let stand = Stand::new()?;
    let (report, failures) = run(&stand, &options, &absent);
    drop(stand);
    page::show(&report, options.write, &program_line(arguments))?;
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("without a number, see above for why: {}", failures.join(", "))))
}

/// The load generator and the relay have to be optimised: builds this program anew and becomes it.
fn again_optimised(arguments: &[String]) -> Result<(), Failure> {
    println!("bench: building, optimised");
    let xtask = workspace::build("xtask", "quick")?;
    let error = Command::new(&xtask).arg("bench").args(arguments).exec();
    Err(Failure::new(format!("starting {}: {error}", xtask.display())))
}

/// Runs every case that was asked for. A subject that fails leaves its case; the others go on.
fn run(stand: &Stand, options: &Options, absent: &[Subject]) -> (Report, Vec<String>) {
    let mut report = Report::default();
    let mut failures = Vec::new();
    for case in CASES.iter().filter(|case| options.takes(case)) {
        println!("bench: {}: {}", case.name, case.about);
        let mut subjects = case.subjects.to_vec();
        subjects.retain(|subject| !absent.contains(subject));
        for round in 0..options.rounds_of(case) {
            let mut failed = Vec::new();
            for subject in &subjects {
                match measure(stand, *subject, case.work, options.seconds) {
                    Ok(values) => {
                        println!(
                            "  {:>2} {:17} {}",
                            round + 1,
                            subject.name(),
                            page::line(&values)
                        );
                        report.add(case, *subject, &values);
                    }
                    Err(failure) => {
                        println!("  {:>2} {:17} {failure}", round + 1, subject.name());
                        failures.push(format!("{} in {}", subject.name(), case.name));
                        failed.push(*subject);
                    }
                }
            }
            subjects.retain(|subject| !failed.contains(subject));
            // Another one begins the next round, so that none always runs on a rested machine.
            if !subjects.is_empty() {
                subjects.rotate_left(1);
            }
        }
    }
    (report, failures)
}

/// Who cannot take part, because this machine does not have it and setup does not bring it.
fn absent(options: &Options) -> Result<Vec<Subject>, Failure> {
    let takes_part = |case: &Case| case.subjects.contains(&Subject::FluentBit);
    let is_wanted = CASES.iter().any(|case| options.takes(case) && takes_part(case));
    if !is_wanted || FluentBit::find()?.is_some() {
        return Ok(Vec::new());
    }
    println!(
        "bench: there is no Fluent Bit, its column stays empty; set FLUENT_BIT to its program, or \
         have `fluent-bit` in PATH"
    );
    Ok(vec![Subject::FluentBit])
}

/// Measures one round; `seconds` is how long a load lasts, and scales what is shipped.
fn measure(
    stand: &Stand,
    subject: Subject,
    work: Work,
    seconds: u32,
) -> Result<Vec<Value>, Failure> {
    match work {
        Work::Proxy(work) => proxy::round(stand, subject, work, seconds),
        Work::Logs(work) => logs::round(stand, subject, work, seconds),
        Work::Secrets(work) => secrets::round(stand, subject, work, seconds),
    }
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut options = Self { rounds: 5, seconds: 4, cases: Vec::new(), write: false };
        let mut rounds = None;
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments.next().ok_or_else(|| Failure::new(format!("{argument} needs a value")))
            };
            match argument.as_str() {
                "--quick" => (options.rounds, options.seconds) = (3, 1),
                "--write" => options.write = true,
                "--rounds" => rounds = Some(value()?.parse().doing("--rounds")?),
                "--case" => options.cases.push(known_case(value()?)?),
                other => {
                    return Err(Failure::new(format!("unknown argument `{other}`\n{}", help())));
                }
            }
        }
        options.rounds = rounds.unwrap_or(options.rounds);
        Ok(options)
    }

    fn takes(&self, case: &Case) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|name| name == case.name)
    }

    fn rounds_of(&self, case: &Case) -> u32 {
        match case.work {
            Work::Proxy(ProxyWork::Start) => self.rounds.max(START_ROUNDS),
            _ => self.rounds,
        }
    }
}

fn known_case(name: &str) -> Result<String, Failure> {
    if CASES.iter().any(|case| case.name == name) {
        return Ok(name.to_owned());
    }
    Err(Failure::new(format!("there is no case `{name}`\n{}", help())))
}

fn help() -> String {
    let mut help = "cargo xtask bench [--quick] [--case NAME]... [--rounds N] [--write]\n\
        --quick: 3 rounds of 1 s instead of 5 of 4 s, 64 MiB of logs instead of 256; --write: the \
        tables go into docs/PERFORMANCE.md, where cases that were not run keep their lines\n"
        .to_owned();
    for case in CASES {
        help.push_str(&format!("  {:23} {}\n", case.name, case.about));
    }
    help
}

fn program_line(arguments: &[String]) -> String {
    program::line(Command::new("cargo").args(["xtask", "bench"]).args(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, Failure> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn rounds_win_over_quick_in_any_order() {
        for line in ["--quick --rounds 7 --case start", "--rounds 7 --case start --quick"] {
            let cases = vec!["start".to_owned()];
            let expected = Options { rounds: 7, seconds: 1, cases, write: false };
            assert_eq!(parse(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for line in ["--case nothing", "--case", "--rounds many", "--fast"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
