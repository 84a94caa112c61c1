//! Those of Sprig's functions that files of secrets use.

use super::compare::holds;
use super::format::quote;
use super::text::{indented, replaced, split, title, without_prefix, without_suffix};
use super::{ANY, Call, Fault, Function, Value, function};
use crate::template::output::Output;

pub(super) const FUNCTIONS: &[Function] = &[
    function("sprig_default", 1, 2, |call| {
        Ok(if call.last().is_true() { call.last() } else { call.value(0) }.clone())
    }),
    function("sprig_coalesce", 1, ANY, |call| {
        let found = call.arguments.iter().find(|value| value.is_true());
        Ok(found.cloned().unwrap_or(Value::Nil))
    }),
    function("sprig_empty", 1, 1, |call| Ok(Value::Bool(!call.value(0).is_true()))),
    function("sprig_ternary", 3, 3, |call| {
        Ok(call.value(usize::from(!call.value(2).is_true())).clone())
    }),
    function("sprig_lower", 1, 1, |call| Ok(Value::text(call.text(0)?.to_lowercase()))),
    function("sprig_upper", 1, 1, |call| Ok(Value::text(call.text(0)?.to_uppercase()))),
    function("sprig_title", 1, 1, |call| Ok(Value::text(title(call.text(0)?)))),
    function("sprig_trim", 1, 1, |call| Ok(Value::text(call.text(0)?.trim()))),
    function("sprig_trimPrefix", 2, 2, without_prefix),
    function("sprig_trimSuffix", 2, 2, without_suffix),
    function("sprig_hasPrefix", 2, 2, |call| {
        Ok(Value::Bool(call.text(1)?.starts_with(call.text(0)?)))
    }),
    function("sprig_hasSuffix", 2, 2, |call| {
        Ok(Value::Bool(call.text(1)?.ends_with(call.text(0)?)))
    }),
    function("sprig_contains", 2, 2, |call| Ok(Value::Bool(call.text(1)?.contains(call.text(0)?)))),
    function("sprig_has", 2, 2, |call| Ok(Value::Bool(holds(call.value(1), call.value(0))))),
    function("sprig_replace", 3, 3, |call| {
        replaced(call.text(2)?, call.text(0)?, call.text(1)?).map(Into::into)
    }),
    function("sprig_indent", 2, 2, |call| indented(call, false).map(Into::into)),
    function("sprig_nindent", 2, 2, |call| {
        let mut out = Output::default();
        out.push("\n")?;
        out.push(&indented(call, false)?.into_text())?;
        Ok(out.into())
    }),
    function("sprig_repeat", 2, 2, |call| {
        let mut out = Output::default();
        out.push_repeated(call.text(1)?, call.count(0)?)?;
        Ok(out.into())
    }),
    function("sprig_trunc", 2, 2, |call| {
        let letters = call.text(1)?.chars();
        let length = usize::try_from(call.int(0)?.unsigned_abs()).unwrap_or(usize::MAX);
        let skipped = letters.clone().count().saturating_sub(length);
        Ok(match call.int(0)? < 0 {
            true => Value::text(letters.skip(skipped).collect::<String>()),
            false => Value::text(letters.take(length).collect::<String>()),
        })
    }),
    function("sprig_quote", 1, ANY, |call| quoted(call, quote)),
    function("sprig_squote", 1, ANY, |call| quoted(call, |text| format!("'{text}'"))),
    function("sprig_toString", 1, 1, |call| shown(call.value(0))),
    function("sprig_splitList", 2, 2, |call| split(call, call.text(1)?)),
    function("sprig_join", 2, 2, |call| {
        let mut out = Output::default();
        for (at, item) in call.items(1)?.iter().enumerate() {
            out.push(if at > 0 { call.text(0)? } else { "" })?;
            item.write(&mut out, "")?;
        }
        Ok(out.into())
    }),
    function("sprig_list", 0, ANY, |call| Ok(Value::list(call.arguments.iter().cloned()))),
    function("sprig_first", 1, 1, |call| Ok(call.items(0)?.first().cloned().unwrap_or(Value::Nil))),
    function("sprig_last", 1, 1, |call| Ok(call.items(0)?.last().cloned().unwrap_or(Value::Nil))),
    function("sprig_dict", 0, ANY, |call| {
        let mut entries = Vec::new();
        for (at, pair) in call.arguments.chunks(2).enumerate() {
            let value = pair.get(1).cloned().unwrap_or_else(|| Value::text(""));
            entries.push((call.text(at * 2)?.to_owned(), value));
        }
        Ok(Value::map(entries))
    }),
    function("sprig_get", 2, 2, |call| {
        Ok(match call.value(0).field(call.text(1)?)? {
            Value::Nil => Value::text(""),
            value => value,
        })
    }),
    function("sprig_hasKey", 2, 2, |call| match call.value(0) {
        Value::Map(entries) => Ok(Value::Bool(entries.contains_key(call.text(1)?))),
        _ => Err(call.unfit(0, "a map")),
    }),
    function("sprig_keys", 1, 1, |call| match call.value(0) {
        Value::Map(entries) => call.list(entries.keys().map(|key| Value::text(key.as_str()))),
        _ => Err(call.unfit(0, "a map")),
    }),
];

fn shown(value: &Value) -> Result<Value, Fault> {
    let mut out = Output::default();
    value.write(&mut out, "<nil>")?;
    Ok(out.into())
}

fn quoted(call: &Call<'_>, quote: fn(&str) -> String) -> Result<Value, Fault> {
    let mut out = Output::default();
    for (at, value) in call.arguments.iter().filter(|value| **value != Value::Nil).enumerate() {
        out.push(if at > 0 { " " } else { "" })?;
        let mut text = Output::default();
        value.write(&mut text, "")?;
        out.push(&quote(&text.into_text()))?;
    }
    Ok(out.into())
}
