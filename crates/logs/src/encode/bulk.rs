//! The action lines of `_bulk`: which index, and an id that makes a repeated delivery harmless.

use super::template::{NONE, Template};
use super::{Origin, happened, text};
use crate::record::Record;

/// What an index name may not have, beside upper case and control characters.
const FORBIDDEN: [char; 12] = ['\\', '/', '*', '?', '"', '<', '>', '|', ' ', ',', '#', ':'];
/// The longest name, in bytes.
const LONGEST: usize = 255;
const NANOS: i64 = 1_000_000_000;

/// The template of an index or data stream.
#[derive(Debug)]
pub(super) struct Index {
    template: Template,
    /// Whether only the time makes names differ.
    is_by_time: bool,
    /// The second that `name` was made for, while `is_by_time`.
    second: Option<i64>,
    name: String,
}

impl Index {
    pub(super) fn new(template: &str) -> Self {
        let template = Template::new(template);
        Self { is_by_time: template.is_by_time(), template, second: None, name: String::new() }
    }

    /// Appends the line before the document. `create` is refused where the id is there already,
    /// which means that the record was delivered before.
    pub(super) fn action(&mut self, record: &Record<'_>, origin: &Origin, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"create\":{\"_index\":");
        text::quoted(self.name(record, origin), out);
        out.extend_from_slice(b",\"_id\":\"");
        text::hex(&record.id.to_be_bytes(), out);
        out.extend_from_slice(b"\"}}\n");
    }

    fn name(&mut self, record: &Record<'_>, origin: &Origin) -> &str {
        let second = Some(happened(record).div_euclid(NANOS));
        if !self.is_by_time || self.second != second {
            let mut name = String::new();
            self.template.fill(record, origin, &mut name);
            self.name = valid(&name);
            self.second = second;
        }
        &self.name
    }
}

/// The name with everything replaced that no index may have.
fn valid(name: &str) -> String {
    let is_bad = |c: char| c.is_control() || FORBIDDEN.contains(&c);
    let name: String = name
        .trim_start_matches(['-', '_', '+', '.'])
        .chars()
        .flat_map(char::to_lowercase)
        .map(|c| if is_bad(c) { '_' } else { c })
        .collect();
    match name.get(..name.floor_char_boundary(LONGEST)).unwrap_or_default() {
        "" => NONE.to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{TIME, bare, record, resource};
    use super::super::{Encoder, Facts, Origin};
    use super::*;

    fn origin() -> Origin {
        Origin::new(&Facts { source: "Web App", resource: &resource() })
    }

    #[test]
    fn an_index_is_named_by_time_and_fields() {
        let long = "x".repeat(300);
        for (template, expected) in [
            ("logs", "logs"),
            ("logs-%Y.%m.%d", "logs-2024.02.29"),
            ("logs-{service.name}-%Y", "logs-shop-2024"),
            ("{source}-{status}-{none}", "web_app-200-none"),
            ("{severity}", "info"),
            ("_x-%", "x-%"),
            ("a{b", "a{b"),
            ("-", "none"),
            (&long, &long[..255]),
        ] {
            assert_eq!(Index::new(template).name(&record(), &origin()), expected, "{template}");
        }
    }

    #[test]
    fn the_index_follows_the_time_of_the_record_and_not_of_the_day() {
        let mut index = Index::new("l-%Y.%m.%d");
        let later = Record { time: Some(TIME + 86_400 * NANOS), ..record() };
        for (record, expected) in
            [(record(), "l-2024.02.29"), (later, "l-2024.03.01"), (bare(), "l-2024.02.29")]
        {
            assert_eq!(index.name(&record, &origin()), expected);
        }
    }

    #[test]
    fn a_document_is_created_under_the_id_of_its_record() {
        let http = crate::sink::tests::http_output("http://localhost");
        let output = pillion_model::logs::OpenSearchOutput { http, index: "logs".into() };
        let output = pillion_model::logs::Output::OpenSearch(output);
        let mut encoder = Encoder::new(&output);
        let origin = encoder.origin(&Facts { source: "app", resource: &[] });
        let mut out = Vec::new();
        encoder.encode(&record(), &origin, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (action, document) = text.split_once('\n').unwrap();
        assert_eq!(
            action,
            r#"{"create":{"_index":"logs","_id":"0102030405060708090a0b0c0d0e0f10"}}"#
        );
        assert!(document.starts_with(r#"{"@timestamp":"2024-02-29T12:34:56.789012345Z","#));
        assert!(document.ends_with("}\n") && document.lines().count() == 1, "{document}");
    }
}
