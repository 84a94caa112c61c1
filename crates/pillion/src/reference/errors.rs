//! The reference page of the reasons.

use pillion_model::{Reason, Side};

use super::cell;

const INTRODUCTION: &str = "\
# Reasons

When Pillion itself answers or ends an exchange, it says why with one word: the *reason*. The same
word stands in the response header `proxy-status` (RFC 9209), in the field `reason` of the access
log, and in the label `reason` of the metric `pillion_requests_total`. A response without a reason
came from the app or the upstream as it is.

| reason | side | status | `proxy-status` error | meaning |
| --- | --- | --- | --- | --- |
";

/// The page, in Markdown.
pub(super) fn page() -> String {
    let rows = Reason::ALL.iter().map(|reason| {
        let facts = reason.facts();
        let side = match facts.side {
            Side::Downstream => "downstream",
            Side::Upstream => "upstream",
            Side::Local => "local",
        };
        let (label, status, error) = (facts.label, facts.status, facts.error);
        format!("| `{label}` | {side} | {status} | `{error}` | {} |\n", cell(facts.text))
    });
    INTRODUCTION.to_owned() + &rows.collect::<String>() + NOTES
}

const NOTES: &str = "
*Side* is who is at fault: the client (downstream), the endpoint or the way to it (upstream), or the
sidecar itself with its configuration, limits and state (local). Status 499 is logged and counted
only: the client is gone. Once a response head is sent its status stands, and only log and metric
name the reason.
";
