//! What the page says of one role: a table and what became of the promises. A run of a few cases
//! replaces their lines and leaves those of the others, with the date and commit that they had.

use std::collections::BTreeSet;

use super::case;
use super::role::Role;
use crate::failure::Failure;

/// The lines of one role.
pub(super) struct Section {
    /// The role.
    pub(super) role: Role,
    /// Where and beside whom the last run was.
    pub(super) about: String,
    /// The rows of the table.
    pub(super) rows: Vec<String>,
    /// A line for each promise.
    pub(super) verdicts: Vec<String>,
}

impl Section {
    /// The section as Markdown.
    pub(super) fn text(&self) -> String {
        let Self { role, about, rows, verdicts } = self;
        let mut head = "| case | metric |".to_owned();
        let mut rule = "| --- | --- |".to_owned();
        for subject in role.subjects() {
            head.push_str(&format!(" {} |", subject.name()));
            rule.push_str(" ---: |");
        }
        let lines = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect();
        let (rows, verdicts): (String, String) = (lines(rows), lines(verdicts));
        let fairness = role.fairness();
        format!("{about}\n\n{head} measured |\n{rule} --- |\n{rows}\n{fairness}\n\n{verdicts}")
    }

    /// Takes over the lines of an earlier text whose cases were not measured again.
    fn keep(&mut self, earlier: &str) {
        let measured: BTreeSet<usize> = self.rows.iter().filter_map(|row| case_of(row)).collect();
        let old = |line: &&str| case_of(line).is_some_and(|case| !measured.contains(&case));
        for line in earlier.lines().filter(old) {
            let lines = if line.starts_with('|') { &mut self.rows } else { &mut self.verdicts };
            lines.push(line.to_owned());
        }
        // Stable: the metrics of a case stay in their order.
        self.rows.sort_by_key(|row| case_of(row));
        self.verdicts.sort_by_key(|verdict| case_of(verdict));
    }
}

/// The position of the case that a row or a verdict is about.
fn case_of(line: &str) -> Option<usize> {
    let name = line.strip_prefix("| ").or_else(|| line.strip_prefix("- "))?;
    case::position(name.split(' ').next()?)
}

/// Puts a section between its marks on the page.
pub(super) fn put(page: &str, mut section: Section) -> Result<String, Failure> {
    let (begin, end) = marks(section.role);
    let parts = page.split_once(&begin).and_then(|(before, rest)| {
        let (earlier, after) = rest.split_once(&end)?;
        Some((before, earlier, after))
    });
    let Some((before, earlier, after)) = parts else {
        return Err(Failure::new(format!("it lacks the marks {begin}{end}")));
    };
    section.keep(earlier);
    Ok(format!("{before}{begin}{}{end}{after}", section.text()))
}

fn marks(role: Role) -> (String, String) {
    let name = role.name();
    (format!("<!-- bench {name}: begin -->\n"), format!("<!-- bench {name}: end -->"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(rows: &[&str], verdicts: &[&str]) -> Section {
        let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        let about = "about".to_owned();
        Section { role: Role::Secrets, about, rows: owned(rows), verdicts: owned(verdicts) }
    }

    #[test]
    fn cases_that_were_not_measured_keep_their_lines() {
        let (begin, end) = marks(Role::Secrets);
        let empty = format!("head\n{begin}{end}\ntail\n");
        let all = section(
            &["| secrets_rest | a | 1 |", "| secrets_refresh | b | 1 |", "| secrets_refresh | c |"],
            &["- secrets_rest a: held", "- secrets_refresh b: held"],
        );
        let page = put(&empty, all).unwrap();
        let one = section(&["| secrets_rest | a | 2 |"], &["- secrets_rest a: missed"]);
        let expected = section(
            &["| secrets_rest | a | 2 |", "| secrets_refresh | b | 1 |", "| secrets_refresh | c |"],
            &["- secrets_rest a: missed", "- secrets_refresh b: held"],
        );
        let expected = format!("head\n{begin}{}{end}\ntail\n", expected.text());
        assert_eq!(put(&page, one).unwrap(), expected);
    }

    #[test]
    fn a_page_without_the_marks_is_refused() {
        let message = put("no marks", section(&[], &[])).unwrap_err().to_string();
        assert!(message.contains("bench secrets: begin"), "{message}");
    }
}
