//! Values that are one piece of text in the file, or on the command line, and a checked type in
//! the program: each is parsed in one place, by one rule.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::shown::has_login;

pub use address::{EndpointAddress, ListenAddress, UpstreamUrl};
pub use delivery::{ApiAddress, FileMode, FileName, Passage, SignalName};
pub use file::{Expression, FileGlob, FilePath, Line};
pub use http::{HeaderName, HeaderValue, HostPattern, Method, UrlPath};
pub use log::{LogForm, LogTarget};
pub use measure::{Period, Size, Timeout};
pub use name::Name;
pub use record::{FieldPath, Label, Share, SyncTime};
pub(super) use remote::SinkKind;
pub use remote::{LogSender, LogSink, ServerUrl};

mod address;
mod delivery;
mod file;
mod http;
mod log;
mod measure;
mod name;
mod record;
mod remote;

/// Why a piece of text is not the value it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}{}", hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
pub struct Fault {
    /// The rule that it breaks, with the text itself.
    pub rule: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Fault {
    /// A broken rule.
    pub fn new(rule: impl Into<String>) -> Self {
        Self { rule: rule.into(), hint: None }
    }

    /// Says what to write instead.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// A kind of text value.
pub(super) trait Text: fmt::Display + Sized {
    /// What it is called in errors, in the schema (`x-text`) and in the reference.
    const KIND: &'static str;
    /// How one looks.
    const EXAMPLE: &'static str;
    /// A regular expression for editors, a little wider than the rule where that keeps it short.
    const PATTERN: &'static str;

    /// Whether it may have more than one line.
    const LINES: bool = false;

    /// Reads one; without [`Text::LINES`] there is no control character in `text`.
    fn read(text: &str) -> Result<Self, Fault>;

    /// The amount in its smallest unit, where it has one, to compare with `x-min` and `x-max`.
    fn amount(&self) -> Option<u64> {
        None
    }
}

/// Reads a text value by its rule. Control characters are refused in all of them: they break
/// heads, log lines and terminals.
pub(super) fn read<T: Text>(text: &str) -> Result<T, Fault> {
    let allowed = |c: char| T::LINES && (c == '\n' || c == '\t');
    match text.chars().find(|c| c.is_control() && !allowed(*c)) {
        Some(c) => Err(Fault::new(format!("a {} has no control characters, found {c:?}", T::KIND))),
        None => T::read(text),
    }
}

/// The fault of `off` that went through a tool of YAML 1.1 on its way here, as Helm charts do.
fn was_off(text: &str, kind: &str) -> Result<(), Fault> {
    if text == "false" {
        return Err(Fault::new(format!("false is not a {kind}"))
            .hint("write off; in quotes, \"off\", where a tool turns the bare word into false"));
    }
    Ok(())
}

/// Refuses a user or a password in an address.
fn no_login(text: &str) -> Result<(), Fault> {
    match has_login(text) {
        false => Ok(()),
        true => Err(Fault::new(
            "a user or password in an address would stand in logs and lists of processes",
        )
        .hint("leave it out: credentials have keys of their own")),
    }
}

/// What the schema says of a kind, with the function that checks it.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) example: &'static str,
    /// The amount, if the kind has one, or why the text is wrong.
    pub(super) check: fn(&str) -> Result<Option<u64>, Fault>,
}

macro_rules! text_types {
    ($($type:ty),+ $(,)?) => {
        /// Every kind of text value.
        const KINDS: &[Kind] = &[$(Kind {
            name: <$type>::KIND,
            example: <$type>::EXAMPLE,
            check: |text| read::<$type>(text).map(|value| value.amount()),
        }),+];

        $(
            impl FromStr for $type {
                type Err = Fault;
                fn from_str(text: &str) -> Result<Self, Fault> {
                    read(text)
                }
            }

            impl Serialize for $type {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }

            impl<'de> Deserialize<'de> for $type {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    read(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
                }
            }

            impl JsonSchema for $type {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($type).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({
                        "type": "string",
                        "x-text": Self::KIND,
                        "pattern": Self::PATTERN,
                        "examples": [Self::EXAMPLE],
                    })
                }
            }
        )+
    };
}

text_types!(
    Period,
    Timeout,
    Size,
    ListenAddress,
    EndpointAddress,
    HostPattern,
    UrlPath,
    Method,
    HeaderName,
    HeaderValue,
    LogTarget,
    LogForm,
    Name,
    FilePath,
    FileGlob,
    Expression,
    Line,
    Label,
    FieldPath,
    Share,
    SyncTime,
    ServerUrl,
    LogSink,
    LogSender,
    FileName,
    FileMode,
    Passage,
    SignalName,
    ApiAddress,
);

/// The kind of this name.
pub(super) fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests;
