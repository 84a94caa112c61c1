//! What the program says of itself is what it does.

use std::process::Command;

use pillion_testkit::Origin;

use crate::{get, in_front_of};

fn printed(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_pillion")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_reference_names_every_metric_that_is_served() {
    let origin = Origin::saying("hello");
    let pillion = in_front_of(origin.address());
    pillion.connect_inbound().send(get("/")).response();
    pillion.connect_inbound().send("GET / HTTP/1.1\r\n\r\n").response();
    let reference = printed(&["reference", "metrics"]);
    let page = pillion.admin.get("/metrics").1;
    let served = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut count = 0;
    for line in served {
        let (name, kind) = line.split_once(' ').unwrap();
        let row = format!("| `{name}` | {kind} |");
        assert!(reference.contains(&row), "{row} in {reference}");
        count += 1;
    }
    assert!(count > 20, "{count} metrics");
}

#[test]
fn the_reference_names_the_reason_of_an_answer() {
    let origin = Origin::saying("hello");
    let pillion = in_front_of(origin.address());
    let response = pillion.connect_inbound().send("GET / HTTP/1.1\r\n\r\n").response();
    let row = format!("| `{}` | downstream | {} |", response.reason().unwrap(), response.status);
    let reference = printed(&["reference", "errors"]);
    assert!(reference.contains(&row), "{row} in {reference}");
}

#[test]
fn the_reference_names_every_command_and_option_that_help_shows() {
    let reference = printed(&["reference", "cli"]);
    for command in ["run", "proxy", "check", "explain", "schema", "completions"] {
        assert!(reference.contains(&format!("## {command}\n")), "{command} in {reference}");
        let help = printed(&[command, "--help"]);
        for option in help.split_whitespace().filter(|word| word.starts_with("--")) {
            let name = option.trim_matches(|c: char| !c.is_alphanumeric());
            assert!(name == "help" || reference.contains(name), "{command} {option}");
        }
    }
}

#[test]
fn completions_know_the_commands_of_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell]);
        assert!(script.contains("ready-file"), "{shell}");
    }
}
