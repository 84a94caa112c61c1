//! Syslog messages: RFC 5424, RFC 3164, and the lines of both that servers write into files.

use std::borrow::Cow;

use super::logfmt::closing_quote;
use super::{Unparsed, push, push_number, severity, time};
use crate::record::{Record, Severity, Value};

/// The numbers of the facilities, as they are written.
const FACILITIES: [&str; 24] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
    "17", "18", "19", "20", "21", "22", "23",
];

/// Reads one message. The year that RFC 3164 leaves out is that of `record.observed`, or the one
/// before; a time without a zone is UTC. Without a priority, as in files, the severity is not known.
///
/// # Errors
/// The message follows neither RFC. The record is as it was.
pub fn parse<'a>(text: &'a str, record: &mut Record<'a>) -> Result<(), Unparsed> {
    let (priority, rest) = match text.strip_prefix('<') {
        Some(rest) => {
            let (priority, rest) = priority(rest).ok_or(Unparsed("the priority is none"))?;
            (Some(priority), rest)
        }
        None => (None, text),
    };
    let before = record.attributes.len();
    let read = match (priority, rest.strip_prefix("1 ")) {
        (Some(_), Some(rest)) => rfc5424(rest, record),
        _ => rfc3164(rest, record, priority.is_some()),
    };
    if read.is_err() {
        record.attributes.truncate(before);
        return read;
    }
    if let Some(priority) = priority {
        let (number, word) = severity::by_priority(priority);
        record.severity = Severity { number, text: Some(Cow::Borrowed(word)) };
        let facility = FACILITIES.get(usize::from(priority / 8)).copied().unwrap_or_default();
        push_number(record, "syslog.facility", facility);
    }
    Ok(())
}

/// A number from 0 to 191 and `>`.
fn priority(text: &str) -> Option<(u8, &str)> {
    let (number, rest) = text.split_once('>')?;
    let digits =
        (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| number.parse().ok()).flatten()?;
    (number < 192).then_some((number, rest))
}

/// What follows the version: `TIME HOST APP PROCID MSGID DATA MESSAGE`, `-` for nothing.
fn rfc5424<'a>(text: &'a str, record: &mut Record<'a>) -> Result<(), Unparsed> {
    let mut rest = text;
    let mut field = || {
        let (field, after) = rest.split_once(' ')?;
        rest = after;
        (!field.is_empty()).then_some(field)
    };
    let mut next = || field().ok_or(Unparsed("a field of the header is missing"));
    let (at, names) = (next()?, [next()?, next()?, next()?, next()?]);
    let at = match at {
        "-" => None,
        at => Some(time::timestamp(at).ok_or(Unparsed("the time is none"))?),
    };
    for (name, value) in
        ["host.name", "syslog.appname", "syslog.procid", "syslog.msgid"].into_iter().zip(names)
    {
        if value != "-" {
            push(record, name, value);
        }
    }
    let rest = structured_data(rest, record).ok_or(Unparsed("the structured data are none"))?;
    let message = rest.strip_prefix(' ').unwrap_or(rest);
    record.time = at.or(record.time);
    record.body = Value::Text(Cow::Borrowed(message.strip_prefix('\u{feff}').unwrap_or(message)));
    Ok(())
}

/// `[ID NAME="VALUE" …]…` or `-`; gives what follows.
fn structured_data<'a>(text: &'a str, record: &mut Record<'a>) -> Option<&'a str> {
    let mut rest = text.strip_prefix('-').unwrap_or(text);
    let none = rest.len() < text.len();
    if !none && !text.starts_with('[') {
        return None;
    }
    while let Some(element) = rest.strip_prefix('[').filter(|_| !none) {
        let end = element.find([' ', ']']).filter(|end| *end > 0)?;
        let id;
        (id, rest) = element.split_at(end);
        while let Some(pair) = rest.strip_prefix(' ') {
            let (name, value) = pair.split_once("=\"")?;
            let (value, after) = value.split_at_checked(closing_quote(value)?)?;
            rest = after.strip_prefix('"')?;
            let name = Cow::Owned(format!("syslog.{id}.{name}"));
            record.attributes.push((name, Value::Text(unescape(value))));
        }
        rest = rest.strip_prefix(']')?;
    }
    (rest.is_empty() || rest.starts_with(' ')).then_some(rest)
}

/// In structured data a backslash escapes `"`, `\` and `]`, and stands for itself elsewhere.
fn unescape(value: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', value.as_bytes()).is_none() {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len());
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = character == '\\' && matches!(characters.peek(), Some('"' | '\\' | ']'));
        out.extend(if escaped { characters.next() } else { Some(character) });
    }
    Cow::Owned(out)
}

/// `TIME HOST TAG[PID]: MESSAGE`. With a priority all of it is optional, as RFC 3164 §4.3 has it:
/// what cannot be told apart is the message. The C library leaves out the host.
fn rfc3164<'a>(text: &'a str, record: &mut Record<'a>, forgiving: bool) -> Result<(), Unparsed> {
    let Some((at, rest)) = time_in_front(text, record.observed) else {
        if !forgiving {
            return Err(Unparsed("there is neither a priority nor a time in front"));
        }
        record.body = Value::Text(Cow::Borrowed(text));
        return Ok(());
    };
    record.time = Some(at);
    let mut rest = rest.trim_ascii_start();
    if let Some((host, after)) = rest.split_once(' ')
        && !host.ends_with(':')
        && !host.ends_with(']')
    {
        push(record, "host.name", host);
        rest = after.trim_ascii_start();
    }
    record.body = Value::Text(Cow::Borrowed(push_tag(record, rest)));
    Ok(())
}

fn time_in_front(text: &str, now: i64) -> Option<(i64, &str)> {
    time::bsd(text, now).or_else(|| {
        let (at, rest) = text.split_once(' ')?;
        Some((time::timestamp(at)?, rest))
    })
}

/// Gives the message behind `TAG:` or `TAG[PID]:`.
fn push_tag<'a>(record: &mut Record<'a>, text: &'a str) -> &'a str {
    let Some(end) = text.find([':', '[', ' ']).filter(|end| *end > 0) else { return text };
    let (tag, after) = text.split_at(end);
    let (pid, message) = match after.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        Some((pid, rest)) => (Some(pid), rest.strip_prefix(':')),
        None => (None, after.strip_prefix(':')),
    };
    let Some(message) = message else { return text };
    push(record, "syslog.appname", tag);
    if let Some(pid) = pid {
        push(record, "syslog.procid", pid);
    }
    message.strip_prefix(' ').unwrap_or(message)
}

#[cfg(test)]
mod tests;
