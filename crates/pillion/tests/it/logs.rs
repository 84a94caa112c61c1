//! Logs: the role in the real program, and `pillion logs` as a person calls it.

mod faults;
mod memory;
mod role;
mod secrets;
mod ship;
mod stop;
mod torture;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs `pillion logs …` to its end.
fn logs(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_pillion");
    Command::new(program).arg("logs").args(arguments).output().unwrap()
}

fn ship(arguments: &[&str]) -> Output {
    let words: Vec<&str> = ["ship", "--once"].iter().chain(arguments).copied().collect();
    let output = logs(&words);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
