//! `pillion`: one program beside any application, for everything that is not business logic.

mod admin;
mod ask;
mod check;
mod cli;
mod failure;
mod heap;
mod logs;
mod metrics;
mod panics;
mod print;
mod proxy;
mod reference;
mod run;
mod secrets;

use std::process::ExitCode;

use clap::Parser as _;
use pillion_model::config::shown;

use crate::cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    heap::give_back_soon();
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => return refused(&error),
    };
    let done = match command {
        Command::Run(arguments) => run::command(arguments),
        Command::Proxy(arguments) => proxy::command(&arguments),
        Command::Secrets(command) => secrets::command(command),
        Command::Check(arguments) => check::check(&arguments),
        Command::Explain(arguments) => check::explain(&arguments),
        Command::Logs(command) => logs::command(command),
        Command::Schema => reference::schema(),
        Command::Completions(arguments) => reference::completions(&arguments),
        Command::Reference(arguments) => reference::command(&arguments),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(),
    }
}

/// Shows help, or what is wrong with the command line: the value as well, which may be a URL with a
/// credential.
fn refused(error: &clap::Error) -> ExitCode {
    let text = error.to_string();
    let shown = shown(&text);
    match shown == text {
        true => error.exit(),
        false => print::error(&shown),
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
