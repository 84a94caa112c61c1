//! Entries of Fluentd's forward protocol: a time and a map. Records of one tag travel together.

use std::sync::Arc;

use super::field::{severity, stream_name};
use super::template::Template;
use super::{Facts, Origin, Stamps, attributes, happened, json, text};
use crate::msgpack::{self, Open};
use crate::record::{Record, TraceOrigin, Value};

/// The longest tag, in bytes.
const LONGEST: usize = 255;
/// Fields that [`fill`] writes.
const OF_ORIGIN: usize = 2;

/// The tags of records.
#[derive(Debug)]
pub(super) struct Tags {
    template: Template,
    /// What the template gave last.
    filled: String,
    /// The tag that was made of it.
    tag: Arc<str>,
    /// For the next one.
    spare: String,
}

impl Tags {
    pub(super) fn new(template: &str) -> Self {
        let (filled, spare) = (String::new(), String::new());
        Self { template: Template::new(template), filled, tag: Arc::from(valid("")), spare }
    }

    /// The tag of a record; mostly that of the record before it.
    pub(super) fn tag(&mut self, record: &Record<'_>, origin: &Origin) -> Arc<str> {
        self.spare.clear();
        self.template.fill(record, origin, &mut self.spare);
        if self.spare != self.filled {
            std::mem::swap(&mut self.spare, &mut self.filled);
            self.tag = Arc::from(valid(&self.filled));
        }
        self.tag.clone()
    }
}

/// A tag without what would end a word of it, and short enough.
fn valid(tag: &str) -> String {
    let is_bad = |c: char| c.is_control() || c.is_whitespace();
    let tag = tag.get(..tag.floor_char_boundary(LONGEST)).unwrap_or_default();
    match tag {
        "" => super::template::NONE.to_owned(),
        tag => tag.replace(is_bad, "_"),
    }
}

/// Writes what is the same on every record.
pub(super) fn fill(facts: &Facts<'_>, origin: &mut Origin) {
    let tail = &mut origin.tail;
    msgpack::text("source", tail);
    msgpack::text(facts.source, tail);
    let mut resource = Vec::new();
    json::pairs(facts.resource, &mut resource);
    msgpack::text("resource", tail);
    msgpack::json(&String::from_utf8_lossy(&resource), tail);
}

/// Appends an entry.
pub(super) fn entry(record: &Record<'_>, origin: &Origin, stamps: &mut Stamps, out: &mut Vec<u8>) {
    msgpack::array(2, out);
    msgpack::event_time(happened(record), out);
    let map = Open::map(out);
    let mut fields = Fields { count: OF_ORIGIN, out };
    value(&record.body, fields.named("message"));
    let observed = fields.named("observed");
    msgpack::short_text(observed, |out| stamps.observed.nanoseconds(record.observed, out));
    let severity = severity(record);
    if !severity.is_empty() {
        msgpack::text(severity, fields.named("severity"));
    }
    if record.severity.number > 0 {
        msgpack::unsigned(record.severity.number.into(), fields.named("severity_number"));
    }
    fields.attributes(record);
    fields.trace(record);
    if let Some(stream) = record.stream {
        msgpack::text(stream_name(stream), fields.named("stream"));
    }
    fields.marks(record);
    hex(&record.id.to_be_bytes(), fields.named("id"));
    let count = fields.count;
    out.extend_from_slice(&origin.tail);
    map.close(count, out);
}

/// The fields of a map, counted.
struct Fields<'a> {
    count: usize,
    out: &'a mut Vec<u8>,
}

impl Fields<'_> {
    /// Appends the name of a field, and gives the place for its value.
    fn named(&mut self, name: &str) -> &mut Vec<u8> {
        self.count += 1;
        msgpack::text(name, self.out);
        self.out
    }

    fn attributes(&mut self, record: &Record<'_>) {
        if record.attributes.is_empty() {
            return;
        }
        let out = self.named("attributes");
        let (map, mut count) = (Open::map(out), 0);
        for (name, value) in attributes(&record.attributes) {
            msgpack::text(name, out);
            self::value(value, out);
            count += 1;
        }
        map.close(count, out);
    }

    fn trace(&mut self, record: &Record<'_>) {
        let Some(trace) = &record.trace else { return };
        hex(&trace.trace.to_be_bytes(), self.named("trace_id"));
        if trace.span != 0 {
            hex(&trace.span.to_be_bytes(), self.named("span_id"));
        }
        if trace.origin == TraceOrigin::OnlyRequest {
            msgpack::text("only_request", self.named("trace_origin"));
        }
    }

    fn marks(&mut self, record: &Record<'_>) {
        let mut marks = json::mark_names(record.marks).peekable();
        if marks.peek().is_none() {
            return;
        }
        let out = self.named("marks");
        let (list, mut count) = (Open::array(out), 0);
        for mark in marks {
            msgpack::text(mark, out);
            count += 1;
        }
        list.close(count, out);
    }
}

fn value(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => msgpack::text(text, out),
        Value::Json(written) => msgpack::json(written, out),
    }
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    msgpack::short_text(out, |out| text::hex(bytes, out));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pillion_model::logs::{Compression, ForwardOutput, Output};
    use serde_json::json;

    use super::super::Encoder;
    use super::super::tests::{bare, encoded, record, resource};
    use super::*;

    fn output(tag: &str) -> Output {
        Output::Forward(ForwardOutput {
            address: "localhost:24224".into(),
            tls: None,
            tag: tag.into(),
            login: None,
            compress: Compression::None,
            timeout: Duration::from_secs(1),
            concurrency: 1,
        })
    }

    #[test]
    fn an_entry_has_its_time_and_every_field_of_the_record() {
        let (entries, tag) = encoded(&output("shop.{severity}"));
        assert_eq!(&*tag, "shop.INFO");
        let resource =
            json!({"service.name": "shop", "host.name": "node-1", "k8s.pod.name": "shop-1"});
        let full = json!([[1_709_210_096, 789_012_345], {
            "message": "GET \"/\" done\n", "observed": "2024-02-29T12:34:57.789012345Z",
            "severity": "INFO", "severity_number": 9,
            "attributes": {"status": 200, "user": {"id": 7, "name": "Ann"}, "path": "/a\"b"},
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7",
            "trace_origin": "only_request", "stream": "stderr", "marks": ["redacted"],
            "id": "0102030405060708090a0b0c0d0e0f10", "source": "app", "resource": resource,
        }]);
        let bare = json!([[1_709_210_096, 789_012_345], {
            "message": "hi", "observed": "2024-02-29T12:34:56.789012345Z",
            "id": "00000000000000000000000000000000", "source": "app", "resource": resource,
        }]);
        for (entry, expected) in entries.iter().zip([full, bare]) {
            let mut rest = &entry[..];
            assert_eq!(msgpack::tests::value(&mut rest), expected);
            assert_eq!(rest, b"");
        }
    }

    #[test]
    fn a_tag_is_filled_in_from_each_record_and_is_one_word() {
        let long = "x".repeat(256);
        for (template, expected) in [
            ("pillion.{source}", ["pillion.app", "pillion.app"]),
            ("{service.name}.%Y", ["shop.2024", "shop.2024"]),
            ("a.{severity}.{attributes.user.name}", ["a.INFO.Ann", "a.none.none"]),
            ("a b\tc", ["a_b_c", "a_b_c"]),
            ("", ["none", "none"]),
            (&long, [&long[..255], &long[..255]]),
        ] {
            let mut encoder = Encoder::new(&output(template));
            let origin = encoder.origin(&Facts { source: "app", resource: &resource() });
            for _again in 0..2 {
                let tags = [record(), bare()].map(|record| encoder.partition(&record, &origin));
                assert_eq!(tags.each_ref().map(|tag| &**tag), expected, "{template}");
            }
        }
    }
}
