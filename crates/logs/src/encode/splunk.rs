//! Events of Splunk's event collector: the JSON document of a record, in an envelope.

use pillion_model::logs::Schema;

use super::{Origin, Stamps, document, happened, text, time};
use crate::record::Record;

/// Writes what is the same on every record, behind what is there of the document already.
pub(super) fn fill(origin: &mut Origin) {
    let mut tail = std::mem::take(&mut origin.tail);
    if let Some(host) = origin.first_of(&["host.name", "k8s.pod.name"]) {
        tail.extend_from_slice(b",\"host\":");
        text::quoted(host, &mut tail);
    }
    tail.extend_from_slice(b",\"source\":");
    text::quoted(&origin.source, &mut tail);
    tail.extend_from_slice(b",\"sourcetype\":\"_json\"}\n");
    origin.tail = tail;
}

/// Appends an event.
pub(super) fn event(
    schema: Schema,
    (record, origin): (&Record<'_>, &Origin),
    stamps: &mut Stamps,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"time\":");
    time::epoch_seconds(happened(record), out);
    out.extend_from_slice(b",\"event\":");
    document(schema, "time", (record, origin), stamps, out);
    out.extend_from_slice(&origin.tail);
}

#[cfg(test)]
mod tests {
    use pillion_model::logs::Output;
    use serde_json::Value;

    use super::super::tests::encoded;

    #[test]
    fn an_event_is_the_document_with_time_host_and_source() {
        let http = crate::sink::tests::http_output("http://localhost");
        let (events, _) = encoded(&Output::Splunk(http));
        for event in events {
            let event: Value = serde_json::from_slice(&event).unwrap();
            assert_eq!(event["time"].to_string(), "1709210096.789");
            assert_eq!(event["host"], "node-1");
            assert_eq!(event["source"], "app");
            assert_eq!(event["event"]["resource"]["service.name"], "shop");
            assert!(event["event"]["body"].is_string(), "{event}");
        }
    }
}
