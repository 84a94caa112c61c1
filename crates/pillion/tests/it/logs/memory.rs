//! How much memory the role takes.

use std::fs;

use pillion_testkit::{Gate, Origin, eventually, peak_memory_kib};

use super::text;
use crate::pillion;

/// What the role may take beside its budget: code that was not used before, which is much in a debug
/// build, and what the allocator keeps for a moment. Copies of what waits would be more.
const BESIDE_THE_BUDGET: f64 = (20 << 20) as f64;

#[test]
fn a_sink_that_takes_nothing_for_a_while_costs_no_more_memory_than_the_budget() {
    const LINES: u64 = 25_000;
    let taking = Gate::new();
    let gate = taking.clone();
    let server = Origin::start(move |mut conn| {
        while conn.request().is_some() {
            gate.wait();
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let builder = pillion();
    let log = builder.folder().join("app.log");
    let config = format!(
        "logs:\n  sources: {{app: {{files: \"{}\"}}}}\n  \
         sinks: {{web: {{to: \"http://{}\", compress: none}}}}\n",
        text(&log),
        server.address()
    );
    let pillion = builder.config(config).start();
    let before = peak_memory_kib(pillion.pid());
    // More than twice the budget.
    fs::write(&log, format!("{}\n", "a line ".repeat(143)).repeat(LINES as usize)).unwrap();
    let limit = pillion.metric("pillion_logs_memory_limit_bytes");
    eventually("the budget is used up", || pillion.metric("pillion_logs_memory_bytes") >= limit);
    taking.open();
    pillion.wait_for_metric("pillion_logs_delivered_total{sink=\"web\"}", LINES as f64);
    let growth = (peak_memory_kib(pillion.pid()).saturating_sub(before)) as f64 * 1024.0;
    let most = limit + BESIDE_THE_BUDGET;
    assert!(growth < most, "memory grew by {growth} bytes over {before} KiB, at most {most}");
}
