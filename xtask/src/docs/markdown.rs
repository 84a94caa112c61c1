//! What the checks read from a Markdown file: relative links and examples.

/// The info string that marks an example which Pillion has to accept.
const EXAMPLE: &str = "yaml pillion";

/// A link to a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// The line, from 1.
    pub(super) line: usize,
    /// The path as written, without its anchor.
    pub(super) file: String,
}

/// A fenced block marked as an example.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Example {
    /// The line of its opening fence, from 1.
    pub(super) line: usize,
    /// What is between the fences.
    pub(super) text: String,
}

/// Every inline link that points to a file of the repository.
pub(super) fn links(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    let mut in_fence = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence {
            let files = targets(line).filter_map(relative_file);
            links.extend(files.map(|file| Link { line: number + 1, file: file.to_owned() }));
        }
    }
    links
}

/// The `target` of each `](target)` outside of inline code.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split('`')
        .step_by(2)
        .flat_map(|prose| prose.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
}

fn relative_file(target: &str) -> Option<&str> {
    let file = target.split_once('#').map_or(target, |(file, _anchor)| file);
    let elsewhere = file.is_empty() || file.contains("://") || file.starts_with("mailto:");
    (!elsewhere).then_some(file)
}

/// Every fenced block marked as an example.
pub(super) fn examples(text: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    let mut open: Option<Example> = None;
    for (number, line) in text.lines().enumerate() {
        match &mut open {
            None if line.trim_end().strip_prefix("```") == Some(EXAMPLE) => {
                open = Some(Example { line: number + 1, text: String::new() });
            }
            None => {}
            Some(_) if line.starts_with("```") => examples.extend(open.take()),
            Some(example) => {
                example.text.push_str(line);
                example.text.push('\n');
            }
        }
    }
    examples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_found_outside_of_code() {
        let text = "see [a](docs/a.md#part) and [b](../b.md)\n\
                    [web](https://example.com) [here](#part) [mail](mailto:a@example.com)\n\
                    `[code](no.md)` then [c](c.md)\n\
                    ```\n[fenced](no.md)\n```\n\
                    ![picture](d.svg)\n";
        let found: Vec<_> = links(text).into_iter().map(|link| (link.line, link.file)).collect();
        let expected = [(1, "docs/a.md"), (1, "../b.md"), (3, "c.md"), (7, "d.svg")];
        assert_eq!(found, expected.map(|(line, file)| (line, file.to_owned())));
    }

    #[test]
    fn only_marked_blocks_are_examples() {
        let text = "```yaml\nno: 1\n```\n\n```yaml pillion\na:\n  b: 1\n```\n";
        let expected = Example { line: 5, text: "a:\n  b: 1\n".to_owned() };
        assert_eq!(examples(text), [expected]);
    }
}
