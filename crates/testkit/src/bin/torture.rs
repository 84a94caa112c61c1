//! The torture of the logs role from the command line: `cargo xtask torture` builds and starts it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

use std::process::ExitCode;
use std::time::Duration;

use pillion_testkit::Torture;

const USAGE: &str = "torture PROGRAM [--seed N] [--lines N] [--writers N] [--seconds N]";

fn main() -> ExitCode {
    let Some(torture) = torture(std::env::args().skip(1)) else {
        eprintln!("usage: {USAGE}");
        return ExitCode::from(2);
    };
    println!(
        "torture: seed {}, {} lines, {} writers",
        torture.seed, torture.lines, torture.writers
    );
    let report = torture.run();
    println!("{report}");
    let broken = report.broken();
    for promise in &broken {
        eprintln!("torture: broken: {promise}");
    }
    if broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("torture: the last that Pillion said:\n{}", report.said);
    ExitCode::FAILURE
}

/// What the arguments ask for; `None` where they cannot be understood.
fn torture(mut arguments: impl Iterator<Item = String>) -> Option<Torture> {
    let mut torture = Torture {
        program: arguments.next()?.into(),
        seed: 1,
        lines: 5_000_000,
        writers: 20,
        writing: Duration::from_secs(180),
        rotation: Duration::from_secs(1),
        life: Duration::from_secs(4),
    };
    while let Some(name) = arguments.next() {
        let number: u64 = arguments.next()?.parse().ok()?;
        match name.as_str() {
            "--seed" => torture.seed = number,
            "--lines" => torture.lines = number,
            "--writers" if (1..=100).contains(&number) => torture.writers = number,
            "--seconds" if number > 0 => torture.writing = Duration::from_secs(number),
            _ => return None,
        }
    }
    Some(torture)
}
