//! JSON, read and written, and YAML, written.

use super::super::value::{float, parse_json};
use super::{Call, Fault, Function, Value, function};
use crate::template::output::Output;

pub(super) const FUNCTIONS: &[Function] = &[
    function("parseJSON", 1, 1, parse),
    function("sprig_fromJson", 1, 1, parse),
    function("toJSON", 1, 1, |call| json(call, Style { html: true, pretty: false })),
    function("sprig_toJson", 1, 1, |call| json(call, Style { html: true, pretty: false })),
    function("toJSONPretty", 1, 1, |call| json(call, Style { html: true, pretty: true })),
    function("toUnescapedJSON", 1, 1, |call| json(call, Style { html: false, pretty: false })),
    function("toUnescapedJSONPretty", 1, 1, |call| json(call, Style { html: false, pretty: true })),
    function("toYAML", 1, 1, |call| {
        let mut out = Output::default();
        yaml(call.value(0), 0, &mut out)?;
        Ok(Value::text(out.into_text().trim()))
    }),
];

fn parse(call: &Call<'_>) -> Result<Value, Fault> {
    match call.text(0)? {
        "" => Ok(Value::map([])),
        text => parse_json(text).map_err(|fault| call.fault(fault.message)),
    }
}

#[derive(Clone, Copy)]
struct Style {
    /// Whether `<`, `>` and `&` are escaped, as Go does.
    html: bool,
    pretty: bool,
}

fn json(call: &Call<'_>, style: Style) -> Result<Value, Fault> {
    let mut out = Output::default();
    write(call.value(0), style, 0, &mut out)?;
    Ok(out.into())
}

fn write(value: &Value, style: Style, depth: usize, out: &mut Output) -> Result<(), Fault> {
    match value {
        Value::Nil => out.push("null"),
        Value::Bool(value) => out.push(if *value { "true" } else { "false" }),
        Value::Int(number) => out.push(&number.to_string()),
        Value::Float(number) => out.push(&number_text(*number)),
        Value::Number(text) => out.push(text),
        Value::Text(text) => quoted(text, style.html, out),
        Value::List(items) if items.is_empty() => out.push("[]"),
        Value::Map(entries) if entries.is_empty() => out.push("{}"),
        Value::List(items) => {
            out.push("[")?;
            for (at, item) in items.iter().enumerate() {
                separate(at, style, depth, out)?;
                write(item, style, depth + 1, out)?;
            }
            line(style, depth, out)?;
            out.push("]")
        }
        Value::Map(entries) => {
            out.push("{")?;
            for (at, (key, value)) in entries.iter().enumerate() {
                separate(at, style, depth, out)?;
                quoted(key, style.html, out)?;
                out.push(if style.pretty { ": " } else { ":" })?;
                write(value, style, depth + 1, out)?;
            }
            line(style, depth, out)?;
            out.push("}")
        }
    }
}

fn separate(at: usize, style: Style, depth: usize, out: &mut Output) -> Result<(), Fault> {
    out.push(if at > 0 { "," } else { "" })?;
    line(style, depth + 1, out)
}

fn line(style: Style, depth: usize, out: &mut Output) -> Result<(), Fault> {
    if !style.pretty {
        return Ok(());
    }
    out.push("\n")?;
    out.push_repeated("  ", depth)
}

/// A number as Go's JSON has it: digits up to 21 places, then an exponent.
fn number_text(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        return format!("{number:e}").replace('e', if size < 1.0 { "e" } else { "e+" });
    }
    format!("{number}")
}

fn quoted(text: &str, html: bool, out: &mut Output) -> Result<(), Fault> {
    out.push("\"")?;
    for letter in text.chars() {
        match letter {
            '"' => out.push("\\\"")?,
            '\\' => out.push("\\\\")?,
            '\n' => out.push("\\n")?,
            '\r' => out.push("\\r")?,
            '\t' => out.push("\\t")?,
            '\x08' => out.push("\\b")?,
            '\x0c' => out.push("\\f")?,
            '<' | '>' | '&' if html => out.push(&format!("\\u{:04x}", u32::from(letter)))?,
            '\u{2028}' | '\u{2029}' => out.push(&format!("\\u{:04x}", u32::from(letter)))?,
            _ if letter < ' ' => out.push(&format!("\\u{:04x}", u32::from(letter)))?,
            _ => out.push(letter.encode_utf8(&mut [0; 4]))?,
        }
    }
    out.push("\"")
}

/// Block style, with strings in double quotes where they are not plain words.
fn yaml(value: &Value, depth: usize, out: &mut Output) -> Result<(), Fault> {
    match value {
        Value::List(items) if !items.is_empty() => {
            for item in items.iter() {
                out.push_repeated("  ", depth)?;
                out.push("-")?;
                yaml_below(item, depth, out)?;
            }
            Ok(())
        }
        Value::Map(entries) if !entries.is_empty() => {
            for (key, value) in entries.iter() {
                out.push_repeated("  ", depth)?;
                yaml_text(key, out)?;
                out.push(":")?;
                yaml_below(value, depth, out)?;
            }
            Ok(())
        }
        Value::Float(number) => {
            out.push(&float(*number, None))?;
            out.push("\n")
        }
        Value::Number(text) if text.parse::<i64>().is_err() => {
            out.push(&float(text.parse().unwrap_or(0.0), None))?;
            out.push("\n")
        }
        Value::Text(text) => {
            yaml_text(text, out)?;
            out.push("\n")
        }
        Value::Nil
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Number(_)
        | Value::List(_)
        | Value::Map(_) => {
            write(value, Style { html: false, pretty: false }, 0, out)?;
            out.push("\n")
        }
    }
}

fn yaml_below(value: &Value, depth: usize, out: &mut Output) -> Result<(), Fault> {
    let is_block = matches!(value, Value::List(_) | Value::Map(_)) && value.is_true();
    out.push(if is_block { "\n" } else { " " })?;
    yaml(value, depth + 1, out)
}

fn yaml_text(text: &str, out: &mut Output) -> Result<(), Fault> {
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !words.contains(&text.to_ascii_lowercase().as_str());
    if is_plain { out.push(text) } else { quoted(text, false, out) }
}
