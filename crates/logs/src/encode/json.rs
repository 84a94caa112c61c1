//! A record as a JSON object that follows the OpenTelemetry log data model.

use super::field::{severity, stream_name};
use super::{Facts, Stamps, attributes, happened, text};
use crate::record::{Marks, Record, Trace, TraceOrigin};

/// Appends the object without its end, which [`tail`] gives.
pub(super) fn document(
    time_name: &str,
    record: &Record<'_>,
    stamps: &mut Stamps,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(time_name.as_bytes());
    out.extend_from_slice(b"\":\"");
    stamps.time.nanoseconds(happened(record), out);
    out.extend_from_slice(b"\",\"observed\":\"");
    stamps.observed.nanoseconds(record.observed, out);
    out.push(b'"');
    let severity = severity(record);
    if !severity.is_empty() {
        out.extend_from_slice(b",\"severity\":");
        text::quoted(severity, out);
    }
    if record.severity.number > 0 {
        out.extend_from_slice(b",\"severity_number\":");
        text::number(record.severity.number, out);
    }
    out.extend_from_slice(b",\"body\":");
    text::value(&record.body, out);
    object(b",\"attributes\":", record, out);
    if let Some(trace) = &record.trace {
        ids(trace, out);
    }
    if let Some(stream) = record.stream {
        out.extend_from_slice(b",\"stream\":\"");
        out.extend_from_slice(stream_name(stream).as_bytes());
        out.push(b'"');
    }
    marks(record.marks, out);
    out.extend_from_slice(b",\"id\":\"");
    text::hex(&record.id.to_be_bytes(), out);
    out.push(b'"');
}

/// Appends what is the same on every record of a source, and the end of the object.
pub(super) fn tail(facts: &Facts<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"source\":");
    text::quoted(facts.source, out);
    if !facts.resource.is_empty() {
        out.extend_from_slice(b",\"resource\":");
        pairs(facts.resource, out);
    }
    out.push(b'}');
}

/// Appends names and values as an object; of those with one name the last.
pub(super) fn pairs(pairs: &[(String, String)], out: &mut Vec<u8>) {
    let mut before = b'{';
    for (index, (name, value)) in pairs.iter().enumerate() {
        if pairs.iter().skip(index + 1).any(|(later, _)| later == name) {
            continue;
        }
        out.push(before);
        text::quoted(name, out);
        out.push(b':');
        text::quoted(value, out);
        before = b',';
    }
    if before == b'{' {
        out.push(before);
    }
    out.push(b'}');
}

fn object(name: &[u8], record: &Record<'_>, out: &mut Vec<u8>) {
    let mut before = b'{';
    for (key, value) in attributes(&record.attributes) {
        if before == b'{' {
            out.extend_from_slice(name);
        }
        out.push(before);
        text::quoted(key, out);
        out.push(b':');
        text::value(value, out);
        before = b',';
    }
    if before == b',' {
        out.push(b'}');
    }
}

fn ids(trace: &Trace, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"trace_id\":\"");
    text::hex(&trace.trace.to_be_bytes(), out);
    if trace.span != 0 {
        out.extend_from_slice(b"\",\"span_id\":\"");
        text::hex(&trace.span.to_be_bytes(), out);
    }
    match trace.origin {
        TraceOrigin::Record => out.push(b'"'),
        TraceOrigin::OnlyRequest => {
            out.extend_from_slice(b"\",\"trace_origin\":\"only_request\"");
        }
    }
}

/// What was done to a record, as words.
pub(super) fn mark_names(marks: Marks) -> impl Iterator<Item = &'static str> {
    let words = [
        (marks.truncated, "truncated"),
        (marks.unparsed, "unparsed"),
        (marks.repaired, "repaired"),
        (marks.redacted, "redacted"),
    ];
    words.into_iter().filter_map(|(is_set, word)| is_set.then_some(word))
}

/// Appends `,"marks":[…]` where there is one.
pub(super) fn marks(marks: Marks, out: &mut Vec<u8>) {
    if marks == Marks::default() {
        return;
    }
    let mut before = &b",\"marks\":[\""[..];
    for word in mark_names(marks) {
        out.extend_from_slice(before);
        out.extend_from_slice(word.as_bytes());
        before = b"\",\"";
    }
    out.extend_from_slice(b"\"]");
}

#[cfg(test)]
mod tests {
    use pillion_model::logs::{Output, Schema};

    use super::super::tests::encoded;

    #[test]
    fn a_record_is_one_line_with_every_field_that_it_has() {
        let (lines, partition) = encoded(&Output::Stdout(Schema::Otel));
        let full = concat!(
            r#"{"time":"2024-02-29T12:34:56.789012345Z","observed":"2024-02-29T12:34:57.789012345Z","#,
            r#""severity":"INFO","severity_number":9,"body":"GET \"/\" done\n","#,
            r#""attributes":{"status":200,"user":{"id":7,"name":"Ann"},"path":"/a\"b"},"#,
            r#""trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","#,
            r#""trace_origin":"only_request","stream":"stderr","marks":["redacted"],"#,
            r#""id":"0102030405060708090a0b0c0d0e0f10","source":"app","#,
            r#""resource":{"service.name":"shop","host.name":"node-1","k8s.pod.name":"shop-1"}}"#,
            "\n"
        );
        let bare = concat!(
            r#"{"time":"2024-02-29T12:34:56.789012345Z","observed":"2024-02-29T12:34:56.789012345Z","#,
            r#""body":"hi","id":"00000000000000000000000000000000","source":"app","#,
            r#""resource":{"service.name":"shop","host.name":"node-1","k8s.pod.name":"shop-1"}}"#,
            "\n"
        );
        let lines: Vec<_> = lines.iter().map(|line| str::from_utf8(line).unwrap()).collect();
        assert_eq!(lines, [full, bare]);
        assert_eq!(&*partition, "");
    }
}
