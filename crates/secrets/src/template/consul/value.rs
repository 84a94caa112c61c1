//! What a template computes with.

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::fetched::{Datum, Json};
use crate::template::fault::Fault;
use crate::template::output::Output;

/// A value of Go's `text/template`, as far as secrets have such.
#[derive(Clone, PartialEq)]
pub(super) enum Value {
    /// `nil`, and the key that a map does not have.
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// A number of a secret, as the server wrote it. To Go it is of the kind of texts.
    Number(Arc<Zeroizing<String>>),
    Text(Arc<Zeroizing<String>>),
    List(Arc<[Value]>),
    Map(Arc<BTreeMap<String, Value>>),
}

impl Value {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(Arc::new(Zeroizing::new(text.into())))
    }

    pub(super) fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::List(items.into_iter().collect())
    }

    pub(super) fn map(entries: impl IntoIterator<Item = (String, Self)>) -> Self {
        Self::Map(Arc::new(entries.into_iter().collect()))
    }

    /// What it is called in messages, which never show it.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "a truth value",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a fraction",
            Self::Number(_) => "a number of a secret (make it a text with printf \"%s\")",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// Whether `if` takes it as true: what is not empty and not zero.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Number(_) => true,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(entries) => !entries.is_empty(),
        }
    }

    /// A value of a secret.
    pub(super) fn of(datum: &Datum) -> Self {
        from_json(datum.json(), |number| Self::Number(Arc::new(number)))
    }

    /// The letters of what Go takes as a text.
    pub(super) fn letters(&self) -> Option<&str> {
        match self {
            Self::Number(text) | Self::Text(text) => Some(text),
            Self::Nil
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::List(_)
            | Self::Map(_) => None,
        }
    }

    /// The value of a key; [`Self::Nil`] where the map has none.
    pub(super) fn field(&self, name: &str) -> Result<Self, Fault> {
        match self {
            Self::Map(entries) => Ok(entries.get(name).cloned().unwrap_or(Self::Nil)),
            Self::Nil => Ok(Self::Nil),
            other => Err(Fault::new(format!(".{name} is asked of {}, not of a map", other.kind()))),
        }
    }

    /// Writes it as Go's `%v` does. `nil` as `nil` says.
    pub(super) fn write(&self, out: &mut Output, nil: &str) -> Result<(), Fault> {
        match self {
            Self::Nil => out.push(nil),
            Self::Bool(value) => out.push(if *value { "true" } else { "false" }),
            Self::Int(number) => out.push(&number.to_string()),
            Self::Float(number) => out.push(&float(*number, None)),
            Self::Number(text) | Self::Text(text) => out.push(text),
            Self::List(items) => {
                out.push("[")?;
                for (at, item) in items.iter().enumerate() {
                    out.push(if at > 0 { " " } else { "" })?;
                    item.write(out, nil)?;
                }
                out.push("]")
            }
            Self::Map(entries) => {
                out.push("map[")?;
                for (at, (key, value)) in entries.iter().enumerate() {
                    out.push(if at > 0 { " " } else { "" })?;
                    out.push(key)?;
                    out.push(":")?;
                    value.write(out, nil)?;
                }
                out.push("]")
            }
        }
    }
}

impl From<Output> for Value {
    fn from(output: Output) -> Self {
        Self::Text(Arc::new(output.into_text()))
    }
}

/// A number as Go's `%g` writes it, with so many significant digits, or as many as it needs.
pub(super) fn float(number: f64, precision: Option<usize>) -> String {
    if !number.is_finite() {
        return if number.is_nan() {
            "NaN"
        } else if number > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        }
        .into();
    }
    let scientific = match precision {
        Some(digits) => format!("{number:.*e}", digits.max(1) - 1),
        None => format!("{number:e}"),
    };
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = if digits.contains('.') && precision.is_some() {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        digits
    };
    let count = digits.bytes().filter(u8::is_ascii_digit).count();
    let limit = match precision {
        Some(precision) => i32::try_from(precision.max(1)).unwrap_or(i32::MAX),
        None => 6,
    };
    if exponent < -4 || exponent >= limit {
        return format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    let places = i32::try_from(count).unwrap_or(0) - 1 - exponent;
    format!("{number:.*}", usize::try_from(places).unwrap_or(0))
}

/// Reads JSON; every number is a fraction, as it is to Go.
///
/// # Errors
/// It is not JSON. The message names the place, not the text.
pub(super) fn parse_json(text: &str) -> Result<Value, Fault> {
    let json = Json::parse(text).map_err(Fault::new)?;
    Ok(from_json(json, |number| Value::Float(number.parse().unwrap_or(0.0))))
}

fn from_json(json: Json, number: fn(Zeroizing<String>) -> Value) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(text) => number(text),
        Json::Text(text) => Value::Text(Arc::new(text)),
        Json::List(items) => Value::list(items.into_iter().map(|item| from_json(item, number))),
        Json::Object(entries) => {
            Value::map(entries.into_iter().map(|(key, value)| (key, from_json(value, number))))
        }
    }
}
