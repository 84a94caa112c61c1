//! The project's own commands: `cargo xtask COMMAND`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

mod arguments;
mod bench;
mod child;
mod ci;
mod demo;
mod docs;
mod failure;
mod http;
mod interop;
mod program;
mod setup;
mod suite;
mod tidy;
mod workspace;

use std::process::ExitCode;

use failure::Failure;

const HELP: &str = "\
The project's own commands.

  cargo xtask setup [--bench]     install what the tests (and the bench) need
  cargo xtask test                set up, build, run every test
  cargo xtask ci                  everything that a change has to pass
  cargo xtask tidy                the house rules that no compiler checks
  cargo xtask docs [--check]      write (or compare) the generated reference, check links
  cargo xtask interop             what a real Fluent Bit reads of Pillion, line by line
  cargo xtask demo                Pillion beside an unmodified app, on free ports
  cargo xtask bench [--quick] [--case NAME]... [--rounds N] [--write]
                                  Pillion and its peers side by side; --help lists the cases
";

fn main() -> ExitCode {
    match command(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn command(arguments: Vec<String>) -> Result<(), Failure> {
    let mut arguments = arguments.into_iter();
    let name = arguments.next().unwrap_or_else(|| "help".to_owned());
    let rest: Vec<String> = arguments.collect();
    match name.as_str() {
        "setup" => setup::command(&rest),
        "test" => suite::command(&rest),
        "ci" => ci::command(&rest),
        "tidy" => tidy::command(&rest),
        "docs" => docs::command(&rest),
        "interop" => interop::command(&rest),
        "demo" => demo::command(&rest),
        "bench" => bench::command(&rest),
        // Hidden: the bench starts it as the floor that no proxy can go below.
        "relay" => bench::relay(&rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(Failure::new(format!("there is no command `{other}`"))
            .fix("cargo xtask help lists the commands")),
    }
}
