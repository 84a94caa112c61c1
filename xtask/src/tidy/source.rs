//! Rules for one Rust file.

/// Longest file, in lines.
const LONGEST: usize = 1000;
/// File names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 10] =
    ["utils", "util", "helpers", "helper", "common", "misc", "types", "manager", "managers", "mod"];

/// What is wrong with the file `name` that holds `text`.
pub(super) fn problems(name: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if !text.starts_with("//! ") {
        problems.push(format!("{name}:1: does not open with a `//!` sentence that says its job"));
    }
    let lines = text.lines().count();
    if lines > LONGEST {
        problems.push(format!(
            "{name}: {lines} lines, {LONGEST} at most: split it where the interface is narrow"
        ));
    }
    let stem = name.rsplit('/').next().unwrap_or(name).trim_end_matches(".rs");
    if EMPTY_NAMES.contains(&stem) {
        problems.push(format!("{name}: the name says nothing: use the noun of what is inside"));
    }
    let ignored = concat!("#[", "ignore");
    for (number, _) in text.lines().enumerate().filter(|(_, line)| line.contains(ignored)) {
        problems.push(format!("{name}:{}: an ignored test proves nothing", number + 1));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_names_the_file_and_what_to_do() {
        let long = format!("//! Job.\n{}", "\n".repeat(1000));
        let ignored = concat!("//! Job.\n#[test]\n#[", "ignore]\nfn a() {}\n");
        let cases: [(&str, &str, &[&str]); 7] = [
            ("src/breaker.rs", "//! Job.\n", &[]),
            ("src/breaker.rs", "fn a() {}\n", &["src/breaker.rs:1: does not open"]),
            ("src/breaker.rs", "", &["src/breaker.rs:1: does not open"]),
            ("src/breaker.rs", &long, &["src/breaker.rs: 1001 lines"]),
            ("src/proxy/mod.rs", "//! Job.\n", &["src/proxy/mod.rs: the name says nothing"]),
            ("src/utils.rs", "//! Job.\n", &["src/utils.rs: the name says nothing"]),
            ("src/breaker.rs", ignored, &["src/breaker.rs:3: an ignored test"]),
        ];
        for (name, text, expected) in cases {
            let got = problems(name, text);
            assert_eq!(got.len(), expected.len(), "{name}: {got:?}");
            for (got, expected) in got.iter().zip(expected) {
                assert!(got.starts_with(expected), "{got}");
            }
        }
    }
}
