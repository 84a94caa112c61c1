//! Reading one figure out of a page of metrics.

/// The sum of all samples of `query`, a name with none, some or all of its labels, such as
/// `pillion_requests_total{direction="inbound"}`; 0 when there is none.
pub(crate) fn sum(page: &str, query: &str) -> f64 {
    let (name, wanted) = split(query);
    page.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (known, labels) = split(series);
            let matches = known == name && wanted.iter().all(|label| labels.contains(label));
            matches.then(|| value.parse::<f64>().unwrap())
        })
        .sum()
}

/// Name and labels of `name{label="value",…}`.
fn split(series: &str) -> (&str, Vec<&str>) {
    match series.split_once('{') {
        Some((name, labels)) => {
            let labels = labels.trim_end_matches('}').split("\",");
            (
                name,
                labels.map(|label| label.trim_end_matches('"')).filter(|l| !l.is_empty()).collect(),
            )
        }
        None => (series, Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn samples_are_chosen_by_any_of_their_labels_and_added_up() {
        let page = "# TYPE a counter\n\
                    a_total{x=\"1\",y=\"b c\"} 2\n\
                    a_total{x=\"2\",y=\"b c\"} 3.5\n\
                    ab_total 7\n";
        let cases = [
            ("a_total", 5.5),
            ("a_total{y=\"b c\"}", 5.5),
            ("a_total{x=\"2\"}", 3.5),
            ("a_total{y=\"b c\",x=\"1\"}", 2.0),
            ("a_total{x=\"3\"}", 0.0),
            ("ab_total", 7.0),
            ("b_total", 0.0),
        ];
        for (query, expected) in cases {
            assert_eq!(sum(page, query), expected, "{query}");
        }
    }
}
