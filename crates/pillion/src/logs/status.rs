//! `pillion logs status`: where each file and sink of a running Pillion stands, and why.

use std::fmt::Write as _;

use serde_json::Value;

use crate::ask;
use crate::cli::LogsStatusArguments;
use crate::failure::Failure;
use crate::print;

/// Asks, and prints.
///
/// # Errors
/// Nobody answers.
pub(super) fn command(arguments: &LogsStatusArguments) -> Result<u8, Failure> {
    let status: Value = ask::admin(&arguments.admin, "/logs")?;
    let text = if arguments.json { format!("{status:#}") } else { page(&status) };
    print::output(&text)
        .map_err(|error| Failure::doing("cannot write to standard output", &error))?;
    Ok(0)
}

fn page(status: &Value) -> String {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    if list(&status["sources"]).is_empty() {
        return "no logs role: the configuration has no source".to_owned();
    }
    let mut text = String::new();
    for source in list(&status["sources"]) {
        source_lines(&source, &mut text);
    }
    for sink in list(&status["sinks"]) {
        sink_lines(&sink, &mut text);
    }
    if number(&status["lost"]) > 0 {
        writeln!(text, "lost at a reload: up to {} records", number(&status["lost"])).ok();
    }
    let memory = (number(&status["memory_used"]), number(&status["memory_limit"]));
    writeln!(text, "memory: {} of {} bytes", memory.0, memory.1).ok();
    text
}

fn source_lines(source: &Value, text: &mut String) {
    writeln!(
        text,
        "source {}: {} records of {} bytes; behind by {} bytes",
        word(&source["name"]),
        number(&source["records"]),
        number(&source["bytes"]),
        number(&source["lag_bytes"]),
    )
    .ok();
    for (key, what) in [
        ("dropped", "left out by a step"),
        ("truncated", "cut"),
        ("unparsed", "not of the declared format"),
        ("redacted", "redacted"),
        ("repaired", "not text everywhere: U+FFFD stands for the rest"),
        ("cut_bytes", "bytes cut from lines that were too long"),
        ("nul_bytes", "NUL bytes left out"),
        ("lost_bytes", "bytes lost before they could be read"),
        ("refused", "dropped as they came, for want of room"),
        ("kernel_dropped", "datagrams dropped by the kernel, not read in time"),
        ("unshown_bytes", "bytes of the app's output not shown, because nobody took them"),
    ] {
        if number(&source[key]) > 0 {
            writeln!(text, "  {} {what}", number(&source[key])).ok();
        }
    }
    for (index, step) in source["steps"].as_array().into_iter().flatten().enumerate() {
        let (word, records) = (word(&step["step"]), number(&step["records"]));
        writeln!(text, "  steps[{index}] {word}: {records} records").ok();
    }
    for file in source["files"].as_array().into_iter().flatten() {
        writeln!(
            text,
            "  {:10} {:>12} of {:>12} read, {:>12} delivered  {}{}",
            word(&file["state"]),
            number(&file["read"]),
            number(&file["size"]),
            number(&file["delivered"]),
            word(&file["path"]),
            file["reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default(),
        )
        .ok();
    }
    if number(&source["other_files"]) > 0 {
        writeln!(text, "  and {} files more", number(&source["other_files"])).ok();
    }
}

fn sink_lines(sink: &Value, text: &mut String) {
    writeln!(
        text,
        "sink {}: {} of {} records delivered, {} wait, {} on disk; {:.1} s behind{}",
        word(&sink["name"]),
        number(&sink["delivered"]),
        number(&sink["records"]),
        number(&sink["waiting"]),
        number(&sink["on_disk"]),
        sink["lag_s"].as_f64().unwrap_or(0.0),
        if sink["circuit"] == "closed" { "" } else { "; left alone for a while" },
    )
    .ok();
    for (key, what) in [
        ("rejected", "refused by the sink: see the dead letters"),
        ("dropped", "dropped for want of room"),
    ] {
        if number(&sink[key]) > 0 {
            writeln!(text, "  {} {what}", number(&sink[key])).ok();
        }
    }
    for key in ["last_error", "disk_error"] {
        if let Some(error) = sink[key].as_str() {
            let error: String = error.chars().filter(|c| !c.is_control()).collect();
            writeln!(text, "  {error}").ok();
        }
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}
