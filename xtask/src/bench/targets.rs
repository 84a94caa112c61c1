//! What is promised, and whether it holds.

use super::case::{self, CASES, Case};
use super::report::Report;
use super::role::Role;
use super::subject::Subject;

/// A promise about one metric of Pillion in one case.
struct Target {
    case: &'static str,
    metric: &'static str,
    bound: Bound,
}

/// What Pillion has to hold.
#[derive(Clone, Copy)]
enum Bound {
    /// This much at most for one of the peer.
    Ratio(f64, Subject),
    /// This much at least for one of the peer.
    Times(f64, Subject),
    /// This much at most, in the unit of the metric.
    Most(f64),
    /// At most this much more than the way without a proxy, in the unit of the metric.
    Added(f64),
}

use Bound::{Added, Most, Ratio, Times};
use Subject::{Envoy, FluentBit, Haproxy, Pillion};

const fn target(case: &'static str, metric: &'static str, bound: Bound) -> Target {
    Target { case, metric, bound }
}

const TARGETS: [Target; 26] = [
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
    target("logs_plain_null", "mb_per_cpu_second", Times(2.0, FluentBit)),
    target("logs_plain_null", "peak_memory", Most(30_720.0)),
    target("logs_cri_json_null", "mb_per_cpu_second", Times(5.0, FluentBit)),
    target("logs_cri_json_null", "peak_memory", Most(30_720.0)),
    target("logs_cri_json_http", "mb_per_cpu_second", Times(5.0, FluentBit)),
    target("logs_cri_json_http", "peak_memory", Most(30_720.0)),
    target("logs_cri_json_http_zstd", "mb_per_cpu_second", Times(5.0, FluentBit)),
    target("logs_cri_json_http_zstd", "peak_memory", Most(30_720.0)),
    target("logs_idle_files", "cpu", Most(0.1)),
    target("logs_idle_files", "memory_at_rest", Most(30_720.0)),
    target("secrets_rest", "memory_at_rest", Most(6144.0)),
    target("secrets_refresh", "p50", Most(1000.0)),
    target("secrets_refresh", "slowest", Most(1000.0)),
];

/// One line of Markdown for each promise about a role that the report can judge.
pub(super) fn judge(report: &Report, role: Role) -> Vec<String> {
    let of_role = |target: &&Target| {
        case::position(target.case).and_then(|position| CASES.get(position)).map(Case::role)
            == Some(role)
    };
    TARGETS.iter().filter(of_role).filter_map(|target| target.judge(report)).collect()
}

impl Target {
    fn judge(&self, report: &Report) -> Option<String> {
        let Self { case, metric, bound } = self;
        let own = || report.median(case, metric, Pillion);
        let (seen, wanted, what) = match *bound {
            Ratio(most, peer) => {
                let seen = report.ratio(case, metric, Pillion, peer)?;
                (seen, most, format!("of {}", peer.name()))
            }
            Times(least, peer) => {
                let seen = report.ratio(case, metric, Pillion, peer)?;
                (seen, least, format!("times {} at least", peer.name()))
            }
            Most(most) => (own()?, most, "at most".to_owned()),
            Added(most) => {
                let direct = report.median(case, metric, Subject::Direct)?;
                (own()? - direct, most, "more than direct".to_owned())
            }
        };
        let miss = match bound {
            Times(..) => 1.0 - seen / wanted,
            Ratio(..) | Most(_) | Added(_) => seen / wanted - 1.0,
        };
        let verdict = if miss <= 0.0 {
            "held".to_owned()
        } else {
            format!("**missed** by {:.0} %", miss * 100.0)
        };
        Some(format!("- {case} {metric}: {seen:.2}, promised {wanted} {what}: {verdict}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Value;
    use super::*;

    #[test]
    fn each_promise_is_held_or_missed_by_a_share() {
        let mut report = Report::default();
        let mut add = |case, subject, metric, number| {
            let case = &CASES[case::position(case).unwrap()];
            report.add(case, subject, &[Value { metric, unit: "", number }]);
        };
        add("h1_small", Pillion, "cpu_per_request", 9.0);
        add("h1_small", Haproxy, "cpu_per_request", 10.0);
        add("start", Pillion, "time_to_ready", 15.0);
        add("h1_paced", Pillion, "p99", 250.0);
        add("h1_paced", Subject::Direct, "p99", 200.0);
        add("logs_plain_null", Pillion, "mb_per_cpu_second", 300.0);
        add("logs_plain_null", FluentBit, "mb_per_cpu_second", 200.0);
        let expected = [
            "- h1_small cpu_per_request: 0.90, promised 0.95 of haproxy: held",
            "- h1_paced p99: 50.00, promised 100 more than direct: held",
            "- start time_to_ready: 15.00, promised 10 at most: **missed** by 50 %",
        ];
        assert_eq!(judge(&report, Role::Proxy), expected);
        let expected = "- logs_plain_null mb_per_cpu_second: 1.50, promised 2 times fluent-bit at \
            least: **missed** by 25 %";
        assert_eq!(judge(&report, Role::Logs), [expected]);
    }

    #[test]
    fn each_promise_is_about_a_case_that_there_is() {
        for target in &TARGETS {
            assert!(case::position(target.case).is_some(), "{}", target.case);
        }
    }
}
