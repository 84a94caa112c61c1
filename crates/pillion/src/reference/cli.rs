//! The reference page of the command line.

use clap::{Arg, Command, CommandFactory as _};

use super::cell;
use crate::cli::Cli;

/// The page, in Markdown.
pub(super) fn page() -> String {
    let mut root = Cli::command();
    root.build();
    let about = root.get_about().map(ToString::to_string).unwrap_or_default();
    let mut page = format!("# Command line\n\n{about}\n");
    sections(&mut page, "", &root);
    page
}

/// A section for each command below this one, and then for those below that.
fn sections(page: &mut String, parents: &str, command: &Command) {
    let shown = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    for command in command.get_subcommands().filter(shown) {
        let name = format!("{parents}{}", command.get_name());
        section(page, &name, command);
        sections(page, &format!("{name} "), command);
    }
}

fn section(page: &mut String, name: &str, command: &Command) {
    let mut command = command.clone();
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    page.push_str(&format!("\n## {name}\n\n{about}.\n\n```text\n{usage}\n```\n"));
    let mut arguments = command.get_arguments().filter(|argument| argument.get_id() != "help");
    if let Some(first) = arguments.next() {
        page.push_str("\n| option | meaning |\n| --- | --- |\n");
        page.extend(std::iter::once(first).chain(arguments).map(row));
    }
    let notes = command.get_after_long_help().or(command.get_after_help());
    if let Some(notes) = notes {
        page.push_str(&format!("\n{notes}\n"));
    }
}

fn row(argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let choices: Vec<String> = argument
        .get_possible_values()
        .iter()
        .map(|choice| format!("`{}`", choice.get_name()))
        .collect();
    let choices = match choices.as_slice() {
        [] => String::new(),
        choices if argument.get_action().takes_values() => format!(": {}", choices.join(", ")),
        _ => String::new(),
    };
    format!("| `{}` | {}{choices} |\n", cell(&argument.to_string()), cell(&help))
}
