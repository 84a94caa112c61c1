//! The reference page of the metrics.

use pillion_runtime::metrics::{Desc, Kind};

use super::cell;

const INTRODUCTION: &str = "\
# Metrics

All of them are served at `/metrics` of the admin interface: as OpenMetrics to a scraper that accepts
it, else as Prometheus text. A metric holds a bounded number of series; what exceeds it shares one
series whose labels are all `overflow`.

| metric | kind | labels | meaning |
| --- | --- | --- | --- |
";

/// The page, in Markdown.
pub(super) fn page() -> String {
    let all = [
        crate::metrics::ALL,
        pillion_proxy::metrics::ALL,
        pillion_logs::status::METRICS,
        pillion_runtime::METRICS,
        pillion_secrets::METRICS,
    ];
    let mut all: Vec<&Desc> = all.into_iter().flatten().copied().collect();
    all.sort_by_key(|desc| desc.name);
    INTRODUCTION.to_owned() + &all.into_iter().map(row).collect::<String>()
}

fn row(desc: &Desc) -> String {
    let (kind, suffix) = match desc.kind {
        Kind::Counter => ("counter", "_total"),
        Kind::Gauge => ("gauge", ""),
        Kind::Histogram(_) => ("histogram", ""),
    };
    let labels: Vec<String> = desc.labels.iter().map(|label| format!("`{label}`")).collect();
    let labels = labels.join(", ");
    format!("| `{}{suffix}` | {kind} | {labels} | {} |\n", desc.name, cell(desc.help))
}
