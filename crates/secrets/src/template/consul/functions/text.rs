//! Cutting, joining and replacing text.

use regex::{Regex, RegexBuilder};

use super::{Call, Fault, Function, Value, function};
use crate::template::output::Output;

pub(super) const FUNCTIONS: &[Function] = &[
    function("toLower", 1, 1, |call| Ok(Value::text(call.text(0)?.to_lowercase()))),
    function("toUpper", 1, 1, |call| Ok(Value::text(call.text(0)?.to_uppercase()))),
    function("toTitle", 1, 1, |call| Ok(Value::text(title(call.text(0)?)))),
    function("trim", 2, 2, |call| {
        let cut = call.text(0)?;
        Ok(Value::text(call.text(1)?.trim_matches(|letter| cut.contains(letter))))
    }),
    function("trimSpace", 1, 1, |call| Ok(Value::text(call.text(0)?.trim()))),
    function("trimPrefix", 2, 2, without_prefix),
    function("trimSuffix", 2, 2, without_suffix),
    function("split", 2, 2, |call| match call.text(1)?.trim() {
        "" => Ok(Value::list([])),
        text => split(call, text),
    }),
    function("splitToMap", 3, 3, |call| {
        let text = call.text(2)?.trim();
        let pairs = text.split(call.text(0)?).filter(|_| !text.is_empty());
        let inner = call.text(1)?;
        Ok(Value::map(
            pairs
                .filter_map(|pair| pair.split_once(inner))
                .map(|(key, value)| (key.to_owned(), Value::text(value))),
        ))
    }),
    function("join", 2, 2, |call| {
        let mut out = Output::default();
        for (at, item) in call.items(1)?.iter().enumerate() {
            out.push(if at > 0 { call.text(0)? } else { "" })?;
            match item {
                Value::Text(text) => out.push(text)?,
                _ => return Err(call.fault("the items of the list must be texts")),
            }
        }
        Ok(out.into())
    }),
    function("replaceAll", 3, 3, |call| {
        replaced(call.text(2)?, call.text(0)?, call.text(1)?).map(Into::into)
    }),
    function("regexReplaceAll", 3, 3, |call| {
        let (pattern, text) = (pattern(call)?, call.text(2)?);
        let mut out = Output::default();
        let mut end = 0;
        for found in pattern.captures_iter(text) {
            let Some(whole) = found.get(0) else { continue };
            out.push(text.get(end..whole.start()).unwrap_or(""))?;
            let mut expanded = String::new();
            found.expand(call.text(1)?, &mut expanded);
            out.push(&expanded)?;
            end = whole.end();
        }
        out.push(text.get(end..).unwrap_or(""))?;
        Ok(out.into())
    }),
    function("regexMatch", 2, 2, |call| Ok(Value::Bool(pattern(call)?.is_match(call.text(1)?)))),
    function("indent", 2, 2, |call| indented(call, true).map(Into::into)),
];

fn pattern(call: &Call<'_>) -> Result<Regex, Fault> {
    let built = RegexBuilder::new(call.text(0)?).size_limit(1 << 20).build();
    built.map_err(|error| call.fault(error))
}

/// The first letter of each word in upper case; the others stay.
pub(super) fn title(text: &str) -> String {
    let mut before = ' ';
    let mut titled = String::with_capacity(text.len());
    for letter in text.chars() {
        match before.is_alphanumeric() || before == '\'' || before == '_' {
            true => titled.push(letter),
            false => titled.extend(letter.to_uppercase()),
        }
        before = letter;
    }
    titled
}

pub(super) fn without_prefix(call: &Call<'_>) -> Result<Value, Fault> {
    let text = call.text(1)?;
    Ok(Value::text(text.strip_prefix(call.text(0)?).unwrap_or(text)))
}

pub(super) fn without_suffix(call: &Call<'_>) -> Result<Value, Fault> {
    let text = call.text(1)?;
    Ok(Value::text(text.strip_suffix(call.text(0)?).unwrap_or(text)))
}

/// Parts `text` at the first argument; at each letter where that is empty.
pub(super) fn split(call: &Call<'_>, text: &str) -> Result<Value, Fault> {
    match call.text(0)? {
        "" => call.list(text.chars().map(Value::text)),
        separator => call.list(text.split(separator).map(Value::text)),
    }
}

pub(super) fn replaced(text: &str, old: &str, new: &str) -> Result<Output, Fault> {
    let mut out = Output::default();
    let mut end = 0;
    for (at, found) in text.match_indices(old) {
        out.push(text.get(end..at).unwrap_or(""))?;
        out.push(new)?;
        end = at + found.len();
    }
    out.push(text.get(end..).unwrap_or(""))?;
    Ok(out)
}

/// Puts so many spaces before each line; before empty ones only where `skips_empty` is false.
pub(super) fn indented(call: &Call<'_>, skips_empty: bool) -> Result<Output, Fault> {
    let spaces = call.count(0)?;
    let mut out = Output::default();
    for (at, line) in call.text(1)?.split('\n').enumerate() {
        out.push(if at > 0 { "\n" } else { "" })?;
        if !(skips_empty && line.is_empty()) {
            out.push_repeated(" ", spaces)?;
        }
        out.push(line)?;
    }
    Ok(out)
}
