//! `key=value key="quoted value"` pairs.

use std::borrow::Cow;

use memchr::memchr2;

use super::fields::Fields;
use super::{Unparsed, json};
use crate::record::{Record, Value};

/// Reads the pairs of one line. They become attributes, apart from those that say time, severity,
/// message and trace. A key without a value is `true`; the first must have one, or any sentence
/// would follow this format.
///
/// # Errors
/// The line does not follow the format, or has more pairs than a record may have attributes. The
/// record is as it was.
pub fn parse<'a>(text: &'a str, record: &mut Record<'a>) -> Result<(), Unparsed> {
    let mut fields = Fields::new(record);
    let mut rest = text.trim_ascii();
    let mut first = true;
    while !rest.is_empty() {
        let end = rest.bytes().position(|byte| matches!(byte, 0..=b' ' | b'=' | b'"'));
        let (key, after) = rest.split_at(end.unwrap_or(rest.len()));
        let value;
        (value, rest) = match after.strip_prefix('=') {
            Some(after) => read_value(after)?,
            None if first => return Err(Unparsed("it does not begin with key=value")),
            None => (Value::Json(Cow::Borrowed("true")), after),
        };
        if key.is_empty() {
            return Err(Unparsed("there is a value without a key"));
        }
        fields.add(Cow::Borrowed(key), value)?;
        let next = rest.trim_ascii_start();
        if next.len() == rest.len() && !next.is_empty() {
            return Err(Unparsed("there is no space after a value"));
        }
        rest = next;
        first = false;
    }
    if first {
        return Err(Unparsed("it is empty"));
    }
    fields.finish();
    Ok(())
}

/// A value and what follows it.
fn read_value(text: &str) -> Result<(Value<'_>, &str), Unparsed> {
    let Some(inside) = text.strip_prefix('"') else {
        let end = text.bytes().position(|byte| byte <= b' ').unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return Ok((Value::Text(Cow::Borrowed(value)), rest));
    };
    let end = closing_quote(inside).ok_or(Unparsed("a quote is not closed"))?;
    let (value, rest) = inside.split_at(end);
    Ok((Value::Text(json::unescape(value)), rest.strip_prefix('"').unwrap_or(rest)))
}

/// Where the quote stands that ends a text in which a backslash escapes.
pub(super) fn closing_quote(inside: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = inside.as_bytes().get(at..)?;
        at += memchr2(b'"', b'\\', rest)?;
        if inside.as_bytes().get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::{shown, shown_record};

    #[test]
    fn pairs_become_attributes_or_what_they_mean() {
        let cases = [
            ("a=1 b=two", "a=1 b=two"),
            (r#"msg="hello \"you\"\n" level=warn"#, "WARN(13) body: hello \"you\"\n"),
            ("ts=2026-11-21T10:00:00Z msg=x k=", "@1795255200000000000 body: x k="),
            ("path=/a?b=c&d=e status=200", "path=/a?b=c&d=e status=200"),
            ("a=1 flag b=2 ", "a=1 flag=true b=2"),
            ("a=1 a=2 b=3", "a=2 b=3"),
            (r#"a="" b="\u00fc""#, "a= b=\u{fc}"),
        ];
        for (text, expected) in cases {
            let expected = expected.replace("WARN", "warn");
            assert_eq!(shown(parse, text).as_deref(), Ok(expected.as_str()), "{text}");
        }
    }

    #[test]
    fn other_lines_are_refused_and_leave_the_record() {
        let long: String = (0..257).map(|n| format!("k{n}=1 ")).collect();
        for text in
            ["", " ", "plain text", "error at a=b", "a=\"open", "=b", "a=\"x\"y", "a=1 =2", &long]
        {
            let mut record = Record::default();
            assert!(parse(text, &mut record).is_err(), "{text}");
            assert_eq!(shown_record(&record), "", "{text}");
        }
    }
}
