//! The event collector of Splunk.

use bytes::Bytes;
use http::Response;
use pillion_model::logs::HttpOutput;
use serde::Deserialize;

use super::http::{Message, Server, judge};
use super::{Cause, Load, Mixed, SinkError, Trouble, Verdict};

const PATH: &str = "/services/collector/event";

/// Codes of an answer that are about one event: invalid data format, event field required or
/// blank, error in handling indexed fields.
const OF_AN_EVENT: [u32; 4] = [6, 12, 13, 15];

/// A collector. It has no ids: what is sent twice is there twice.
#[derive(Debug)]
pub(super) struct Splunk {
    server: Server,
}

#[derive(Deserialize)]
struct Answer {
    code: u32,
    #[serde(default)]
    text: String,
    #[serde(rename = "invalid-event-number")]
    event: Option<usize>,
}

impl Splunk {
    pub(super) fn new(output: &HttpOutput) -> Result<Self, SinkError> {
        Ok(Self { server: Server::new(output, &output.url)? })
    }

    pub(super) async fn send(&self, load: Load<'_>) -> Verdict {
        let body = [load.shared()];
        let content_type = "application/json";
        let message = Message { path: PATH, content_type, body: &body, header: None };
        match self.server.post(&message).await {
            Ok(answer) => verdict(&answer, load.len()),
            Err(trouble) => Verdict::Retry(trouble),
        }
    }
}

fn verdict(answer: &Response<Bytes>, records: usize) -> Verdict {
    let said: Option<Answer> = serde_json::from_slice(answer.body()).ok();
    let unfit = |text| match &said {
        Some(said) if OF_AN_EVENT.contains(&said.code) => refused(said, records),
        // The others are about the token, the index or the channel: a person has to see to it.
        Some(_) => Verdict::Retry(Trouble::new(Cause::Address, text)),
        None => Verdict::Refused(text),
    };
    if let Some(verdict) = judge(answer, unfit) {
        return verdict;
    }
    match said {
        Some(Answer { code: 0, .. }) => Verdict::Delivered,
        _ => Verdict::Retry(Trouble::new(
            Cause::Garbled,
            format!("answered what is no answer of a collector: {}", super::excerpt(answer.body())),
        )),
    }
}

/// One event is refused. Whether those before it were taken is not said, so all others are sent
/// again.
fn refused(said: &Answer, records: usize) -> Verdict {
    let reason = format!("code {}: {}", said.code, said.text);
    let Some(event) = said.event.filter(|event| *event < records) else {
        return Verdict::Halve(reason);
    };
    let retry: Vec<usize> = (0..records).filter(|record| *record != event).collect();
    let trouble = (!retry.is_empty())
        .then(|| Trouble::new(Cause::Server, format!("event {event} was refused: {reason}")));
    Verdict::Mixed(Mixed { retry, trouble, refused: vec![(event, reason)] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &'static str, records: usize) -> Verdict {
        let answer = Response::builder().status(status).body(Bytes::from(body)).unwrap();
        verdict(&answer, records)
    }

    #[test]
    fn an_answer_says_what_becomes_of_events() {
        assert_eq!(of(200, r#"{"text":"Success","code":0}"#, 2), Verdict::Delivered);
        let Verdict::Mixed(mixed) =
            of(400, r#"{"text":"Invalid data format","code":6,"invalid-event-number":1}"#, 3)
        else {
            panic!()
        };
        assert_eq!(mixed.retry, [0, 2]);
        assert_eq!(mixed.refused, [(1, "code 6: Invalid data format".to_owned())]);
        let unnamed = of(400, r#"{"text":"Event field is required","code":12}"#, 3);
        assert!(matches!(unnamed, Verdict::Halve(_)));
        // With acknowledgement on; what was taken counts as delivered all the same.
        assert_eq!(of(200, r#"{"text":"Success","code":0,"ackId":3}"#, 2), Verdict::Delivered);
        for code in [6, 12, 13, 15] {
            let body = format!(r#"{{"text":"why","code":{code},"invalid-event-number":0}}"#);
            let verdict = of(400, body.leak(), 1);
            let refused =
                Mixed { refused: vec![(0, format!("code {code}: why"))], ..Mixed::default() };
            assert_eq!(verdict, Verdict::Mixed(refused));
        }
        for (status, body, cause) in [
            (403, r#"{"text":"Token disabled","code":1}"#, Cause::Credentials),
            (401, r#"{"text":"Token is required","code":2}"#, Cause::Credentials),
            (401, r#"{"text":"Invalid authorization","code":3}"#, Cause::Credentials),
            (403, r#"{"text":"Invalid token","code":4}"#, Cause::Credentials),
            (400, r#"{"text":"No data","code":5}"#, Cause::Address),
            (400, r#"{"text":"Incorrect index","code":7}"#, Cause::Address),
            (500, r#"{"text":"Internal server error","code":8}"#, Cause::Server),
            (503, r#"{"text":"Server is busy","code":9}"#, Cause::Busy),
            (400, r#"{"text":"Data channel is missing","code":10}"#, Cause::Address),
            (400, r#"{"text":"Invalid data channel","code":11}"#, Cause::Address),
            (400, r#"{"text":"ACK is disabled","code":14}"#, Cause::Address),
            (
                400,
                r#"{"text":"Query string authorization is not enabled","code":16}"#,
                Cause::Address,
            ),
            (503, r#"{"text":"HEC is unhealthy, queues are full","code":18}"#, Cause::Busy),
            (503, r#"{"text":"Server is shutting down","code":23}"#, Cause::Busy),
            (404, "<html>", Cause::Address),
            (200, r#"{"text":"Succ"#, Cause::Garbled),
            (200, "<html>", Cause::Garbled),
        ] {
            let Verdict::Retry(trouble) = of(status, body, 1) else { panic!("{body}") };
            assert_eq!(trouble.cause, cause, "{body}");
        }
    }
}
