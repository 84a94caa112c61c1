//! What a template computes with.

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroizing;

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
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(entries) => !entries.is_empty(),
        }
    }

    /// A text that holds a JSON list or object becomes one: data of secrets that is nested comes as
    /// its JSON text. Anything else stays what it is.
    pub(super) fn opened(&self) -> Self {
        match self {
            Self::Text(text) if text.trim_start().starts_with(['{', '[']) => {
                parse_json(text).unwrap_or_else(|_| self.clone())
            }
            other => other.clone(),
        }
    }

    /// The value of a key; [`Self::Nil`] where the map has none.
    pub(super) fn field(&self, name: &str) -> Result<Self, Fault> {
        match self.opened() {
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
            Self::Text(text) => out.push(text),
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
    let parsed: serde_json::Value = serde_json::from_str(text)
        .map_err(|e| Fault::new(format!("not JSON at line {}, column {}", e.line(), e.column())))?;
    Ok(from_json(parsed))
}

fn from_json(json: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => Value::Float(number.as_f64().unwrap_or(0.0)),
        Json::String(text) => Value::text(text),
        Json::Array(items) => Value::list(items.into_iter().map(from_json)),
        Json::Object(entries) => {
            Value::map(entries.into_iter().map(|(key, value)| (key, from_json(value))))
        }
    }
}
