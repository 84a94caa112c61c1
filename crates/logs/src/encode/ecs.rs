//! A record as a JSON object that follows the Elastic Common Schema.

use super::field::{severity, stream_name};
use super::{Facts, Origin, Stamps, attributes, happened, json, text};
use crate::record::Record;

/// Fields that are written from other parts of a record; an attribute with such a name becomes a
/// label, so that no name stands twice.
const OURS: [&str; 11] = [
    "@timestamp",
    "event.created",
    "event.dataset",
    "event.id",
    "ecs.version",
    "message",
    "log.level",
    "trace.id",
    "span.id",
    "labels",
    "tags",
];
/// Where the two conventions use different names for one thing.
const RENAMED: [(&str, &str); 7] = [
    ("deployment.environment.name", "service.environment"),
    ("service.instance.id", "service.node.name"),
    ("k8s.namespace.name", "kubernetes.namespace"),
    ("k8s.pod.name", "kubernetes.pod.name"),
    ("k8s.pod.uid", "kubernetes.pod.uid"),
    ("k8s.node.name", "kubernetes.node.name"),
    ("k8s.container.name", "kubernetes.container.name"),
];
const POD_LABELS: (&str, &str) = ("k8s.pod.labels.", "kubernetes.labels.");

/// Appends the object without its end, which [`tail`] gives.
pub(super) fn document(
    record: &Record<'_>,
    origin: &Origin,
    stamps: &mut Stamps,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"@timestamp\":\"");
    stamps.time.nanoseconds(happened(record), out);
    out.extend_from_slice(b"\",\"event.created\":\"");
    stamps.observed.nanoseconds(record.observed, out);
    out.extend_from_slice(b"\",\"event.id\":\"");
    text::hex(&record.id.to_be_bytes(), out);
    out.extend_from_slice(b"\",\"message\":");
    text::string(&record.body, out);
    let severity = severity(record);
    if !severity.is_empty() {
        out.extend_from_slice(b",\"log.level\":");
        text::quoted(&severity.to_lowercase(), out);
    }
    if let Some(trace) = &record.trace {
        out.extend_from_slice(b",\"trace.id\":\"");
        text::hex(&trace.trace.to_be_bytes(), out);
        out.push(b'"');
        if trace.span != 0 {
            out.extend_from_slice(b",\"span.id\":\"");
            text::hex(&trace.span.to_be_bytes(), out);
            out.push(b'"');
        }
    }
    let is_field = |name: &str| is_field(name) && !is_of_resource(name, origin);
    fields(record, is_field, out);
    labels(record, is_field, out);
    tags(record, out);
}

/// Attributes with a name of several parts are fields of one of the conventions.
fn fields(record: &Record<'_>, is_field: impl Fn(&str) -> bool, out: &mut Vec<u8>) {
    for (name, value) in attributes(&record.attributes).filter(|(name, _)| is_field(name)) {
        out.push(b',');
        text::quoted(name, out);
        out.push(b':');
        text::value(value, out);
    }
}

/// The others are labels, whose values are keywords.
fn labels(record: &Record<'_>, is_field: impl Fn(&str) -> bool, out: &mut Vec<u8>) {
    let mut before = &b",\"labels\":{"[..];
    for (name, value) in attributes(&record.attributes).filter(|(name, _)| !is_field(name)) {
        out.extend_from_slice(before);
        text::quoted(&name.replace('.', "_"), out);
        out.push(b':');
        text::string(value, out);
        before = b",";
    }
    if before == b"," {
        out.push(b'}');
    }
}

fn tags(record: &Record<'_>, out: &mut Vec<u8>) {
    let stream = record.stream.map(stream_name);
    let mut before = &b",\"tags\":[\""[..];
    for word in json::mark_names(record.marks).chain(stream) {
        out.extend_from_slice(before);
        out.extend_from_slice(word.as_bytes());
        before = b"\",\"";
    }
    if before == b"\",\"" {
        out.extend_from_slice(b"\"]");
    }
}

/// Whether a name is one of several parts, all of them lower case letters, digits and underscores.
fn is_field(name: &str) -> bool {
    let is_part = |part: &str| {
        let byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        !part.is_empty() && part.bytes().all(byte)
    };
    let reserved =
        || OURS.contains(&name) || ["labels.", "tags."].iter().any(|own| name.starts_with(own));
    name.contains('.') && name.split('.').all(is_part) && !reserved()
}

/// Whether the resource is written under this name already.
fn is_of_resource(name: &str, origin: &Origin) -> bool {
    let mut known = origin.resource.iter().map(|(known, _)| known.as_str());
    known.any(|known| known == name || RENAMED.contains(&(known, name)))
}

/// Appends what is the same on every record of a source, and the end of the object.
pub(super) fn tail(facts: &Facts<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"ecs.version\":\"8.11.0\",\"event.dataset\":");
    text::quoted(facts.source, out);
    let mut pairs = Vec::with_capacity(facts.resource.len());
    for (name, value) in facts.resource {
        pairs.push((ecs_name(name), value.clone()));
    }
    if !pairs.is_empty() {
        out.push(b',');
        let mut object = Vec::new();
        json::pairs(&pairs, &mut object);
        // The end of this object is that of the whole.
        out.extend_from_slice(object.get(1..).unwrap_or_default());
    } else {
        out.push(b'}');
    }
}

fn ecs_name(name: &str) -> String {
    if let Some(label) = name.strip_prefix(POD_LABELS.0) {
        return format!("{}{}", POD_LABELS.1, label.replace('.', "_"));
    }
    let renamed = RENAMED.iter().find(|(known, _)| *known == name);
    renamed.map_or(name, |(_, renamed)| renamed).to_owned()
}

#[cfg(test)]
mod tests {
    use pillion_model::logs::{Output, Schema};
    use serde_json::{Value, json};

    use super::super::tests::encoded;
    use super::is_field;

    #[test]
    fn a_record_has_the_names_of_the_common_schema() {
        let (lines, _) = encoded(&Output::Stdout(Schema::Ecs));
        let documents: Vec<Value> =
            lines.iter().map(|line| serde_json::from_slice(line).unwrap()).collect();
        let common = json!({
            "ecs.version": "8.11.0", "event.dataset": "app", "service.name": "shop",
            "host.name": "node-1", "kubernetes.pod.name": "shop-1",
        });
        let full = json!({
            "@timestamp": "2024-02-29T12:34:56.789012345Z",
            "event.created": "2024-02-29T12:34:57.789012345Z",
            "event.id": "0102030405060708090a0b0c0d0e0f10",
            "message": "GET \"/\" done\n", "log.level": "info",
            "trace.id": "4bf92f3577b34da6a3ce929d0e0e4736", "span.id": "00f067aa0ba902b7",
            "labels": {"status": "200", "user": "{\"id\":7,\"name\":\"Ann\"}", "path": "/a\"b"},
            "tags": ["redacted", "stderr"],
        });
        let bare = json!({
            "@timestamp": "2024-02-29T12:34:56.789012345Z",
            "event.created": "2024-02-29T12:34:56.789012345Z",
            "event.id": "00000000000000000000000000000000", "message": "hi",
        });
        for (got, mut expected) in documents.into_iter().zip([full, bare]) {
            expected.as_object_mut().unwrap().extend(common.as_object().unwrap().clone());
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn only_names_of_several_proper_parts_are_fields() {
        for (name, expected) in [
            ("http.request.method", true),
            ("status", false),
            ("a..b", false),
            (".a", false),
            ("a.", false),
            ("/etc/a.conf", false),
            ("trace.id", false),
            ("labels.a", false),
        ] {
            assert_eq!(is_field(name), expected, "{name}");
        }
    }
}
