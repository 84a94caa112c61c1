//! Shows a report: on the terminal, in `target/bench/report.json`, in `docs/PERFORMANCE.md`.

use std::process::Command;

use serde_json::json;

use super::measure::Value;
use super::report::Report;
use super::{subject, targets};
use crate::failure::{Doing, Failure};
use crate::{program, setup, workspace};

const BEGIN: &str = "<!-- bench: begin -->\n";
const END: &str = "<!-- bench: end -->";
const FAIRNESS: &str = "\
Each subject ran alone on one core; load generator and origin shared the other. The subjects took \
turns, in another order each round. Numbers are medians over the rounds; in brackets, the median of \
what Pillion took for one of the peer within the same round. CPU time is that of all threads and \
child processes of the subject. `haproxy` and `relay` do nothing but forward; the configurations are \
in `bench/`.";

/// Prints the report and writes it to its file, and to the page if asked.
pub(super) fn show(report: &Report, write: bool, command: &str) -> Result<(), Failure> {
    let about = About::gather(command)?;
    let text =
        format!("{}\n{}\n{}\n\n{}", about.text(), report.table(), FAIRNESS, targets::judge(report));
    println!("\n{text}");
    let folder = workspace::target().join("bench");
    std::fs::create_dir_all(&folder).doing(format!("making {}", folder.display()))?;
    let file = folder.join("report.json");
    let json = json!({ "about": about.json(), "rows": report.rows() });
    std::fs::write(&file, format!("{json:#}\n")).doing(format!("writing {}", file.display()))?;
    println!("bench: wrote {}", file.display());
    if write { write_page(&text) } else { Ok(()) }
}

/// One round in one line.
pub(super) fn line(values: &[Value]) -> String {
    let parts = values.iter().map(|value| {
        let Value { metric, unit, number } = value;
        format!("{metric} {number:.2} {unit}")
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn write_page(text: &str) -> Result<(), Failure> {
    let file = workspace::root().join("docs/PERFORMANCE.md");
    let page = std::fs::read_to_string(&file).doing(format!("reading {}", file.display()))?;
    let page = replace(&page, text)
        .ok_or_else(|| Failure::new(format!("docs/PERFORMANCE.md lacks {BEGIN}{END}")))?;
    std::fs::write(&file, page).doing(format!("writing {}", file.display()))
}

/// Replaces what is between the two marks.
fn replace(page: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{text}{END}{after}"))
}

/// Where the numbers come from.
struct About {
    commit: String,
    date: String,
    machine: String,
    peers: Vec<String>,
    command: String,
}

impl About {
    fn gather(command: &str) -> Result<Self, Failure> {
        let git = |arguments: &[&str]| {
            program::output(Command::new("git").current_dir(workspace::root()).args(arguments))
        };
        let mut commit = git(&["rev-parse", "--short=12", "HEAD"])?.trim().to_owned();
        if !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty() {
            commit.push_str(" with changes");
        }
        Ok(Self {
            commit,
            date: program::output(Command::new("date").args(["-u", "+%F"]))?.trim().to_owned(),
            machine: machine(),
            peers: peers()?,
            command: command.to_owned(),
        })
    }

    fn text(&self) -> String {
        let Self { commit, date, machine, peers, command } = self;
        format!(
            "{date}, commit {commit}, `{command}`, on {machine}.\nPeers: {}.\n",
            peers.join("; ")
        )
    }

    fn json(&self) -> serde_json::Value {
        let Self { commit, date, machine, peers, command } = self;
        json!({ "commit": commit, "date": date, "machine": machine, "peers": peers, "command": command })
    }
}

fn machine() -> String {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("an unknown CPU", |line| line.trim_start_matches([' ', '\t', ':']));
    let count = cpu.lines().filter(|line| line.starts_with("processor")).count();
    format!("{model}, {count} cores, Linux {}", read("/proc/sys/kernel/osrelease").trim())
}

/// The first line of what each peer says of its version.
fn peers() -> Result<Vec<String>, Failure> {
    let ask = |program: &std::path::Path, flag: &str| {
        let output = Command::new(program).arg(flag).output();
        let output = output.doing(format!("starting {}", program.display()))?;
        // nginx answers on its standard error.
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let first = said.lines().map(str::trim).find(|line| !line.is_empty());
        Ok::<_, Failure>(first.unwrap_or_default().trim_start_matches("nginx version: ").to_owned())
    };
    let envoy = ask(&setup::envoy()?, "--version")?;
    // The path of the program comes before its version.
    let envoy = envoy.rsplit_once("version:").map_or(envoy.as_str(), |(_, version)| version);
    let haproxy = ask(&subject::installed("haproxy")?, "-v")?;
    let haproxy = haproxy.split(" - ").next().unwrap_or_default().to_owned();
    Ok(vec![haproxy, ask(&subject::installed("nginx")?, "-v")?, format!("Envoy {}", envoy.trim())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = format!("head\n{BEGIN}old\n{END}\ntail\n");
        let expected = format!("head\n{BEGIN}new\n{END}\ntail\n");
        assert_eq!(replace(&page, "new\n"), Some(expected));
        assert_eq!(replace("no marks", "new\n"), None);
    }
}
