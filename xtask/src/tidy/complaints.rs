//! The page of known complaints: each test that it names exists.

/// What is wrong with the page `name` that holds `text`; `read` gives a file of the repository.
pub(super) fn problems(
    name: &str,
    text: &str,
    read: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate() {
        // Every second piece stands between backticks.
        for test in line.split('`').skip(1).step_by(2).filter(|word| word.contains("::")) {
            if !exists(test, &read) {
                let number = number + 1;
                problems.push(format!(
                    "{name}:{number}: {test} does not exist: name the test that holds it"
                ));
            }
        }
    }
    problems
}

/// Whether there is such a test: `CRATE::MODULES::FUNCTION`, where a module `tests` may stand in the
/// file of its parent, and `it` is the folder of integration tests.
fn exists(test: &str, read: impl Fn(&str) -> Option<String>) -> bool {
    let Some((path, function)) = test.rsplit_once("::") else { return false };
    let Some((package, modules)) = path.split_once("::") else { return false };
    let modules = modules.replace("::", "/");
    let folder = if modules.starts_with("it/") { "tests" } else { "src" };
    let parent = modules.strip_suffix("/tests");
    let files = [Some(modules.as_str()), parent].into_iter().flatten();
    let declaration = format!("fn {function}(");
    files
        .filter_map(|file| read(&format!("crates/{package}/{folder}/{file}.rs")))
        .any(|text| text.contains(&declaration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_does_not_exist_is_named_with_its_line() {
        let read = |file: &str| match file {
            "crates/logs/src/lines/tests.rs" => Some("fn long_lines() {}"),
            "crates/logs/src/budget.rs" => Some("mod tests { async fn the_limit() {} }"),
            "crates/pillion/tests/it/run.rs" => Some("fn it_ends() {}"),
            _ => None,
        };
        let read = |file: &str| read(file).map(str::to_owned);
        for (text, expected) in [
            ("`logs::lines::tests::long_lines`", 0),
            ("`logs::budget::tests::the_limit`, `pillion::it::run::it_ends`", 0),
            ("`subPath` and fn::missing", 0),
            ("`logs::lines::tests::long`", 1),
            ("`logs::lines::long_lines`<br>`logs::it::run::it_ends`", 2),
            ("`missing::it_ends`", 1),
        ] {
            let found = problems("page.md", &format!("\n{text}"), read);
            assert_eq!(found.len(), expected, "{text}: {found:?}");
            assert!(found.iter().all(|problem| problem.starts_with("page.md:2: ")), "{found:?}");
        }
    }
}
