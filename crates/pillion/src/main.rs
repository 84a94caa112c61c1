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

use crate::cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
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
