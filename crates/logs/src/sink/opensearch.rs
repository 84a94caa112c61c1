//! `_bulk` of OpenSearch and Elasticsearch, with an eye on the answer for each record.

use pillion_model::logs::HttpOutput;
use serde::Deserialize;

use super::http::{Message, Server, judge};
use super::{Cause, Load, Mixed, SinkError, Trouble, Verdict};

/// Only what is looked at is asked for: the whole answer is larger than the request.
const PATH: &str = "/_bulk?filter_path=errors,items.*.status,items.*.error.type,\
                    items.*.error.reason,items.*.error.caused_by.reason";

/// A cluster. Records have ids of their own and are only ever created, so that sending one twice
/// leaves one.
#[derive(Debug)]
pub(super) struct OpenSearch {
    server: Server,
}

#[derive(Deserialize)]
struct Answer {
    errors: bool,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    error: Option<ItemError>,
}

#[derive(Deserialize)]
struct ItemError {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    reason: String,
    caused_by: Option<CausedBy>,
}

#[derive(Deserialize)]
struct CausedBy {
    #[serde(default)]
    reason: String,
}

impl OpenSearch {
    pub(super) fn new(output: &HttpOutput) -> Result<Self, SinkError> {
        Ok(Self { server: Server::new(output, &output.url)? })
    }

    pub(super) async fn send(&self, load: Load<'_>) -> Verdict {
        let body = [load.shared()];
        let content_type = "application/x-ndjson";
        let message = Message { path: PATH, content_type, body: &body, header: None };
        match self.server.post(&message).await {
            // Half a request may be refused without harm to the other.
            Ok(answer) => {
                judge(&answer, Verdict::Halve).unwrap_or_else(|| items(answer.body(), load.len()))
            }
            Err(trouble) => Verdict::Retry(trouble),
        }
    }
}

/// What the answer says of each record.
fn items(body: &[u8], records: usize) -> Verdict {
    let garbled = |why: String| Verdict::Retry(Trouble::new(Cause::Garbled, why));
    let answer: Answer = match serde_json::from_slice(body) {
        Ok(answer) => answer,
        Err(error) => return garbled(format!("the answer to _bulk is not valid: {error}")),
    };
    if answer.items.len() != records {
        let items = answer.items.len();
        return garbled(format!("_bulk answered for {items} records, {records} were sent"));
    }
    let mut mixed = Mixed::default();
    for (record, Item { create }) in answer.items.into_iter().enumerate() {
        match fate(create.status) {
            Fate::Arrived => {}
            Fate::Again(cause) => {
                mixed.retry.push(record);
                mixed.trouble.get_or_insert_with(|| Trouble::new(cause, reason(&create)));
            }
            Fate::Refused => mixed.refused.push((record, reason(&create))),
        }
    }
    match answer.errors || mixed != Mixed::default() {
        true => Verdict::Mixed(mixed),
        false => Verdict::Delivered,
    }
}

enum Fate {
    Arrived,
    Again(Cause),
    Refused,
}

fn fate(status: u16) -> Fate {
    match status {
        // 409: a record with this id is there, so it arrived before.
        200..=299 | 409 => Fate::Arrived,
        401 | 403 => Fate::Again(Cause::Credentials),
        408 | 504 => Fate::Again(Cause::Timeout),
        429 | 503 => Fate::Again(Cause::Busy),
        500..=599 => Fate::Again(Cause::Server),
        _ => Fate::Refused,
    }
}

fn reason(outcome: &Outcome) -> String {
    let Some(error) = &outcome.error else { return format!("status {}", outcome.status) };
    let mut text = format!("status {}, {}: {}", outcome.status, error.kind, error.reason);
    if let Some(cause) = &error.caused_by {
        text.push_str(": ");
        text.push_str(&cause.reason);
    }
    super::excerpt(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(statuses: &[u16]) -> String {
        let item = |status: &u16| {
            let error = match status {
                200..=299 => String::new(),
                _ => r#","error":{"type":"kind","reason":"why","caused_by":{"reason":"deeper"}}"#
                    .to_owned(),
            };
            format!(r#"{{"create":{{"status":{status}{error}}}}}"#)
        };
        let errors = statuses.iter().any(|status| *status > 299);
        let items: Vec<_> = statuses.iter().map(item).collect();
        format!(r#"{{"errors":{errors},"items":[{}]}}"#, items.join(","))
    }

    #[test]
    fn each_record_has_the_fate_that_its_item_says() {
        let why = |status| format!("status {status}, kind: why: deeper");
        assert_eq!(items(answer(&[201, 200]).as_bytes(), 2), Verdict::Delivered);
        let mixed = Mixed {
            retry: vec![1, 3, 5],
            trouble: Some(Trouble::new(Cause::Busy, why(429))),
            refused: vec![(2, why(400)), (6, why(404))],
        };
        let statuses = [201, 429, 400, 503, 409, 500, 404];
        assert_eq!(items(answer(&statuses).as_bytes(), 7), Verdict::Mixed(mixed));
    }

    #[test]
    fn what_was_delivered_before_is_delivered() {
        assert_eq!(items(answer(&[409]).as_bytes(), 1), Verdict::Mixed(Mixed::default()));
    }

    #[test]
    fn an_answer_that_is_cut_off_or_for_other_records_proves_nothing() {
        let whole = answer(&[201, 201]);
        for (body, records) in [
            (&whole[..], 3),
            (&whole[..], 1),
            ("", 1),
            ("{}", 1),
            ("<html>", 1),
            ("{\"errors\":false}", 1),
        ] {
            let Verdict::Retry(trouble) = items(body.as_bytes(), records) else { panic!("{body}") };
            assert_eq!(trouble.cause, Cause::Garbled);
        }
        for cut in 0..whole.len() {
            assert!(matches!(items(&whole.as_bytes()[..cut], 2), Verdict::Retry(_)), "{cut}");
        }
    }
}
