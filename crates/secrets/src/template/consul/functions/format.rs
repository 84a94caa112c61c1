//! `print` and `printf`, as Go's `fmt` has them. An argument that does not fit a verb is an error,
//! where Go writes `%!d(…)` into the text.

use super::super::value::float;
use super::encode::hex;
use super::{ANY, Call, Fault, Function, Value, function};
use crate::template::output::Output;

/// The widest field and the most digits.
const MAX_WIDTH: usize = 10_000;

pub(super) const FUNCTIONS: &[Function] = &[
    function("print", 0, ANY, |call| printed(call).map(Into::into)),
    function("println", 0, ANY, |call| {
        let mut out = Output::default();
        for (at, value) in call.arguments.iter().enumerate() {
            out.push(if at > 0 { " " } else { "" })?;
            value.write(&mut out, "<nil>")?;
        }
        out.push("\n")?;
        Ok(out.into())
    }),
    function("printf", 1, ANY, printf),
];

/// One `%…`: its flags and numbers.
#[derive(Default)]
struct Verb {
    minus: bool,
    plus: bool,
    zero: bool,
    space: bool,
    width: usize,
    precision: Option<usize>,
}

/// All arguments, with a space between two that are no texts.
pub(super) fn printed(call: &Call<'_>) -> Result<Output, Fault> {
    let mut out = Output::default();
    let mut before_is_text = true;
    for value in call.arguments {
        let is_text = value.letters().is_some();
        out.push(if before_is_text || is_text { "" } else { " " })?;
        value.write(&mut out, "<nil>")?;
        before_is_text = is_text;
    }
    Ok(out)
}

fn printf(call: &Call<'_>) -> Result<Value, Fault> {
    let mut out = Output::default();
    let mut arguments = call.arguments.iter().skip(1);
    let mut rest = call.text(0)?;
    while let Some((before, after)) = rest.split_once('%') {
        out.push(before)?;
        let mut letters = after.chars();
        let (verb, letter) = verb(call, &mut letters)?;
        rest = letters.as_str();
        if letter == '%' {
            out.push("%")?;
            continue;
        }
        let missing = || call.fault(format!("there is no argument for %{letter}"));
        let value = arguments.next().ok_or_else(missing)?;
        verb.write(letter, value, &mut out).map_err(|fault| call.fault(fault.message))?;
    }
    out.push(rest)?;
    match arguments.next() {
        Some(_) => Err(call.fault("there are more arguments than verbs")),
        None => Ok(out.into()),
    }
}

fn verb(call: &Call<'_>, letters: &mut std::str::Chars<'_>) -> Result<(Verb, char), Fault> {
    let mut verb = Verb::default();
    let mut has_width = false;
    for letter in letters.by_ref() {
        match letter {
            '-' if !has_width => verb.minus = true,
            '+' if !has_width => verb.plus = true,
            ' ' if !has_width => verb.space = true,
            '0' if !has_width && verb.precision.is_none() => verb.zero = true,
            '.' if verb.precision.is_none() => {
                verb.precision = Some(0);
                has_width = true;
            }
            '0'..='9' => {
                has_width = true;
                let number = verb.precision.as_mut().unwrap_or(&mut verb.width);
                *number = *number * 10 + letter.to_digit(10).unwrap_or(0) as usize;
                if *number > MAX_WIDTH {
                    return Err(call.fault(format!("a field is wider than {MAX_WIDTH}")));
                }
            }
            _ => return Ok((verb, letter)),
        }
    }
    Err(call.fault("the text ends within a verb; write %% for a percent sign"))
}

impl Verb {
    fn write(&self, letter: char, value: &Value, out: &mut Output) -> Result<(), Fault> {
        let unfit = || Fault::new(format!("%{letter} does not fit {}", value.kind()));
        match (letter, value) {
            ('v', Value::Int(number)) | ('d', Value::Int(number)) => {
                self.number(&number.to_string(), out)
            }
            ('v', Value::Float(number)) => self.number(&float(*number, self.precision), out),
            ('s' | 'v', Value::Text(text) | Value::Number(text)) => self.pad(&self.cut(text), out),
            ('v', _) | ('s', Value::List(_) | Value::Map(_)) => {
                let mut shown = Output::default();
                value.write(&mut shown, "<nil>")?;
                self.pad(&shown.into_text(), out)
            }
            ('t', Value::Bool(value)) => self.pad(if *value { "true" } else { "false" }, out),
            ('q', Value::Text(text) | Value::Number(text)) => {
                self.pad(&quote(&self.cut(text)), out)
            }
            ('x', Value::Text(text) | Value::Number(text)) => self.pad(&hex(text.as_bytes()), out),
            ('X', Value::Text(text) | Value::Number(text)) => {
                self.pad(&hex(text.as_bytes()).to_uppercase(), out)
            }
            ('x' | 'X' | 'o' | 'b', Value::Int(number)) => {
                let size = number.unsigned_abs();
                let digits = match letter {
                    'x' => format!("{size:x}"),
                    'X' => format!("{size:X}"),
                    'o' => format!("{size:o}"),
                    _ => format!("{size:b}"),
                };
                self.number(&format!("{}{digits}", if *number < 0 { "-" } else { "" }), out)
            }
            ('c', Value::Int(number)) => {
                let letter = u32::try_from(*number).ok().and_then(char::from_u32);
                self.pad(&letter.unwrap_or('\u{fffd}').to_string(), out)
            }
            ('f' | 'F', Value::Float(number)) => {
                self.number(&format!("{number:.*}", self.precision.unwrap_or(6)), out)
            }
            ('g', Value::Float(number)) => self.number(&float(*number, self.precision), out),
            ('e', Value::Float(number)) => {
                let text = format!("{number:.*e}", self.precision.unwrap_or(6));
                let (digits, exponent) = text.split_once('e').ok_or_else(unfit)?;
                let (sign, exponent) = match exponent.strip_prefix('-') {
                    Some(exponent) => ('-', exponent),
                    None => ('+', exponent),
                };
                self.number(&format!("{digits}e{sign}{exponent:0>2}"), out)
            }
            _ if "vsdtqxXobcfFge".contains(letter) => Err(unfit()),
            _ => Err(Fault::new(format!("%{letter} is no verb here"))),
        }
    }

    fn cut(&self, text: &str) -> String {
        text.chars().take(self.precision.unwrap_or(usize::MAX)).collect()
    }

    fn number(&self, text: &str, out: &mut Output) -> Result<(), Fault> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None if self.plus => ("+", text),
            None if self.space => (" ", text),
            None => ("", text),
        };
        let length = sign.len() + digits.len();
        if !self.zero || self.minus {
            return self.pad(&format!("{sign}{digits}"), out);
        }
        out.push(sign)?;
        out.push_repeated("0", self.width.saturating_sub(length))?;
        out.push(digits)
    }

    fn pad(&self, text: &str, out: &mut Output) -> Result<(), Fault> {
        let missing = self.width.saturating_sub(text.chars().count());
        let filler = if self.zero && !self.minus { "0" } else { " " };
        if !self.minus {
            out.push_repeated(filler, missing)?;
        }
        out.push(text)?;
        if self.minus {
            out.push_repeated(filler, missing)?;
        }
        Ok(())
    }
}

/// A text in double quotes, with what cannot be shown escaped.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0b' => quoted.push_str("\\v"),
            '\x0c' => quoted.push_str("\\f"),
            _ if letter < ' ' || letter == '\x7f' => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(letter)));
            }
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}
