//! Lines by a regular expression with named groups.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use regex::{CaptureLocations, Regex};

use super::{Unparsed, push, severity, time};
use crate::record::{Record, Severity, Value};

/// An expression, and what its groups mean.
#[derive(Debug)]
pub struct Pattern {
    regex: Regex,
    /// Number and name of each group that has a name.
    groups: Vec<(usize, Box<str>)>,
    /// The format of the time; RFC 3339 and numbers without it.
    time: Option<Arc<str>>,
    /// Where the groups were found, so that a line costs no allocation.
    found: RefCell<CaptureLocations>,
}

impl Pattern {
    /// Prepares an expression, and a format of strptime for its group `time`.
    ///
    /// # Errors
    /// The expression is none, or is too large.
    pub fn new(pattern: &str, time: Option<Arc<str>>) -> Result<Self, regex::Error> {
        let regex = Regex::new(pattern)?;
        let names = regex.capture_names().enumerate();
        let groups = names.filter_map(|(at, name)| Some((at, name?.into()))).collect();
        let found = RefCell::new(regex.capture_locations());
        Ok(Self { regex, groups, time, found })
    }

    /// Reads one text. `time`, `severity` and `message` have their meaning, if they can be read as
    /// such; the other groups become attributes. Without a group `message` the text stays the body.
    ///
    /// # Errors
    /// The expression does not match. The record is as it was.
    pub fn parse<'a>(&'a self, text: &'a str, record: &mut Record<'a>) -> Result<(), Unparsed> {
        let mut found = self.found.borrow_mut();
        if self.regex.captures_read(&mut found, text).is_none() {
            return Err(Unparsed("the expression does not match"));
        }
        for (at, name) in &self.groups {
            let Some((start, end)) = found.get(*at) else { continue };
            self.put(name, text.get(start..end).unwrap_or_default(), record);
        }
        Ok(())
    }

    fn put<'a>(&'a self, name: &'a str, value: &'a str, record: &mut Record<'a>) {
        match name {
            "message" => record.body = Value::Text(Cow::Borrowed(value)),
            "time" => match self.read_time(value, record) {
                Some(nanos) => record.time = Some(nanos),
                None => push(record, name, value),
            },
            "severity" => match severity::by_word(value).or_else(|| severity::by_level(value)) {
                Some(number) => {
                    record.severity = Severity { number, text: Some(Cow::Borrowed(value)) };
                }
                None => push(record, name, value),
            },
            _ => push(record, name, value),
        }
    }

    fn read_time(&self, value: &str, record: &Record<'_>) -> Option<i64> {
        match &self.time {
            Some(format) => time::by_format(format, value, record.observed),
            None => time::timestamp(value).or_else(|| time::epoch(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::{shown, shown_record};

    #[test]
    fn groups_have_their_meaning_or_become_attributes() {
        let cases = [
            (
                r"^(?<time>\S+) (?<severity>\w+) (?<message>.*)$",
                None,
                "2026-11-21T10:00:00Z warn it is",
                "@1795255200000000000 warn(13) body: it is",
            ),
            (
                r"^(?<time>[^|]+)\|(?<user>\w+)(?<gone>x)?",
                Some("%d.%m.%Y %H:%M:%S"),
                "21.11.2026 10:00:00|me",
                "@1795255200000000000 user=me",
            ),
            (r"(?<time>\d+) (?<severity>\w+)", None, "7 loud", "time=7 severity=loud"),
        ];
        for (pattern, format, text, expected) in cases {
            let pattern = Pattern::new(pattern, format.map(Arc::from)).unwrap();
            assert_eq!(
                shown(|text, record| pattern.parse(text, record), text).as_deref(),
                Ok(expected)
            );
        }
    }

    #[test]
    fn what_does_not_match_leaves_the_record() {
        let pattern = Pattern::new(r"^(?<n>\d+)$", None).unwrap();
        let mut record = Record::default();
        assert!(pattern.parse("none", &mut record).is_err());
        assert_eq!(shown_record(&record), "");
        assert!(Pattern::new("(", None).is_err());
    }

    /// The time stays linear where a backtracking engine needs more steps than there are atoms.
    #[test]
    fn a_hostile_line_takes_linear_time() {
        let pattern = Pattern::new(r"^(?<words>(a+)+)+$", None).unwrap();
        let line = format!("{}!", "a".repeat(100_000));
        assert!(pattern.parse(&line, &mut Record::default()).is_err());
    }
}
