//! From the values of single rounds to medians, ratios, a table and a file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::measure::Value;
use super::subject::Subject;

/// All values of a run: by case and metric (in the order of arrival), then by subject, then by
/// round.
#[derive(Default)]
pub(super) struct Report {
    series: Vec<Series>,
}

/// One metric of one case.
struct Series {
    case: &'static str,
    metric: &'static str,
    unit: &'static str,
    /// Values by round; a subject that failed has fewer of them, or none.
    rounds: BTreeMap<Subject, Vec<f64>>,
}

impl Report {
    /// Adds what one round gave.
    pub(super) fn add(&mut self, case: &'static str, subject: Subject, values: &[Value]) {
        for value in values {
            let known = |series: &Series| series.case == case && series.metric == value.metric;
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
        self.series.iter().find(|series| series.case == case && series.metric == metric)
    }

    /// A Markdown table: a line for each metric, a column for each subject; in brackets what
    /// Pillion takes for one of the peer.
    pub(super) fn table(&self) -> String {
        let mut table = String::from("| case | metric |");
        for subject in Subject::ALL {
            write!(table, " {} |", subject.name()).ok();
        }
        table.push_str("\n| --- | --- |");
        table.push_str(&" ---: |".repeat(Subject::ALL.len()));
        table.push('\n');
        for series in &self.series {
            write!(table, "| {} | {}, {} |", series.case, series.metric, series.unit).ok();
            for subject in Subject::ALL {
                write!(table, " {} |", series.cell(subject)).ok();
            }
            table.push('\n');
        }
        table
    }

    /// One row for each median, for machines.
    pub(super) fn rows(&self) -> Json {
        let rows = self.series.iter().flat_map(|series| {
            series.rounds.keys().filter_map(|subject| {
                let mut row = json!({
                    "case": series.case,
                    "subject": subject.name(),
                    "metric": series.metric,
                    "value": series.median(*subject)?,
                    "unit": series.unit,
                });
                for peer in Subject::ALL {
                    if let Some(ratio) = series.ratio(*subject, peer).filter(|_| peer != *subject) {
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
    use super::*;

    fn report(rounds: &[(Subject, f64)]) -> Report {
        let mut report = Report::default();
        for (subject, number) in rounds {
            report.add("h1", *subject, &[Value { metric: "cpu", unit: "us", number: *number }]);
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
        assert_eq!(report.ratio("h1", "cpu", Pillion, Haproxy), Some(0.8));
        assert_eq!(report.median("h1", "cpu", Pillion), Some(9.0));
        assert_eq!(report.median("h1", "none", Pillion), None);
        let row = "| h1 | cpu, us | 9.00 | 10.0 (0.80) | – | – | – | – | – |";
        assert!(report.table().lines().any(|line| line == row), "{}", report.table());
        assert_eq!(report.rows()[0]["ratio_to_haproxy"], 0.8);
    }
}
