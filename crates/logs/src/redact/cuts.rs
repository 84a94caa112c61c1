//! Putting [`REDACTED`] in the place of what must not be seen.

use std::ops::Range;

use crate::tokens::{Kind, Token, Tokens};

/// What stands in place of what must not be seen.
pub const REDACTED: &str = "[REDACTED]";
/// The same as a JSON string.
pub(super) const QUOTED: &str = "\"[REDACTED]\"";

/// What is taken out, and what stands there instead.
pub(super) type Cut = (Range<usize>, &'static str);

/// Takes out the ranges, and what overlaps with one. JSON stays JSON: inside a string no escape is
/// torn apart; a number becomes a string; and where a range reaches over more than one value,
/// nothing of the text is left.
pub(super) fn cut_out(text: &str, mut ranges: Vec<Range<usize>>) -> String {
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Cut> = Vec::with_capacity(ranges.len());
    for range in ranges {
        let range = text.floor_char_boundary(range.start)..text.ceil_char_boundary(range.end);
        add((range, REDACTED), &mut merged);
    }
    if !is_json(text) {
        return replaced(text, &merged);
    }
    match in_json(text, &merged) {
        Some(cuts) => replaced(text, &cuts),
        None => QUOTED.to_owned(),
    }
}

/// Adds a cut that does not begin before those that are there.
fn add(cut: Cut, cuts: &mut Vec<Cut>) {
    match cuts.last_mut() {
        Some((last, _)) if cut.0.start < last.end => last.end = last.end.max(cut.0.end),
        _ => cuts.push(cut),
    }
}

/// The text after cuts that are in order and do not overlap.
pub(super) fn replaced(text: &str, cuts: &[Cut]) -> String {
    let mut out = String::with_capacity(text.len() + cuts.len() * QUOTED.len());
    let mut kept = 0;
    for (range, instead) in cuts {
        out.push_str(text.get(kept..range.start).unwrap_or_default());
        out.push_str(instead);
        kept = range.end;
    }
    out.push_str(text.get(kept..).unwrap_or_default());
    out
}

/// Only objects and lists: other text that happens to be valid JSON, such as a number, is text.
fn is_json(text: &str) -> bool {
    let begins = text.trim_start().starts_with(['{', '[']);
    begins && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// The cuts that leave JSON; `None` where one reaches over more than one value.
fn in_json(text: &str, ranges: &[Cut]) -> Option<Vec<Cut>> {
    let mut cuts = Vec::with_capacity(ranges.len());
    let mut tokens = Tokens::new(text);
    let mut token = tokens.next()?;
    for (range, _) in ranges {
        while token.range.end <= range.start {
            token = tokens.next()?;
        }
        add(in_token(text, &token, range)?, &mut cuts);
    }
    Some(cuts)
}

fn in_token(text: &str, token: &Token, range: &Range<usize>) -> Option<Cut> {
    if range.start < token.range.start || token.range.end < range.end {
        return None;
    }
    let is_string = match token.kind {
        Kind::Key | Kind::Text => true,
        Kind::Scalar => false,
        Kind::Open | Kind::Close => return None,
    };
    let inside = range.start > token.range.start && range.end < token.range.end;
    let cut = if is_string && inside {
        (whole_escapes(text.as_bytes(), token.range.start + 1, range), REDACTED)
    } else {
        (token.range.clone(), QUOTED)
    };
    Some(cut)
}

/// The range, and what it touches of escapes in a string whose text begins at `start`.
fn whole_escapes(text: &[u8], start: usize, range: &Range<usize>) -> Range<usize> {
    let mut whole = range.clone();
    let mut at = start;
    while at < range.end {
        let Some(found) = memchr::memchr(b'\\', text.get(at..range.end).unwrap_or_default()) else {
            break;
        };
        let escape = at + found;
        at = escape + if text.get(escape + 1) == Some(&b'u') { 6 } else { 2 };
        if escape < range.start && range.start < at {
            whole.start = escape;
        }
    }
    whole.end = whole.end.max(at.min(text.len()));
    whole
}
