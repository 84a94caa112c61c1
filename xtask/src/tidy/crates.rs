//! Which crate may use which: dependencies point down, never sideways or up.

/// Our crates by height; a crate may use only what is lower.
const HEIGHTS: [(&str, u8); 9] = [
    ("pillion-model", 0),
    ("pillion-traffic", 1),
    ("pillion-http1", 1),
    ("pillion-runtime", 2),
    ("pillion-client", 2),
    ("pillion-proxy", 3),
    ("pillion-logs", 3),
    ("pillion-secrets", 3),
    ("pillion", 4),
];
/// For tests alone: any crate may use it in `[dev-dependencies]`, none in `[dependencies]`.
const TESTKIT: &str = "pillion-testkit";

/// What is wrong with the manifest `name` that holds `text`.
pub(super) fn problems(name: &str, text: &str) -> Vec<String> {
    let Some(user) = value(text, "package", "name") else {
        return vec![format!("{name}: has no package name")];
    };
    if user == TESTKIT {
        return Vec::new();
    }
    let Some(height) = height(user) else {
        return vec![format!("{name}: give {user} its height in xtask/src/tidy/crates.rs")];
    };
    let ours = keys(text, "dependencies").filter(|used| used.starts_with("pillion"));
    let wrong = ours.filter(|used| self::height(used).is_none_or(|used| used >= height));
    wrong.map(|used| format!("{name}: {user} may not use {used}, which is not below it")).collect()
}

/// The direct dependencies of the workspace that are not ours.
pub(super) fn foreign(manifest: &str) -> Vec<&str> {
    keys(manifest, "workspace.dependencies").filter(|name| !name.starts_with("pillion-")).collect()
}

fn height(name: &str) -> Option<u8> {
    HEIGHTS.iter().find(|(known, _)| *known == name).map(|(_, height)| *height)
}

/// The keys of a TOML table whose entries take one line each, as ours do.
fn keys<'a>(text: &'a str, table: &'a str) -> impl Iterator<Item = &'a str> {
    entries(text, table).map(|(key, _)| key.split('.').next().unwrap_or(key))
}

fn value<'a>(text: &'a str, table: &'a str, key: &str) -> Option<&'a str> {
    entries(text, table).find(|(known, _)| *known == key).map(|(_, value)| value.trim_matches('"'))
}

fn entries<'a>(text: &'a str, table: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    text.lines()
        .skip_while(move |line| {
            line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) != Some(table)
        })
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, uses: &[&str], tests_use: &[&str]) -> String {
        let lines = |names: &[&str]| -> String {
            names.iter().map(|name| format!("{name}.workspace = true\n")).collect()
        };
        format!(
            "[package]\nname = \"{name}\"\n\n[dependencies]\n# why\n{}\n[dev-dependencies]\n{}\n[lints]\nworkspace = true\n",
            lines(uses),
            lines(tests_use)
        )
    }

    #[test]
    fn a_crate_may_use_only_what_is_below_it() {
        let cases: [(&str, &[&str], &[&str], usize); 7] = [
            ("pillion-proxy", &["pillion-model", "pillion-http1", "bytes"], &[], 0),
            ("pillion-proxy", &["pillion"], &[], 1),
            ("pillion-traffic", &["pillion-http1"], &[], 1),
            ("pillion-model", &["pillion-model"], &[], 1),
            ("pillion-proxy", &["pillion-testkit"], &[], 1),
            ("pillion-proxy", &[], &["pillion-testkit", "pillion"], 0),
            ("pillion-unheard-of", &[], &[], 1),
        ];
        for (name, uses, tests_use, expected) in cases {
            let got = problems("Cargo.toml", &manifest(name, uses, tests_use));
            assert_eq!(got.len(), expected, "{name} {uses:?}: {got:?}");
        }
    }

    #[test]
    fn foreign_dependencies_are_those_of_the_workspace() {
        let text = "[workspace]\nmembers = [\"a\"]\n\n[workspace.dependencies]\n\
                    pillion-model = { path = \"crates/model\" }\n# why\nbytes = \"1\"\n\
                    h2 = { version = \"0.4\", features = [\"x\"] }\n\n[profile.dev]\ndebug = 1\n";
        assert_eq!(foreign(text), ["bytes", "h2"]);
    }
}
