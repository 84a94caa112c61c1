//! Names that differ with the record: `logs-{service.name}-%Y.%m.%d`.

use super::field::Field;
use super::{Origin, happened, time};
use crate::record::Record;

/// In place of a value that a record does not have.
pub(super) const NONE: &str = "none";

/// A name with parts that are filled in.
#[derive(Debug)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Time(String),
    Field(Field),
}

impl Template {
    /// What stands in braces is a field; what is left is a format of strftime, or text where it is
    /// not a valid one.
    pub(super) fn new(template: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((before, field, after)) = rest.split_once('{').and_then(|(before, rest)| {
            rest.split_once('}').map(|(field, after)| (before, field, after))
        }) {
            parts.extend(part(before));
            parts.push(Part::Field(Field::new(field)));
            rest = after;
        }
        parts.extend(part(rest));
        Self(parts)
    }

    /// Whether only the time makes names differ.
    pub(super) fn is_by_time(&self) -> bool {
        !self.0.iter().any(|part| matches!(part, Part::Field(_)))
    }

    /// Appends the name for a record.
    pub(super) fn fill(&self, record: &Record<'_>, origin: &Origin, name: &mut String) {
        for part in &self.0 {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Time(format) => {
                    name.push_str(&time::strftime(format, happened(record)).unwrap_or_default());
                }
                Part::Field(field) => {
                    name.push_str(field.of(record, origin).as_deref().unwrap_or(NONE));
                }
            }
        }
    }
}

fn part(text: &str) -> Option<Part> {
    let is_time = text.contains('%') && time::strftime(text, 0).is_some();
    let part = if is_time { Part::Time(text.to_owned()) } else { Part::Text(text.to_owned()) };
    (!text.is_empty()).then_some(part)
}
