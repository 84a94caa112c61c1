//! JSON of a secret as a tree: numbers to the last digit, and texts that are overwritten when they go.

use std::collections::BTreeMap;

use pillion_runtime::board::Secret;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// How deep lists and objects may be nested.
pub(crate) const DEEPEST: usize = 128;

/// The most texts of one value that are looked for in logs: each is looked for in each line.
const MOST_TEXTS: usize = 1_000;

/// A value of JSON (RFC 8259).
#[derive(PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// As it was written.
    Number(Zeroizing<String>),
    Text(Zeroizing<String>),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(Zeroizing::new(text.to_owned()))
    }

    /// `None`: it is no JSON, or nested deeper than [`DEEPEST`].
    pub(crate) fn read(text: &str) -> Option<Self> {
        Self::below(parsed(text)?, DEEPEST)
    }

    /// As [`Json::read`], for a text that somebody else wrote.
    ///
    /// # Errors
    /// What is wrong with it, and where; never what it says.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let whole: Result<IgnoredAny, _> = serde_json::from_str(text);
        let place = |error: serde_json::Error| {
            format!("not JSON at line {}, column {}", error.line(), error.column())
        };
        whole.map_err(place)?;
        Self::read(text).ok_or_else(|| format!("JSON that is nested deeper than {DEEPEST}"))
    }

    /// `room` is how much deeper it may be nested.
    fn below(raw: &RawValue, room: usize) -> Option<Self> {
        let text = raw.get();
        Some(match text.as_bytes().first()? {
            b'n' => Self::Null,
            b't' | b'f' => Self::Bool(text == "true"),
            b'"' => Self::Text(Zeroizing::new(parsed(text)?)),
            b'[' => {
                let (room, items) = (room.checked_sub(1)?, parsed::<Vec<&RawValue>>(text)?);
                let items = items.into_iter().map(|item| Self::below(item, room));
                Self::List(items.collect::<Option<_>>()?)
            }
            b'{' => {
                let room = room.checked_sub(1)?;
                let entries = parsed::<BTreeMap<String, &RawValue>>(text)?;
                let entries =
                    entries.into_iter().map(|(key, value)| Some((key, Self::below(value, room)?)));
                Self::Object(entries.collect::<Option<_>>()?)
            }
            _ => Self::Number(Zeroizing::new(text.to_owned())),
        })
    }

    /// Adds each text and number that is nested in it, up to [`MOST_TEXTS`].
    pub(crate) fn texts(&self, texts: &mut Vec<Secret>) {
        match self {
            Self::Null | Self::Bool(_) => {}
            Self::Number(_) | Self::Text(_) if texts.len() >= MOST_TEXTS => {}
            Self::Number(text) | Self::Text(text) => texts.push(Secret::from(text.as_str())),
            Self::List(items) => items.iter().for_each(|item| item.texts(texts)),
            Self::Object(entries) => entries.values().for_each(|value| value.texts(texts)),
        }
    }
}

fn parsed<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn depth_is_bounded() {
        assert!(Json::read(&nested(DEEPEST)).is_some());
        assert!(Json::read(&nested(DEEPEST + 1)).is_none());
        assert!(Json::read(&nested(1_000_000)).is_none(), "and the stack is not used up");
        let objects = format!("{}1{}", r#"{"a":"#.repeat(DEEPEST + 1), "}".repeat(DEEPEST + 1));
        assert!(Json::read(&objects).is_none());
    }

    #[test]
    fn what_is_no_json_is_nothing() {
        for text in ["", "x", "[1", "1 2", "{1:2}", "\"a", "nul"] {
            assert!(Json::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_texts_of_one_value_are_bounded() {
        let found = |count: usize| {
            let mut texts = Vec::new();
            Json::read(&format!("[{}0]", "1,".repeat(count - 1))).unwrap().texts(&mut texts);
            texts.len()
        };
        assert_eq!((found(MOST_TEXTS), found(MOST_TEXTS + 1)), (MOST_TEXTS, MOST_TEXTS));
    }

    #[test]
    fn every_nested_text_and_number_is_found() {
        let json =
            Json::read(r#" {"a":[1.50,"x\n",null,true],"b":{"c":"y"},"d":12345678901234567890} "#);
        let mut texts = Vec::new();
        json.unwrap().texts(&mut texts);
        let texts: Vec<_> = texts.iter().filter_map(Secret::reveal_text).collect();
        assert_eq!(texts, ["1.50", "x\n", "y", "12345678901234567890"]);
    }
}
