//! JSON objects (RFC 8259), validated in one pass; their members stay as they were written.

use std::borrow::Cow;

use super::Unparsed;
use super::fields::Fields;
use crate::record::{Record, Value};

/// How deep the values of an object may be nested.
pub const MAX_DEPTH: u32 = 128;

/// What is no number: not `01`, `1.`, `.5`, `+1`.
const NUMBER: Unparsed = Unparsed("a number does not follow the rules of JSON");
const STRING: Unparsed = Unparsed("a string holds a control character or an unknown escape");
const UNFINISHED: Unparsed = Unparsed("the JSON ends too early");
const VALUE: Unparsed = Unparsed("there is no JSON value where one belongs");

/// Reads one JSON object: its members become attributes, apart from those that say time, severity,
/// message and trace.
///
/// # Errors
/// The text is no valid JSON object, is nested deeper than [`MAX_DEPTH`], or has more members than
/// a record may have attributes. The record is as it was.
pub fn parse<'a>(text: &'a str, record: &mut Record<'a>) -> Result<(), Unparsed> {
    let mut fields = Fields::new(record);
    let mut repaired = false;
    members(text, |name, value| {
        repaired |= value.lone;
        fields.add(name, value.into_value())
    })?;
    fields.finish();
    record.marks.repaired |= repaired;
    Ok(())
}

/// A value as it was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'a> {
    pub(super) text: &'a str,
    /// It holds half of a surrogate pair, which many readers refuse.
    lone: bool,
}

impl<'a> Written<'a> {
    fn into_value(self) -> Value<'a> {
        let lone = self.lone.then(|| without_lone(self.text));
        Value::Json(lone.map_or(Cow::Borrowed(self.text), Cow::Owned))
    }

    /// What a string says; `None` for other values.
    pub(super) fn string(self) -> Option<Cow<'a, str>> {
        quoted(self.text).map(unescape)
    }
}

/// What a valid value says: a string without quotes and escapes, everything else as it was written.
pub(crate) fn text(written: &str) -> Cow<'_, str> {
    quoted(written).map_or(Cow::Borrowed(written), unescape)
}

/// What stands between the quotes, where it is a string.
pub(super) fn quoted(written: &str) -> Option<&str> {
    written.strip_prefix('"')?.strip_suffix('"')
}

/// Validates an object and gives its members, names unescaped, in their order.
pub(super) fn members<'a>(
    text: &'a str,
    mut each: impl FnMut(Cow<'a, str>, Written<'a>) -> Result<(), Unparsed>,
) -> Result<(), Unparsed> {
    let mut scan = Scan { text, at: 0, lone: false };
    scan.space();
    if !scan.take(b'{') {
        return Err(Unparsed("it is no JSON object"));
    }
    scan.space();
    let mut more = !scan.take(b'}');
    while more {
        let name = scan.name()?;
        scan.lone = false;
        let start = scan.at;
        scan.value()?;
        each(unescape(name), Written { text: scan.since(start), lone: scan.lone })?;
        scan.space();
        more = scan.take(b',');
        if more {
            scan.space();
        } else if !scan.take(b'}') {
            return Err(Unparsed("there is neither a comma nor the end after a member"));
        }
    }
    scan.space();
    let ended = scan.at == text.len();
    if ended { Ok(()) } else { Err(Unparsed("something follows the JSON object")) }
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// Half of a surrogate pair was seen.
    lone: bool,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// A name and its colon, up to the value.
    fn name(&mut self) -> Result<&'a str, Unparsed> {
        if !self.take(b'"') {
            return Err(Unparsed("there is no name where one belongs"));
        }
        let start = self.at;
        self.string()?;
        let name = self.text.get(start..self.at - 1).unwrap_or_default();
        self.space();
        if !self.take(b':') {
            return Err(Unparsed("there is no colon after a name"));
        }
        self.space();
        Ok(name)
    }

    /// A value of any kind. What is open is one bit each: set for an object.
    fn value(&mut self) -> Result<(), Unparsed> {
        let (mut objects, mut depth) = (0u128, 0u32);
        loop {
            match self.peek() {
                Some(open @ (b'{' | b'[')) if depth < MAX_DEPTH => {
                    self.at += 1;
                    depth += 1;
                    objects = objects << 1 | u128::from(open == b'{');
                    self.space();
                    let first = self.peek();
                    if open == b'{' && first != Some(b'}') {
                        self.name()?;
                        continue;
                    } else if open == b'[' && first != Some(b']') {
                        continue;
                    }
                }
                Some(b'{' | b'[') => return Err(Unparsed("it is nested too deeply")),
                _ => self.scalar()?,
            }
            if !self.next_in(&mut objects, &mut depth)? {
                return Ok(());
            }
        }
    }

    /// Past a value: leaves what ends here, and goes to the next value of what does not. `false`:
    /// the outermost has ended.
    fn next_in(&mut self, objects: &mut u128, depth: &mut u32) -> Result<bool, Unparsed> {
        while *depth > 0 {
            self.space();
            let object = *objects & 1 == 1;
            if self.take(if object { b'}' } else { b']' }) {
                *objects >>= 1;
                *depth -= 1;
                continue;
            }
            if !self.take(b',') {
                return Err(Unparsed("there is neither a comma nor the end after a value"));
            }
            self.space();
            if object {
                self.name()?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    fn scalar(&mut self) -> Result<(), Unparsed> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.string()
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(_) => Err(VALUE),
            None => Err(UNFINISHED),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Unparsed> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += word.len();
        if rest.starts_with(word.as_bytes()) { Ok(()) } else { Err(VALUE) }
    }

    fn number(&mut self) -> Result<(), Unparsed> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if !self.take(b'-') {
                self.take(b'+');
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), Unparsed> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(NUMBER) }
    }

    /// The rest of a string whose first quote was taken, its last quote included.
    fn string(&mut self) -> Result<(), Unparsed> {
        loop {
            self.at = plain_end(self.text.as_bytes(), self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(STRING),
                None => return Err(UNFINISHED),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Unparsed> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let length = match rest {
            [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [_, b'u', ..] => {
                let unit = Unit::read(rest).ok_or(STRING)?;
                self.lone |= matches!(unit, Unit::Lone);
                unit.length()
            }
            _ => return Err(STRING),
        };
        self.at += length;
        Ok(())
    }
}

/// What a `\u` escape stands for.
enum Unit {
    Char(char),
    /// A character in two escapes.
    Pair(char),
    /// Half a pair.
    Lone,
}

impl Unit {
    /// Reads the escape that the bytes begin with.
    fn read(bytes: &[u8]) -> Option<Self> {
        let first = hex4(bytes.get(2..6)?)?;
        let second = || match bytes.get(6..12)? {
            [b'\\', b'u', digits @ ..] => hex4(digits),
            _ => None,
        };
        Some(match first {
            0xd800..0xdc00 => match second() {
                Some(low @ 0xdc00..0xe000) => {
                    let code = 0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00);
                    Self::Pair(char::from_u32(code)?)
                }
                _ => Self::Lone,
            },
            _ => char::from_u32(first).map_or(Self::Lone, Self::Char),
        })
    }

    fn length(&self) -> usize {
        if matches!(self, Self::Pair(_)) { 12 } else { 6 }
    }

    fn character(&self) -> char {
        match self {
            Self::Char(character) | Self::Pair(character) => *character,
            Self::Lone => char::REPLACEMENT_CHARACTER,
        }
    }
}

fn hex4(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

/// What the inside of a valid string says. Half of a surrogate pair becomes U+FFFD.
pub(super) fn unescape(inside: &str) -> Cow<'_, str> {
    let mut rest = inside;
    let mut out = String::new();
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (plain, escape) = rest.split_at(at);
        out.push_str(plain);
        let (character, length) = match escape.as_bytes() {
            [_, b'u', ..] => Unit::read(escape.as_bytes())
                .map_or((char::REPLACEMENT_CHARACTER, 2), |unit| (unit.character(), unit.length())),
            [_, b'b', ..] => ('\u{8}', 2),
            [_, b'f', ..] => ('\u{c}', 2),
            [_, b'n', ..] => ('\n', 2),
            [_, b'r', ..] => ('\r', 2),
            [_, b't', ..] => ('\t', 2),
            [_, other @ (b'"' | b'\\' | b'/'), ..] => (char::from(*other), 2),
            _ => ('\\', 1),
        };
        out.push(character);
        rest = escape.get(length..).unwrap_or_default();
    }
    if rest.len() == inside.len() {
        return Cow::Borrowed(inside);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The valid value with each half of a surrogate pair replaced by U+FFFD, as an escape.
fn without_lone(written: &str) -> String {
    let mut out = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (plain, escape) = rest.split_at(at);
        out.push_str(plain);
        let unit = Unit::read(escape.as_bytes()).filter(|_| escape.starts_with("\\u"));
        let length = unit.as_ref().map_or(2, Unit::length);
        let kept = escape.get(..length).unwrap_or(escape);
        out.push_str(if matches!(unit, Some(Unit::Lone)) { "\\ufffd" } else { kept });
        rest = escape.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// The first place from `at` on that ends a string, escapes, or may not stand in one.
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let special = special(u64::from_le_bytes(*word));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let plain = rest.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\'));
    at + plain.unwrap_or(rest.len())
}

/// The top bit of each byte that is a quote, a backslash or a control character; right for the
/// lowest of them, which is the first in the text.
fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = zero(word ^ (ONES * b'"' as u64));
    let backslash = zero(word ^ (ONES * b'\\' as u64));
    (control | quote | backslash) & (ONES * 0x80)
}

#[cfg(test)]
mod tests;
