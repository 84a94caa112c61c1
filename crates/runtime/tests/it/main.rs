//! Tests of this crate over real sockets, files and processes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "this is how a test fails")]

mod access_log;
mod admin;
mod host;
mod metrics;
mod ports;
mod supervise;

/// The value of a series in the OpenMetrics text.
fn value(registry: &pillion_runtime::metrics::Registry, series: &str) -> Option<f64> {
    let text = registry.render();
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}
