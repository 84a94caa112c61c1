//! Conditions, compiled: whether something holds for a record.

use std::borrow::Cow;

use pillion_model::logs::{Check, Condition, Field, Test};
use regex::Regex;

use crate::encode::{severity, stream_name};
use crate::record::Record;

/// A condition that is ready to be asked.
#[derive(Debug)]
pub struct Filter(Vec<Compiled>);

#[derive(Debug)]
struct Compiled {
    test: Test,
    /// Of a test that has an expression.
    expression: Option<Regex>,
}

impl Filter {
    /// Compiles a condition.
    ///
    /// # Errors
    /// An expression is none, or is too large.
    pub fn new(condition: &Condition) -> Result<Self, regex::Error> {
        let compile = |test: &Test| {
            let expression = match &test.check {
                Check::Matches(expression) => Some(Regex::new(expression)?),
                Check::Exists
                | Check::Equals(_)
                | Check::Prefix(_)
                | Check::Contains(_)
                | Check::AtLeast(_) => None,
            };
            Ok(Compiled { test: test.clone(), expression })
        };
        condition.all.iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// Whether all of it holds for a record of this source.
    #[must_use]
    pub fn holds(&self, record: &Record<'_>, source: &str) -> bool {
        self.0.iter().all(|compiled| compiled.holds(record, source) != compiled.test.negated)
    }
}

impl Compiled {
    /// What is not there is equal to nothing, and below every severity.
    fn holds(&self, record: &Record<'_>, source: &str) -> bool {
        if let Check::AtLeast(number) = &self.test.check {
            return record.severity.number >= *number;
        }
        let Some(text) = field(&self.test.field, record, source) else { return false };
        match &self.test.check {
            Check::Exists => true,
            Check::Equals(other) => *text == **other,
            Check::Prefix(prefix) => text.starts_with(&**prefix),
            Check::Contains(part) => {
                memchr::memmem::find(text.as_bytes(), part.as_bytes()).is_some()
            }
            Check::Matches(_) => {
                self.expression.as_ref().is_some_and(|found| found.is_match(&text))
            }
            Check::AtLeast(number) => record.severity.number >= *number,
        }
    }
}

/// The text of a field; `None` where the record does not have it.
pub(crate) fn field<'r>(
    field: &Field,
    record: &'r Record<'_>,
    source: &'r str,
) -> Option<Cow<'r, str>> {
    match field {
        Field::Body => Some(record.body.text()),
        Field::Severity => {
            Some(severity(record)).filter(|word| !word.is_empty()).map(Cow::Borrowed)
        }
        Field::Source => Some(Cow::Borrowed(source)),
        Field::Stream => record.stream.map(|stream| Cow::Borrowed(stream_name(stream))),
        Field::Attribute(name) => record.attribute(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Severity, Stream, Value};

    fn record() -> Record<'static> {
        let json = |text| Value::Json(Cow::Borrowed(text));
        Record {
            body: Value::Text("GET /healthz 200".into()),
            severity: Severity { number: 17, text: None },
            stream: Some(Stream::Stderr),
            attributes: [
                ("status", json("200")),
                ("path", json("\"/a\\\"b\"")),
                ("user", json(r#"{"id":7,"tags":["x"],"a.b":"c"}"#)),
                ("user.name", json("\"outer\"")),
                ("twice", json("1")),
                ("twice", json("2")),
                ("nothing", json("null")),
            ]
            .map(|(name, value)| (Cow::Borrowed(name), value))
            .into_iter()
            .collect(),
            ..Record::default()
        }
    }

    fn holds(field: Field, check: Check, negated: bool) -> bool {
        let condition = Condition { all: vec![Test { field, check, negated }] };
        Filter::new(&condition).unwrap().holds(&record(), "web")
    }

    #[test]
    fn a_test_looks_at_its_field() {
        let attribute = |name: &str| Field::Attribute(name.to_owned());
        let equals = |text: &str| Check::Equals(text.to_owned());
        for (field, check, expected) in [
            (Field::Body, Check::Contains("/healthz".into()), true),
            (Field::Body, Check::Prefix("/healthz".into()), false),
            (Field::Body, Check::Prefix("GET ".into()), true),
            (Field::Body, Check::Matches(r" 2\d\d$".into()), true),
            (Field::Severity, equals("error"), true),
            (Field::Severity, Check::AtLeast(17), true),
            (Field::Severity, Check::AtLeast(18), false),
            (Field::Source, equals("web"), true),
            (Field::Stream, equals("stderr"), true),
            (attribute("status"), equals("200"), true),
            (attribute("path"), equals("/a\"b"), true),
            (attribute("user.id"), equals("7"), true),
            (attribute("user.a.b"), equals("c"), true),
            (attribute("user.name"), equals("outer"), true),
            (attribute("user.tags"), equals("[\"x\"]"), true),
            (attribute("user.none"), Check::Exists, false),
            (attribute("status.x"), Check::Exists, false),
            (attribute("twice"), equals("2"), true),
            (attribute("nothing"), Check::Exists, true),
            (attribute("none"), Check::Matches("".into()), false),
        ] {
            assert_eq!(holds(field.clone(), check.clone(), false), expected, "{field:?} {check:?}");
            assert_eq!(
                holds(field.clone(), check.clone(), true),
                !expected,
                "not {field:?} {check:?}"
            );
        }
    }

    #[test]
    fn all_tests_have_to_hold_and_none_always_does() {
        let test = |check| Test { field: Field::Body, check, negated: false };
        let both = [Check::Prefix("GET".into()), Check::Prefix("POST".into())].map(test);
        assert!(!Filter::new(&Condition { all: both.to_vec() }).unwrap().holds(&record(), ""));
        assert!(Filter::new(&Condition::default()).unwrap().holds(&record(), ""));
        let bad = Condition { all: vec![test(Check::Matches("(".into()))] };
        Filter::new(&bad).unwrap_err();
    }
}
