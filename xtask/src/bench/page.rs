//! Shows a report: on the terminal, in `target/bench/report.json`, in `docs/PERFORMANCE.md`.

use std::process::Command;

use serde_json::json;

use super::report::{Report, Value};
use super::role::Role;
use super::section::{self, Section};
use super::targets;
use crate::failure::{Doing, Failure};
use crate::{program, workspace};

/// Prints the report and writes it to its file, and to the page if asked.
pub(super) fn show(report: &Report, write: bool, command: &str) -> Result<(), Failure> {
    let about = About::gather(command)?;
    let mut sections = Vec::new();
    for role in Role::ALL {
        if report.cases().any(|case| case.role() == role) {
            let section = about.section(role, report)?;
            println!("\n{}", section.text());
            sections.push(section);
        }
    }
    let folder = workspace::target().join("bench");
    std::fs::create_dir_all(&folder).doing(format!("making {}", folder.display()))?;
    let file = folder.join("report.json");
    let json = json!({ "about": about.json(), "rows": report.rows() });
    std::fs::write(&file, format!("{json:#}\n")).doing(format!("writing {}", file.display()))?;
    println!("bench: wrote {}", file.display());
    if write { write_page(sections) } else { Ok(()) }
}

/// One round in one line.
pub(super) fn line(values: &[Value]) -> String {
    let parts = values.iter().map(|value| {
        let Value { metric, unit, number } = value;
        format!("{metric} {number:.2} {unit}")
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn write_page(sections: Vec<Section>) -> Result<(), Failure> {
    let file = workspace::root().join("docs/PERFORMANCE.md");
    let mut page = std::fs::read_to_string(&file).doing(format!("reading {}", file.display()))?;
    for section in sections {
        page = section::put(&page, section).doing("docs/PERFORMANCE.md")?;
    }
    std::fs::write(&file, page).doing(format!("writing {}", file.display()))
}

/// Where the numbers come from.
struct About {
    commit: String,
    date: String,
    machine: String,
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
            command: command.to_owned(),
        })
    }

    fn section(&self, role: Role, report: &Report) -> Result<Section, Failure> {
        let Self { commit, date, machine, command } = self;
        let rows = report.cells(role).into_iter();
        Ok(Section {
            role,
            about: format!(
                "Last run: `{command}` on {machine}.\nPeers: {}.",
                role.peers()?.join("; ")
            ),
            rows: rows.map(|row| format!("{row} {date}, {commit} |")).collect(),
            verdicts: targets::judge(report, role),
        })
    }

    fn json(&self) -> serde_json::Value {
        let Self { commit, date, machine, command } = self;
        json!({ "commit": commit, "date": date, "machine": machine, "command": command })
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
