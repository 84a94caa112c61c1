//! Records as the bytes that a sink takes: one at a time, appended to what is there already.
//!
//! What of a source is the same on every record (its name, the resource) is written once, into an
//! [`Origin`]. Which fields there are: `docs/reference/log-schema.md`.

mod bulk;
mod ecs;
mod field;
mod forward;
mod json;
mod loki;
pub(crate) mod otlp;
mod splunk;
mod syslog;
mod template;
mod text;
mod time;

use std::collections::HashMap;
use std::sync::Arc;

use pillion_model::logs::{Output, Schema};

use crate::record::{Attributes, Record, UnixNanos, Value};
pub(crate) use field::{severity, stream_name};
use time::Stamp;

/// From so many attributes on, those with one name are looked up and not searched for.
const MANY: usize = 32;

/// Facts about where records come from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The name of the source.
    pub source: &'a str,
    /// Attributes of the resource.
    pub resource: &'a [(String, String)],
}

/// What of a source is the same on every record, as one sink takes it.
#[derive(Clone, Debug)]
pub struct Origin {
    source: String,
    resource: Vec<(String, String)>,
    /// What is written once, before and behind the changing parts.
    head: Vec<u8>,
    tail: Vec<u8>,
    partition: Arc<str>,
}

impl Origin {
    fn new(facts: &Facts<'_>) -> Self {
        Self {
            source: facts.source.to_owned(),
            resource: facts.resource.to_vec(),
            head: Vec::new(),
            tail: Vec::new(),
            partition: Arc::from(""),
        }
    }

    /// An attribute of the resource.
    fn resource(&self, name: &str) -> Option<&str> {
        self.resource.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The first of these attributes of the resource that is there and not empty.
    fn first_of(&self, names: &[&str]) -> Option<&str> {
        names.iter().filter_map(|name| self.resource(name)).find(|value| !value.is_empty())
    }
}

/// Writes records for one sink.
#[derive(Debug)]
pub struct Encoder {
    form: Form,
    stamps: Stamps,
}

#[derive(Debug)]
enum Form {
    Nothing,
    Lines(Schema),
    Bulk(Schema, bulk::Index),
    Loki(loki::Labels),
    Otlp(otlp::Writer),
    Splunk(Schema),
    Syslog(u8),
    Forward(forward::Tags),
}

/// A record has two times, and each is mostly near the one before it.
#[derive(Debug, Default)]
struct Stamps {
    time: Stamp,
    observed: Stamp,
}

impl Encoder {
    /// Writes what this output takes.
    #[must_use]
    pub fn new(output: &Output) -> Self {
        let form = match output {
            Output::Null => Form::Nothing,
            Output::Stdout(schema) | Output::File(_, schema) => Form::Lines(*schema),
            Output::Http(http) => Form::Lines(http.schema),
            Output::OpenSearch(output) => {
                Form::Bulk(output.http.schema, bulk::Index::new(&output.index))
            }
            Output::Loki(output) => Form::Loki(loki::Labels::new(&output.labels)),
            Output::Otlp(_) => Form::Otlp(otlp::Writer::default()),
            Output::Splunk(http) => Form::Splunk(http.schema),
            Output::Syslog(output) => Form::Syslog(output.facility),
            Output::Forward(output) => Form::Forward(forward::Tags::new(&output.tag)),
        };
        Self { form, stamps: Stamps::default() }
    }

    /// What is the same on every record of a source. To be made anew when the facts change.
    #[must_use]
    pub fn origin(&self, facts: &Facts<'_>) -> Origin {
        let mut origin = Origin::new(facts);
        match &self.form {
            Form::Nothing => {}
            Form::Lines(schema) | Form::Bulk(schema, _) => {
                origin.tail = document_tail(*schema, facts);
                origin.tail.push(b'\n');
            }
            Form::Loki(labels) => labels.fill(&mut origin),
            Form::Otlp(_) => otlp::fill(&mut origin),
            Form::Splunk(schema) => {
                origin.tail = document_tail(*schema, facts);
                splunk::fill(&mut origin);
            }
            Form::Syslog(_) => syslog::fill(&mut origin),
            Form::Forward(_) => forward::fill(facts, &mut origin),
        }
        origin
    }

    /// What the record has to travel with alone: a Loki stream's labels, an OTLP resource, a tag of
    /// the forward protocol. Empty for sinks that take everything together.
    #[must_use]
    pub fn partition(&mut self, record: &Record<'_>, origin: &Origin) -> Arc<str> {
        match &mut self.form {
            Form::Loki(labels) => labels.partition(record, origin),
            Form::Forward(tags) => tags.tag(record, origin),
            Form::Nothing
            | Form::Lines(_)
            | Form::Bulk(..)
            | Form::Otlp(_)
            | Form::Splunk(_)
            | Form::Syslog(_) => origin.partition.clone(),
        }
    }

    /// Appends one record. `origin` must come from this encoder.
    pub fn encode(&mut self, record: &Record<'_>, origin: &Origin, out: &mut Vec<u8>) {
        let stamps = &mut self.stamps;
        match &mut self.form {
            // One byte stands for it, so that it is counted.
            Form::Nothing => out.push(b'\n'),
            Form::Lines(schema) => {
                document(*schema, "time", (record, origin), stamps, out);
                out.extend_from_slice(&origin.tail);
            }
            Form::Bulk(schema, index) => {
                index.action(record, origin, out);
                document(*schema, "@timestamp", (record, origin), stamps, out);
                out.extend_from_slice(&origin.tail);
            }
            Form::Loki(labels) => labels.entry(record, origin, stamps, out),
            Form::Otlp(writer) => writer.record(record, origin, out),
            Form::Splunk(schema) => splunk::event(*schema, (record, origin), stamps, out),
            Form::Syslog(facility) => syslog::message(*facility, (record, origin), stamps, out),
            Form::Forward(_) => forward::entry(record, origin, stamps, out),
        }
    }
}

/// Appends a record as a JSON object, up to what [`document_tail`] gives.
fn document(
    schema: Schema,
    time_name: &str,
    (record, origin): (&Record<'_>, &Origin),
    stamps: &mut Stamps,
    out: &mut Vec<u8>,
) {
    match schema {
        Schema::Otel => json::document(time_name, record, stamps, out),
        Schema::Ecs => ecs::document(record, origin, stamps, out),
    }
}

fn document_tail(schema: Schema, facts: &Facts<'_>) -> Vec<u8> {
    let mut tail = Vec::new();
    match schema {
        Schema::Otel => json::tail(facts, &mut tail),
        Schema::Ecs => ecs::tail(facts, &mut tail),
    }
    tail
}

/// When a record happened, as far as is known.
fn happened(record: &Record<'_>) -> UnixNanos {
    record.time.unwrap_or(record.observed)
}

/// The attributes that count, in their order: of those with one name the last.
fn attributes<'r, 'a>(
    all: &'r Attributes<'a>,
) -> impl Iterator<Item = (&'r str, &'r Value<'a>)> + use<'r, 'a> {
    let last = may_repeat(all).then(|| last_of_each(all));
    let counts = move |index: usize, name: &str| {
        last.as_ref().is_none_or(|last| last.get(name) == Some(&index))
    };
    let named = all.iter().enumerate();
    named
        .filter(move |(index, (name, _))| counts(*index, name))
        .map(|(_, (name, value))| (&**name, value))
}

/// Whether two attributes have the same name: cheap, and now and then yes although it is not so.
fn may_repeat(all: &Attributes<'_>) -> bool {
    if all.len() > MANY {
        return true;
    }
    let mut seen = [0_u64; 4];
    all.iter().any(|(name, _)| {
        let bytes = name.as_bytes();
        let byte = |at: usize| bytes.get(at).copied().map_or(0, usize::from);
        let last = bytes.last().copied().map_or(0, usize::from);
        let hash = name.len() * 29 + byte(0) * 3 + byte(bytes.len() / 2) * 11 + last * 7;
        let bit = 1_u64 << (hash % 64);
        let Some(word) = seen.get_mut(hash / 64 % 4) else { return true };
        let known = *word & bit != 0;
        *word |= bit;
        known
    })
}

fn last_of_each<'r>(all: &'r Attributes<'_>) -> HashMap<&'r str, usize> {
    all.iter().enumerate().map(|(index, (name, _))| (&**name, index)).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::{Marks, Severity, Stream, Trace, TraceOrigin};

    /// 2024-02-29T12:34:56.789012345Z
    pub(crate) const TIME: UnixNanos = 1_709_210_096_789_012_345;

    /// A record that has something of everything.
    pub(crate) fn record() -> Record<'static> {
        let json = |text: &'static str| Value::Json(text.into());
        Record {
            id: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10,
            observed: TIME + 1_000_000_000,
            time: Some(TIME),
            severity: Severity { number: 9, text: Some("INFO".into()) },
            body: Value::Text("GET \"/\" done\n".into()),
            attributes: [
                ("status".into(), json("200")),
                ("user".into(), json(r#"{"id":7,"name":"Ann"}"#)),
                ("path".into(), Value::Text("/a\"b".into())),
            ]
            .into_iter()
            .collect(),
            trace: Some(Trace {
                trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
                span: 0x00f0_67aa_0ba9_02b7,
                origin: TraceOrigin::OnlyRequest,
            }),
            stream: Some(Stream::Stderr),
            marks: Marks { redacted: true, ..Marks::default() },
        }
    }

    /// A record that has nothing that can be missing.
    pub(crate) fn bare() -> Record<'static> {
        Record { observed: TIME, body: Value::Text("hi".into()), ..Record::default() }
    }

    pub(crate) fn resource() -> Vec<(String, String)> {
        [("service.name", "shop"), ("host.name", "node-1"), ("k8s.pod.name", "shop-1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    /// Both records above as a sink takes them, and the partition of the first.
    pub(crate) fn encoded(output: &Output) -> (Vec<Vec<u8>>, Arc<str>) {
        let mut encoder = Encoder::new(output);
        let origin = encoder.origin(&Facts { source: "app", resource: &resource() });
        let partition = encoder.partition(&record(), &origin);
        let records = [record(), bare()].map(|record| {
            let mut out = Vec::new();
            encoder.encode(&record, &origin, &mut out);
            out
        });
        (records.to_vec(), partition)
    }

    fn named(names: &[&str]) -> Attributes<'static> {
        let value = |index: usize| Value::Json(index.to_string().into());
        names.iter().enumerate().map(|(at, name)| (name.to_string().into(), value(at))).collect()
    }

    #[test]
    fn of_attributes_with_one_name_the_last_counts() {
        let many: Vec<String> = (0..100).map(|number| format!("name{}", number % 60)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for names in [&["a", "b", "a"][..], &["a"], &[], &["ab", "ba", "aa", "ab", "aa"], &many] {
            let all = named(names);
            let counted: Vec<_> = attributes(&all).collect();
            let mut seen = std::collections::HashSet::new();
            assert!(counted.iter().all(|(name, _)| seen.insert(*name)), "{counted:?}");
            assert_eq!(seen, names.iter().copied().collect());
            for (name, value) in counted {
                let last = names.iter().rposition(|known| *known == name).unwrap();
                assert_eq!(value, &Value::Json(last.to_string().into()), "{name}");
            }
        }
    }
}
