//! Log records: fields, labels, shares, and when bytes are safe.

use std::fmt;
use std::time::Duration;

use super::measure::Period;
use super::{Fault, Text};
use crate::logs::{Field, Sync};

/// The longest name of a label or attribute.
const LONGEST: usize = 256;

/// The name of an attribute or label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);

impl Label {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Text for Label {
    const KIND: &'static str = "attribute name";
    const EXAMPLE: &'static str = "service.name";
    const PATTERN: &'static str = r"^\S+$";

    fn read(text: &str) -> Result<Self, Fault> {
        if text.is_empty() || text.len() > LONGEST {
            return Err(Fault::new(format!("an attribute name has 1 to {LONGEST} bytes")));
        }
        match text.contains(char::is_whitespace) {
            true => Err(Fault::new(format!("{text:?} is not an attribute name: it has a space"))),
            false => Ok(Self(text.to_owned())),
        }
    }
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath(pub Field);

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Field::Body => f.write_str("body"),
            Field::Severity => f.write_str("severity"),
            Field::Source => f.write_str("source"),
            Field::Stream => f.write_str("stream"),
            Field::Attribute(name) => write!(f, "attributes.{name}"),
        }
    }
}

impl Text for FieldPath {
    const KIND: &'static str = "field";
    const EXAMPLE: &'static str = "attributes.path";
    const PATTERN: &'static str = r"^(body|severity|source|stream|attributes\..+)$";

    fn read(text: &str) -> Result<Self, Fault> {
        Ok(Self(match (text, text.strip_prefix("attributes.")) {
            ("body", _) => Field::Body,
            ("severity", _) => Field::Severity,
            ("source", _) => Field::Source,
            ("stream", _) => Field::Stream,
            (_, Some(name)) if !name.is_empty() => Field::Attribute(name.to_owned()),
            _ => {
                return Err(Fault::new(format!("{text:?} is not a field of a record"))
                    .hint(format!("write body, severity, source, stream or attributes.{text}")));
            }
        }))
    }
}

/// A part of a whole, in per cent: above 0 and below 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl Share {
    /// Two thirds of a lease: what agents of this kind have always done.
    pub const RENEW_AT: Self = Self(67.0);

    /// The part: above 0 and below 1.
    pub fn ratio(self) -> f64 {
        self.0 / 100.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Text for Share {
    const KIND: &'static str = "share";
    const EXAMPLE: &'static str = "10%";
    const PATTERN: &'static str = r"^[0-9]+(\.[0-9]+)?%$";

    fn read(text: &str) -> Result<Self, Fault> {
        let fault = || {
            Fault::new(format!("{text:?} is not a share"))
                .hint("write a number above 0 and below 100 with a per cent sign, such as 10%")
        };
        let number = text.strip_suffix('%').ok_or_else(fault)?;
        let plain = number.chars().all(|c| c.is_ascii_digit() || c == '.');
        let percent: f64 = number.parse().map_err(|_| fault())?;
        match plain && percent > 0.0 && percent < 100.0 {
            true => Ok(Self(percent)),
            false => Err(fault()),
        }
    }
}

/// When written bytes are asked to be on the disk for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncTime(pub Sync);

impl Default for SyncTime {
    fn default() -> Self {
        Self(Sync::Every(Duration::from_millis(500)))
    }
}

impl fmt::Display for SyncTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Sync::Always => f.write_str("always"),
            Sync::Every(time) => {
                let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                Period::from_millis(millis).fmt(f)
            }
        }
    }
}

impl Text for SyncTime {
    const KIND: &'static str = "duration or always";
    const EXAMPLE: &'static str = "500ms";
    const PATTERN: &'static str = r"^(always|[0-9]+(\.[0-9]+)?(ms|s|m|h|d))$";

    fn read(text: &str) -> Result<Self, Fault> {
        match text {
            "always" => Ok(Self(Sync::Always)),
            _ => Period::read(text).map(|period| Self(Sync::Every(period.get()))),
        }
    }
}
