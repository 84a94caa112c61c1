//! Entries of Loki's push interface: `["nanoseconds","line",{metadata}]`, each with a comma behind
//! it, and the labels of the stream that an entry belongs to.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::field::{Field, severity, stream_name};
use super::{Origin, Stamps, attributes, happened, json, text};
use crate::record::{Record, TraceOrigin};

/// Attributes that an entry takes as metadata. Loki's own limits are 128 entries and 64 KB; the
/// rest of both is for what we add.
const ATTRIBUTES: usize = 96;
const METADATA_BYTES: usize = 48 << 10;
/// The longest value of a label, in bytes; Loki refuses more than 2048.
const LABEL_BYTES: usize = 1024;
/// Label sets that are remembered.
const KNOWN: usize = 256;
/// Names of metadata that are ours; an attribute with such a name gets a prefix.
const OURS: [&str; 10] = [
    "id",
    "observed",
    "severity",
    "severity_number",
    "stream",
    "trace_id",
    "span_id",
    "trace_origin",
    "marks",
    "source",
];

/// The labels of a sink's streams.
#[derive(Debug)]
pub(super) struct Labels {
    labels: Vec<(String, Field)>,
    known: HashMap<String, Arc<str>>,
}

impl Labels {
    pub(super) fn new(labels: &[(String, String)]) -> Self {
        let labels = labels.iter().map(|(name, from)| (name.clone(), Field::new(from)));
        Self { labels: labels.collect(), known: HashMap::new() }
    }

    /// Writes what of the metadata is the same on every record: all of the resource that is no
    /// label.
    pub(super) fn fill(&self, origin: &mut Origin) {
        let is_label = |field: Field| self.labels.iter().any(|(_, from)| *from == field);
        let mut tail = Vec::new();
        if !is_label(Field::Source) {
            metadata("source", &mut tail);
            text::quoted(&origin.source, &mut tail);
        }
        for (name, value) in &origin.resource {
            if !is_label(Field::Named(name.clone())) {
                metadata(&metadata_name(name), &mut tail);
                text::quoted(value, &mut tail);
            }
        }
        tail.extend_from_slice(b"}],");
        origin.tail = tail;
        // For records that have none of the labels: Loki takes no stream without one.
        let mut labels = b"{\"source\":".to_vec();
        text::quoted(&origin.source, &mut labels);
        labels.push(b'}');
        origin.partition = Arc::from(String::from_utf8_lossy(&labels));
    }

    /// The labels of the record's stream, as a JSON object.
    pub(super) fn partition(&mut self, record: &Record<'_>, origin: &Origin) -> Arc<str> {
        let mut labels = Vec::with_capacity(128);
        let mut before = b'{';
        for (name, field) in &self.labels {
            let Some(value) = field.of(record, origin) else { continue };
            labels.push(before);
            text::quoted(name, &mut labels);
            labels.push(b':');
            let cut = value.floor_char_boundary(LABEL_BYTES);
            text::quoted(value.get(..cut).unwrap_or_default(), &mut labels);
            before = b',';
        }
        if before == b'{' {
            return origin.partition.clone();
        }
        labels.push(b'}');
        let labels = String::from_utf8_lossy(&labels);
        if let Some(known) = self.known.get(&*labels) {
            return known.clone();
        }
        if self.known.len() == KNOWN {
            self.known.clear();
        }
        let shared: Arc<str> = Arc::from(&*labels);
        self.known.insert(labels.into_owned(), shared.clone());
        shared
    }

    /// Appends an entry. What has more attributes than Loki takes as metadata is written whole,
    /// as a JSON document, in place of its message.
    pub(super) fn entry(
        &self,
        record: &Record<'_>,
        origin: &Origin,
        stamps: &mut Stamps,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        begin(record, out);
        text::string(&record.body, out);
        let line_end = out.len();
        facts(record, stamps, out);
        for (name, value) in attributes(&record.attributes) {
            metadata(&metadata_name(name), out);
            text::string(value, out);
        }
        if record.attributes.len() > ATTRIBUTES || out.len() - line_end > METADATA_BYTES {
            out.truncate(start);
            begin(record, out);
            let mut document = Vec::new();
            json::document("time", record, stamps, &mut document);
            document.push(b'}');
            text::quoted(&String::from_utf8_lossy(&document), out);
            facts(record, stamps, out);
        }
        out.extend_from_slice(&origin.tail);
    }
}

fn begin(record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"[\"");
    // Loki reads nanoseconds since 1970, and none before.
    text::number(happened(record).max(0), out);
    out.extend_from_slice(b"\",");
}

/// Appends what is known beside the attributes.
fn facts(record: &Record<'_>, stamps: &mut Stamps, out: &mut Vec<u8>) {
    out.extend_from_slice(b",{\"id\":");
    quoted_hex(&record.id.to_be_bytes(), out);
    out.extend_from_slice(b",\"observed\":\"");
    stamps.observed.nanoseconds(record.observed, out);
    out.push(b'"');
    let severity = severity(record);
    if !severity.is_empty() {
        metadata("severity", out);
        text::quoted(severity, out);
    }
    if record.severity.number > 0 {
        metadata("severity_number", out);
        out.push(b'"');
        text::number(record.severity.number, out);
        out.push(b'"');
    }
    if let Some(stream) = record.stream {
        metadata("stream", out);
        text::quoted(stream_name(stream), out);
    }
    if let Some(trace) = &record.trace {
        metadata("trace_id", out);
        quoted_hex(&trace.trace.to_be_bytes(), out);
        if trace.span != 0 {
            metadata("span_id", out);
            quoted_hex(&trace.span.to_be_bytes(), out);
        }
        if trace.origin == TraceOrigin::OnlyRequest {
            metadata("trace_origin", out);
            text::quoted("only_request", out);
        }
    }
    let marks: Vec<_> = json::mark_names(record.marks).collect();
    if !marks.is_empty() {
        metadata("marks", out);
        text::quoted(&marks.join(","), out);
    }
}

/// Appends the name of the next part of the metadata.
fn metadata(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn quoted_hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    text::hex(bytes, out);
    out.push(b'"');
}

/// A name as Prometheus takes it: letters, digits and underscores, and no digit in front.
fn metadata_name(name: &str) -> Cow<'_, str> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = name.as_bytes().first();
    let is_ours = OURS.contains(&name);
    if !is_ours && name.bytes().all(is_word) && first.is_some_and(|byte| !byte.is_ascii_digit()) {
        return Cow::Borrowed(name);
    }
    let prefix = match first {
        _ if is_ours => "attributes_",
        Some(byte) if !byte.is_ascii_digit() => "",
        _ => "_",
    };
    let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    Cow::Owned(prefix.chars().chain(name.chars().map(word)).collect())
}

#[cfg(test)]
mod tests {
    use pillion_model::logs::{LokiOutput, Output};
    use serde_json::{Value, json};

    use super::super::tests::{bare, encoded, record, resource};
    use super::super::{Encoder, Facts};
    use super::*;
    use crate::record;

    fn output(labels: &[(&str, &str)]) -> Output {
        let labels = labels.iter().map(|(name, from)| (name.to_string(), from.to_string()));
        let http = crate::sink::tests::http_output("http://localhost");
        Output::Loki(LokiOutput { http, tenant: None, labels: labels.collect() })
    }

    fn entry(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes.strip_suffix(b",").unwrap()).unwrap()
    }

    #[test]
    fn an_entry_has_its_time_its_line_and_the_rest_as_metadata() {
        let (entries, partition) = encoded(&output(&[("app", "service.name")]));
        assert_eq!(&*partition, r#"{"app":"shop"}"#);
        let full = json!(["1709210096789012345", "GET \"/\" done\n", {
            "id": "0102030405060708090a0b0c0d0e0f10",
            "observed": "2024-02-29T12:34:57.789012345Z",
            "severity": "INFO", "severity_number": "9", "stream": "stderr",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7",
            "trace_origin": "only_request", "marks": "redacted",
            "status": "200", "user": "{\"id\":7,\"name\":\"Ann\"}", "path": "/a\"b",
            "source": "app", "host_name": "node-1", "k8s_pod_name": "shop-1",
        }]);
        let bare = json!(["1709210096789012345", "hi", {
            "id": "00000000000000000000000000000000",
            "observed": "2024-02-29T12:34:56.789012345Z",
            "source": "app", "host_name": "node-1", "k8s_pod_name": "shop-1",
        }]);
        assert_eq!(entries.iter().map(|bytes| entry(bytes)).collect::<Vec<_>>(), [full, bare]);
    }

    #[test]
    fn labels_are_what_the_record_has_of_them_and_never_none() {
        for (labels, expected) in [
            (&[("level", "severity"), ("none", "none")][..], r#"{"level":"INFO"}"#),
            (&[("a", "attributes.status"), ("s", "source")], r#"{"a":"200","s":"app"}"#),
            (&[("none", "none")], r#"{"source":"app"}"#),
            (&[], r#"{"source":"app"}"#),
        ] {
            let mut encoder = Encoder::new(&output(labels));
            let origin = encoder.origin(&Facts { source: "app", resource: &resource() });
            for _again in 0..2 {
                assert_eq!(&*encoder.partition(&record(), &origin), expected);
            }
        }
    }

    #[test]
    fn what_has_too_many_attributes_is_a_whole_document() {
        let attributes =
            |count| (0..count).map(|n| (format!("a{n}").into(), record::Value::Json("1".into())));
        for (count, is_whole) in [(ATTRIBUTES, false), (ATTRIBUTES + 1, true)] {
            let record = Record { attributes: attributes(count).collect(), ..bare() };
            let mut encoder = Encoder::new(&output(&[]));
            let origin = encoder.origin(&Facts { source: "app", resource: &[] });
            let mut out = Vec::new();
            encoder.encode(&record, &origin, &mut out);
            let entry = entry(&out);
            let line = entry[1].as_str().unwrap();
            let document: Option<Value> = serde_json::from_str(line).ok();
            let attributes =
                document.map(|document| document["attributes"].as_object().unwrap().len());
            assert_eq!(attributes, is_whole.then_some(count));
            assert_eq!(entry[2]["a0"].is_null(), is_whole);
        }
    }

    #[test]
    fn names_of_metadata_are_words() {
        for (name, expected) in [
            ("status", "status"),
            ("http.route", "http_route"),
            ("2xx", "_2xx"),
            ("id", "attributes_id"),
            ("grün", "gr_n"),
            ("", "_"),
        ] {
            assert_eq!(metadata_name(name), expected);
        }
    }
}
