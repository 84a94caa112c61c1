//! `cargo xtask docs [--check]`: reference pages that the program itself writes, and checks that
//! keep the hand-written ones true.

mod markdown;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Doing, Failure};
use crate::{arguments, program, workspace};

/// A generated file below `docs/reference/`, and the arguments that make Pillion print it.
struct Page {
    file: &'static str,
    arguments: &'static [&'static str],
}

const PAGES: [Page; 5] = [
    Page { file: "configuration.md", arguments: &["reference", "config"] },
    Page { file: "metrics.md", arguments: &["reference", "metrics"] },
    Page { file: "errors.md", arguments: &["reference", "errors"] },
    Page { file: "cli.md", arguments: &["reference", "cli"] },
    Page { file: "pillion.schema.json", arguments: &["schema"] },
];

/// `cargo xtask docs [--check]`.
pub(crate) fn command(arguments: &[String]) -> Result<(), Failure> {
    arguments::only(arguments, &["--check"])?;
    if arguments::has(arguments, "--check") {
        return check();
    }
    let pillion = workspace::pillion("dev")?;
    let folder = reference();
    std::fs::create_dir_all(&folder).doing(format!("making {}", folder.display()))?;
    for page in PAGES {
        let file = folder.join(page.file);
        std::fs::write(&file, page.print(&pillion)?)
            .doing(format!("writing {}", file.display()))?;
    }
    println!("docs: wrote {} files to docs/reference", PAGES.len());
    check_by_hand(&pillion)
}

/// Fails on a generated page that is old, a link that leads nowhere, and an example that Pillion
/// would refuse.
pub(crate) fn check() -> Result<(), Failure> {
    let pillion = workspace::pillion("dev")?;
    for page in PAGES {
        let file = reference().join(page.file);
        if std::fs::read_to_string(&file).ok() != Some(page.print(&pillion)?) {
            let what = format!("docs/reference/{} is not what Pillion prints now", page.file);
            return Err(Failure::new(what).fix("cargo xtask docs, then commit the difference"));
        }
    }
    check_by_hand(&pillion)
}

fn reference() -> PathBuf {
    workspace::root().join("docs/reference")
}

impl Page {
    fn print(&self, pillion: &Path) -> Result<String, Failure> {
        program::output(Command::new(pillion).args(self.arguments))
    }
}

/// Checks what people wrote: links and examples in every Markdown file, and the files in
/// `examples/`.
fn check_by_hand(pillion: &Path) -> Result<(), Failure> {
    let mut problems = Vec::new();
    for file in workspace::files()? {
        let extension = file.extension().unwrap_or_default();
        if extension == "md" {
            problems.extend(check_markdown(pillion, &file)?);
        } else if file.starts_with("examples") && extension == "yaml" {
            problems.extend(refused(
                pillion,
                &workspace::root().join(&file),
                &file.display().to_string(),
            ));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::new(problems.join("\n"))) }
}

fn check_markdown(pillion: &Path, file: &Path) -> Result<Vec<String>, Failure> {
    let path = workspace::root().join(file);
    let text = std::fs::read_to_string(&path).doing(format!("reading {}", file.display()))?;
    let folder = path.parent().unwrap_or(&path);
    let mut problems: Vec<String> = markdown::links(&text)
        .into_iter()
        .filter(|link| !folder.join(&link.file).exists())
        .map(|link| {
            format!("{}:{}: the link leads nowhere: {}", file.display(), link.line, link.file)
        })
        .collect();
    for (number, example) in markdown::examples(&text).into_iter().enumerate() {
        let scratch = workspace::target().join(format!("example-{number}.yaml"));
        std::fs::write(&scratch, &example.text).doing(format!("writing {}", scratch.display()))?;
        let place = format!("{}:{}", file.display(), example.line);
        problems.extend(refused(pillion, &scratch, &place));
        std::fs::remove_file(&scratch).doing(format!("removing {}", scratch.display()))?;
    }
    Ok(problems)
}

/// Why Pillion refuses a configuration file, if it does.
fn refused(pillion: &Path, file: &Path, place: &str) -> Option<String> {
    let checked = program::output(Command::new(pillion).arg("check").arg(file));
    checked.err().map(|failure| format!("{place}: the example is refused: {failure}"))
}
