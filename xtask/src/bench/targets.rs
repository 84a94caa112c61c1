//! What is promised, and whether it holds.

use super::report::Report;
use super::subject::Subject;

/// A promise about one metric of Pillion in one case.
struct Target {
    case: &'static str,
    metric: &'static str,
    bound: Bound,
}

/// The most that Pillion may take.
#[derive(Clone, Copy)]
enum Bound {
    /// This much for one of the peer.
    Ratio(f64, Subject),
    /// This much, in the unit of the metric.
    Most(f64),
    /// This much more than the way without a proxy, in the unit of the metric.
    Added(f64),
}

use Bound::{Added, Most, Ratio};
use Subject::{Envoy, Haproxy, Pillion};

const fn target(case: &'static str, metric: &'static str, bound: Bound) -> Target {
    Target { case, metric, bound }
}

const TARGETS: [Target; 13] = [
    target("h1_small", "cpu_per_request", Ratio(0.95, Haproxy)),
    target("h1_small", "cpu_per_request", Ratio(0.45, Envoy)),
    target("h1_12_headers", "cpu_per_request", Ratio(0.85, Haproxy)),
    target("h1_64k", "cpu_per_request", Ratio(0.75, Haproxy)),
    target("h1_1m", "cpu_per_request", Ratio(0.75, Haproxy)),
    target("h2_small", "cpu_per_request", Ratio(1.0, Haproxy)),
    target("h2_small", "cpu_per_request", Ratio(0.7, Envoy)),
    target("h2_h2", "cpu_per_request", Ratio(1.0, Haproxy)),
    target("h1_paced", "p99", Added(100.0)),
    target("start", "time_to_ready", Most(10.0)),
    target("start", "memory_at_rest", Most(8192.0)),
    target("idle_connections", "memory_per_connection", Most(2.5)),
    target("spare_upstreams", "memory_per_upstream", Most(2.0)),
];

/// One line of Markdown for each promise that the report can judge.
pub(super) fn judge(report: &Report) -> String {
    TARGETS.iter().filter_map(|target| target.judge(report)).collect()
}

impl Target {
    fn judge(&self, report: &Report) -> Option<String> {
        let Self { case, metric, bound } = self;
        let own = || report.median(case, metric, Pillion);
        let (seen, most, what) = match *bound {
            Ratio(most, peer) => {
                let seen = report.ratio(case, metric, Pillion, peer)?;
                (seen, most, format!("of {}", peer.name()))
            }
            Most(most) => (own()?, most, "at most".to_owned()),
            Added(most) => {
                let direct = report.median(case, metric, Subject::Direct)?;
                (own()? - direct, most, "more than direct".to_owned())
            }
        };
        let verdict = if seen <= most {
            "held".to_owned()
        } else {
            format!("**missed** by {:.0} %", (seen / most - 1.0) * 100.0)
        };
        Some(format!("- {case} {metric}: {seen:.2}, promised {most} {what}: {verdict}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::measure::Value;
    use super::*;

    #[test]
    fn each_promise_is_held_or_missed_by_a_share() {
        let mut report = Report::default();
        let mut add = |case, subject, metric, number| {
            report.add(case, subject, &[Value { metric, unit: "", number }]);
        };
        add("h1_small", Pillion, "cpu_per_request", 9.0);
        add("h1_small", Haproxy, "cpu_per_request", 10.0);
        add("start", Pillion, "time_to_ready", 15.0);
        add("h1_paced", Pillion, "p99", 250.0);
        add("h1_paced", Subject::Direct, "p99", 200.0);
        let expected = "\
            - h1_small cpu_per_request: 0.90, promised 0.95 of haproxy: held\n\
            - h1_paced p99: 50.00, promised 100 more than direct: held\n\
            - start time_to_ready: 15.00, promised 10 at most: **missed** by 50 %\n";
        assert_eq!(judge(&report), expected);
    }
}
