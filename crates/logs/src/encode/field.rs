//! Which part of a record a name means, where a sink sorts by it.

use std::borrow::Cow;

use super::{Origin, text};
use crate::record::{Record, Stream, Value};

/// A part of a record, or of where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Severity,
    Source,
    Stream,
    /// `attributes.NAME`: of the record alone.
    Attribute(String),
    /// Any other name: of the resource, else of the record.
    Named(String),
}

impl Field {
    pub(super) fn new(name: &str) -> Self {
        match (name, name.strip_prefix("attributes.")) {
            ("severity", _) => Self::Severity,
            ("source", _) => Self::Source,
            ("stream", _) => Self::Stream,
            (_, Some(name)) => Self::Attribute(name.to_owned()),
            (name, None) => Self::Named(name.to_owned()),
        }
    }

    /// Its text; `None` where the record has none, or it is empty.
    pub(super) fn of<'a>(
        &self,
        record: &'a Record<'_>,
        origin: &'a Origin,
    ) -> Option<Cow<'a, str>> {
        let text = match self {
            Self::Severity => Some(severity(record).into()),
            Self::Source => Some(Cow::Borrowed(origin.source.as_str())),
            Self::Stream => record.stream.map(|stream| stream_name(stream).into()),
            Self::Attribute(name) => attribute(record, name),
            Self::Named(name) => match origin.resource(name) {
                Some(value) => Some(value.into()),
                None => attribute(record, name),
            },
        };
        text.filter(|text| !text.is_empty())
    }
}

/// The word of a severity: that of the record, else the one of its number.
pub(super) fn severity<'a>(record: &'a Record<'_>) -> &'a str {
    match &record.severity.text {
        Some(text) => text,
        None => match record.severity.number {
            1..=4 => "trace",
            5..=8 => "debug",
            9..=12 => "info",
            13..=16 => "warn",
            17..=20 => "error",
            21..=24 => "fatal",
            _ => "",
        },
    }
}

/// `stdout` or `stderr`.
pub(super) const fn stream_name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

/// An attribute as text; a dot in the name may lead into an object.
fn attribute<'a>(record: &'a Record<'_>, name: &str) -> Option<Cow<'a, str>> {
    let found = |name: &str| {
        let mut attributes = record.attributes.iter().rev();
        attributes.find(|(known, _)| known == name).map(|(_, value)| value)
    };
    if let Some(value) = found(name) {
        return Some(text::plain(value));
    }
    let (outer, inner) = name.split_once('.')?;
    let Value::Json(written) = found(outer)? else { return None };
    let object: serde_json::Value = serde_json::from_str(written).ok()?;
    // What RFC 6901 gives a meaning of its own.
    let path = inner.replace('~', "~0").replace('/', "~1").replace('.', "/");
    match object.pointer(&format!("/{path}"))? {
        serde_json::Value::String(text) => Some(Cow::Owned(text.clone())),
        other => Some(Cow::Owned(other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Facts, tests::record};
    use super::*;

    #[test]
    fn a_name_is_of_the_resource_before_it_is_of_the_record() {
        let resource = [("service.name".to_owned(), "shop".to_owned())];
        let origin = Origin::new(&Facts { source: "app", resource: &resource });
        let record = record();
        for (name, expected) in [
            ("severity", Some("INFO")),
            ("source", Some("app")),
            ("stream", Some("stderr")),
            ("service.name", Some("shop")),
            ("attributes.service.name", None),
            ("status", Some("200")),
            ("attributes.status", Some("200")),
            ("user.id", Some("7")),
            ("user.none", None),
            ("path", Some("/a\"b")),
            ("none", None),
        ] {
            assert_eq!(Field::new(name).of(&record, &origin).as_deref(), expected, "{name}");
        }
    }
}
