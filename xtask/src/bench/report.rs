//! From the values of single rounds to medians, ratios, a table and a file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::case::Case;
use super::role::Role;
use super::subject::Subject;

/// One number with its name and unit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    /// What it is.
    pub(super) metric: &'static str,
    /// How it is counted.
    pub(super) unit: &'static str,
    /// The number.
    pub(super) number: f64,
}

/// One number with its name and unit.
pub(super) const fn value(metric: &'static str, unit: &'static str, number: f64) -> Value {
    Value { metric, unit, number }
}

/// All values of a run: by case and metric (in the order of arrival), then by subject, then by
/// round.
#[derive(Default)]
pub(super) struct Report {
    series: Vec<Series>,
}

/// One metric of one case.
struct Series {
    case: &'static Case,
    metric: &'static str,
    unit: &'static str,
    /// Values by round; a subject that failed has fewer of them, or none.
    rounds: BTreeMap<Subject, Vec<f64>>,
}

impl Report {
    /// Adds what one round gave.
    pub(super) fn add(&mut self, case: &'static Case, subject: Subject, values: &[Value]) {
        for value in values {
            let known =
                |series: &Series| series.case.name == case.name && series.metric == value.metric;
            let position = self.series.iter().position(known).unwrap_or_else(|| {
                let Value { metric, unit, .. } = *value;
                self.series.push(Series { case, metric, unit, rounds: BTreeMap::new() });
                self.series.len() - 1
            });
            if let Some(series) = self.series.get_mut(position) {
                series.rounds.entry(subject).or_default().push(value.number);
            }
        }
    }

    /// The median of one metric.
    pub(super) fn median(&self, case: &str, metric: &str, subject: Subject) -> Option<f64> {
        self.find(case, metric)?.median(subject)
    }

    /// The median, over the rounds, of what the first takes for one of the second.
    pub(super) fn ratio(&self, case: &str, metric: &str, of: Subject, to: Subject) -> Option<f64> {
        self.find(case, metric)?.ratio(of, to)
    }

    fn find(&self, case: &str, metric: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.case.name == case && series.metric == metric)
    }

    /// The rows of a role's Markdown table: one for each metric, a cell for each subject; in
    /// brackets what Pillion has for one of the peer.
    pub(super) fn cells(&self, role: Role) -> Vec<String> {
        let series = self.series.iter().filter(|series| series.case.role() == role);
        let rows = series.map(|series| {
            let mut row = format!("| {} | {}, {} |", series.case.name, series.metric, series.unit);
            for subject in role.subjects() {
                write!(row, " {} |", series.cell(*subject)).ok();
            }
            row
        });
        rows.collect()
    }

    /// The names of the cases that have a number.
    pub(super) fn cases(&self) -> impl Iterator<Item = &'static Case> {
        self.series.iter().map(|series| series.case)
    }

    /// One row for each median, for machines.
    pub(super) fn rows(&self) -> Json {
        let rows = self.series.iter().flat_map(|series| {
            series.rounds.keys().filter_map(|subject| {
                let mut row = json!({
                    "case": series.case.name,
                    "subject": subject.name(),
                    "metric": series.metric,
                    "value": series.median(*subject)?,
                    "unit": series.unit,
                });
                for peer in series.rounds.keys().filter(|peer| *peer != subject) {
                    if let Some(ratio) = series.ratio(*subject, *peer) {
                        row[format!("ratio_to_{}", peer.name())] = json!(ratio);
                    }
                }
                Some(row)
            })
        });
        rows.collect()
    }
}

impl Series {
    fn median(&self, subject: Subject) -> Option<f64> {
        median(self.rounds.get(&subject)?.clone())
    }

    fn ratio(&self, of: Subject, to: Subject) -> Option<f64> {
        let pairs = self.rounds.get(&of)?.iter().zip(self.rounds.get(&to)?);
        median(pairs.map(|(of, to)| of / to).filter(|ratio| ratio.is_finite()).collect())
    }

    fn cell(&self, subject: Subject) -> String {
        let Some(median) = self.median(subject) else { return "–".to_owned() };
        let number = short(median);
        match self.ratio(Subject::Pillion, subject) {
            Some(ratio) if subject != Subject::Pillion => format!("{number} ({ratio:.2})"),
            _ => number,
        }
    }
}

/// Three significant digits or so.
fn short(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// The middle value; of an even number, the mean of the middle two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(values.get(values.len() / 2 - 1)?.midpoint(upper))
}

#[cfg(test)]
mod tests {
    use super::super::case::CASES;
    use super::*;

    fn report(rounds: &[(Subject, f64)]) -> Report {
        let mut report = Report::default();
        for (subject, number) in rounds {
            report.add(
                &CASES[0],
                *subject,
                &[Value { metric: "cpu", unit: "us", number: *number }],
            );
        }
        report
    }

    #[test]
    fn medians_are_the_middle() {
        for (values, expected) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![9.0, 1.0, 2.0], Some(2.0)),
            (vec![4.0, 1.0, 2.0, 9.0], Some(3.0)),
        ] {
            assert_eq!(median(values), expected);
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round_before_the_median() {
        use Subject::{Haproxy, Pillion};
        // The machine was twice as slow in the second round.
        let report = report(&[
            (Pillion, 8.0),
            (Haproxy, 10.0),
            (Pillion, 16.0),
            (Haproxy, 20.0),
            (Pillion, 9.0),
            (Haproxy, 10.0),
        ]);
        assert_eq!(report.ratio("h1_small", "cpu", Pillion, Haproxy), Some(0.8));
        assert_eq!(report.median("h1_small", "cpu", Pillion), Some(9.0));
        assert_eq!(report.median("h1_small", "none", Pillion), None);
        let row = "| h1_small | cpu, us | 9.00 | 10.0 (0.80) | – | – | – | – | – |";
        assert_eq!(report.cells(Role::Proxy), [row]);
        assert_eq!(report.cells(Role::Logs), [""; 0]);
        assert_eq!(report.rows()[0]["ratio_to_haproxy"], 0.8);
    }
}
