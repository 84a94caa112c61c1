//! What is wrong with a configuration, said so that the reader can put it right at once.

use std::fmt;

use serde::Serialize;

use super::key::KeyPath;
use super::shown;
use super::text::Fault;
use super::yaml::{Node, Span};

/// More than anyone reads; a file that is no configuration at all breaks a rule on every line.
const MOST: usize = 100;
/// Problems that are kept until they are put in the order of the file.
const KEPT: usize = 10 * MOST;
/// Characters of a source line and of a value that are shown.
const WIDEST: usize = 120;

/// One problem: where it is, what was written, which rule that breaks, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file, as it was named to us.
    pub file: String,
    /// The line, from 1; 0 where the problem has no place in the file.
    pub line: usize,
    /// The column, from 1, in characters; 0 where the problem has no place in the file.
    pub column: usize,
    /// The path of the key, such as `upstreams.payments.endpoints[1]`; empty for the whole file.
    pub key: String,
    /// The value as written, but as it may be [`shown`], if the problem is with one value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The rule that is broken.
    pub rule: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(skip)]
    excerpt: Option<Excerpt>,
}

/// The source line, and how much of it to underline.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    /// The line's text before the mark, the marked text, and what follows it.
    parts: [String; 3],
}

impl Diagnostic {
    /// A problem that has no place in the file.
    pub(super) fn outside(file: &str, key: &str, value: Option<&str>, fault: Fault) -> Self {
        let Fault { rule, hint } = fault;
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            key: printable(key),
            value: value.map(printable),
            rule: printable(&rule),
            hint: hint.as_deref().map(printable),
            excerpt: None,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.rule)?;
        let number = self.line.to_string();
        let margin = " ".repeat(if self.excerpt.is_some() { number.len() } else { 1 });
        if let Some(Excerpt { parts: [before, marked, after] }) = &self.excerpt {
            // Tabs stay tabs, so that the mark stands below what it marks.
            let blank: String =
                before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let carets = "^".repeat(marked.chars().count().max(1));
            write!(f, "\n{margin} |\n{number} | {before}{marked}{after}")?;
            write!(f, "\n{margin} | {blank}{carets}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n{margin} = {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}

/// Collects problems while a file is read.
pub(super) struct Problems<'a> {
    file: &'a str,
    lines: Vec<&'a str>,
    document: Option<&'a Node>,
    list: Vec<Diagnostic>,
    /// Those that were kept and those that were not.
    count: usize,
}

impl<'a> Problems<'a> {
    /// None yet, in this file of this text.
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, lines: text.lines().collect(), document: None, list: Vec::new(), count: 0 }
    }

    /// The document in which [`Problems::at`] looks for keys.
    pub(super) fn look_in(&mut self, document: &'a Node) {
        self.document = Some(document);
    }

    /// A problem at a known place.
    pub(super) fn report(&mut self, span: Span, key: &KeyPath, value: Option<&str>, fault: Fault) {
        self.count += 1;
        if self.is_full() {
            return;
        }
        // A place past the end (a file that stops in the middle) is shown on the last line.
        let line = span.line.clamp(1, self.lines.len().max(1));
        let source = self.lines.get(line - 1).copied().unwrap_or("");
        let length = source.chars().count();
        let column = if span.line > line { length + 1 } else { span.column.clamp(1, length + 1) };
        self.list.push(Diagnostic {
            line,
            column,
            // A mark can stand in the middle of a password: such a line is not shown at all.
            excerpt: (shown(source) == source).then(|| excerpt(source, column, span.width)),
            ..Diagnostic::outside(self.file, &key.to_string(), value, fault)
        });
    }

    /// A problem with the value of a key, or with a key that should be there: the place is that of
    /// the nearest key above it that is.
    pub(super) fn at(&mut self, key: &KeyPath, fault: Fault) {
        let found = self.document.map(|document| document.find(key));
        match found {
            Some((span, value)) => self.report(span, key, value.as_deref(), fault),
            None => {
                self.count += 1;
                let problem = Diagnostic::outside(self.file, &key.to_string(), None, fault);
                self.list.push(problem);
            }
        }
    }

    /// Whether the value of this key, or one below it, has a problem already: what is left of it
    /// may look wrong in ways that its author never wrote.
    pub(super) fn within(&self, key: &KeyPath) -> bool {
        let key = key.to_string();
        self.list.iter().any(|problem| {
            let rest = problem.key.strip_prefix(key.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    /// Whether further problems are only counted, so that a hint for one is wasted work.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= KEPT
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The first of them, in the order of the file.
    pub(super) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.list.sort_by_key(|problem| (problem.line, problem.column));
        if self.count > MOST {
            self.list.truncate(MOST);
            let rule = format!("{} problems, of which these are {MOST}", self.count);
            let fault = Fault::new(rule).hint("is this a Pillion configuration?");
            self.list.push(Diagnostic::outside(self.file, "", None, fault));
        }
        self.list
    }
}

/// Cuts a long line to what stands around the mark.
fn excerpt(source: &str, column: usize, width: usize) -> Excerpt {
    let skip = (column - 1).saturating_sub(WIDEST / 2);
    let take = |from: usize, count: usize| -> String {
        source.chars().skip(from).take(count).map(visible).collect()
    };
    let before = take(skip, column - 1 - skip);
    let room = WIDEST - before.chars().count();
    let marked = take(column - 1, width.min(room)).trim_end().to_owned();
    let marked_width = marked.chars().count();
    let after = take(column - 1 + marked_width, room - marked_width);
    let cut = if skip > 0 { "…" } else { "" };
    Excerpt { parts: [format!("{cut}{before}"), marked, after.trim_end().to_owned()] }
}

/// A text of bounded length that cannot drive a terminal and shows no credential.
fn printable(text: &str) -> String {
    let text = shown(text);
    let mut printable: String = text.chars().take(4 * WIDEST).map(visible).collect();
    if printable.len() < text.len() && text.chars().count() > 4 * WIDEST {
        printable.push('…');
    }
    printable
}

fn visible(c: char) -> char {
    if c.is_control() && c != '\t' { '\u{fffd}' } else { c }
}
