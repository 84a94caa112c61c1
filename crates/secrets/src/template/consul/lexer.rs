//! Cuts a template into text and the words of its actions, as Go's `text/template` does.

use crate::template::fault::Fault;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// What is outside of actions, trimmed.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// A keyword or the name of a function.
    Word(String),
    /// `.name`
    Field(String),
    /// `$name`; `$` alone has the empty name.
    Variable(String),
    /// `.`
    Dot,
    Int(i64),
    Float(f64),
    Str(String),
    Pipe,
    LeftParen,
    RightParen,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    Comma,
    /// White space, which parts arguments.
    Space,
}

/// A token and the byte where it begins.
pub(super) type Placed = (Token, usize);

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// The tokens of a template.
///
/// # Errors
/// An action, comment or string is not closed, or holds what no action may hold.
pub(super) fn tokens(source: &str) -> Result<Vec<Placed>, Fault> {
    let mut lexer = Lexer { source, at: 0, tokens: Vec::new() };
    let mut trim = false;
    while lexer.at < source.len() {
        trim = lexer.text_and_action(trim)?;
    }
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    tokens: Vec<Placed>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.source.get(self.at..).unwrap_or("")
    }

    fn push(&mut self, token: Token, length: usize) {
        self.tokens.push((token, self.at));
        self.at += length;
    }

    /// Reads text up to an action, and the action. Whether the text after it loses its leading
    /// white space.
    fn text_and_action(&mut self, trim_before: bool) -> Result<bool, Fault> {
        let rest = self.rest();
        let found = rest.find(OPEN);
        let text = rest.get(..found.unwrap_or(rest.len())).unwrap_or("");
        let after = found.and_then(|found| rest.get(found + OPEN.len()..)).unwrap_or("");
        let trim_after = starts_trim(after);
        let shown = if trim_before { text.trim_start_matches(is_space) } else { text };
        let shown = if trim_after { shown.trim_end_matches(is_space) } else { shown };
        let (shown, length) = (shown.to_owned(), text.len());
        if !shown.is_empty() {
            self.tokens.push((Token::Text(shown), self.at));
        }
        self.at += length;
        if found.is_none() {
            return Ok(false);
        }
        let opened = self.at;
        let marker = OPEN.len() + if trim_after { 1 } else { 0 };
        let inside = self.source.get(opened + marker..).unwrap_or("");
        let inside = if trim_after { inside.trim_start_matches(is_space) } else { inside };
        if inside.starts_with("/*") {
            self.at = self.source.len() - inside.len();
            return self.comment(opened);
        }
        self.push(Token::Open, marker);
        self.action(opened)
    }

    fn comment(&mut self, opened: usize) -> Result<bool, Fault> {
        let open = || Fault::at(opened, "the comment is not closed; end it with */}}");
        let end = self.rest().find("*/").ok_or_else(open)?;
        self.at += end + 2;
        let rest = self.rest();
        let trimmed = rest.trim_start_matches(is_space);
        let trims = trimmed.len() < rest.len() && trimmed.starts_with("-}}");
        if !trims && !rest.starts_with(CLOSE) {
            return Err(Fault::at(self.at, "a comment ends right before }}"));
        }
        self.at = match trims {
            true => self.source.len() - trimmed.len() + 3,
            false => self.at + CLOSE.len(),
        };
        Ok(trims)
    }

    fn action(&mut self, opened: usize) -> Result<bool, Fault> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches(is_space);
            let spaces = rest.len() - trimmed.len();
            if spaces > 0 && trimmed.starts_with("-}}") {
                self.at += spaces;
                self.push(Token::Close, 3);
                return Ok(true);
            }
            if spaces > 0 {
                self.push(Token::Space, spaces);
                continue;
            }
            if rest.starts_with(CLOSE) {
                self.push(Token::Close, CLOSE.len());
                return Ok(false);
            }
            if rest.is_empty() {
                return Err(Fault::at(opened, "the action is not closed; end it with }}"));
            }
            self.word()?;
        }
    }

    fn word(&mut self) -> Result<(), Fault> {
        let rest = self.rest();
        let mut letters = rest.chars();
        let (first, second) = (letters.next().unwrap_or(' '), letters.next().unwrap_or(' '));
        match first {
            '|' => self.push(Token::Pipe, 1),
            '(' => self.push(Token::LeftParen, 1),
            ')' => self.push(Token::RightParen, 1),
            ',' => self.push(Token::Comma, 1),
            '=' => self.push(Token::Assign, 1),
            ':' if second == '=' => self.push(Token::Declare, 2),
            '"' => return self.quoted(),
            '`' => return self.raw(),
            '\'' => return self.character(),
            '.' if !second.is_ascii_digit() => self.field(),
            '$' => {
                let name = name(rest.get(1..).unwrap_or("")).to_owned();
                let length = 1 + name.len();
                self.push(Token::Variable(name), length);
            }
            _ if is_letter(first) => {
                let word = name(rest).to_owned();
                let length = word.len();
                self.push(Token::Word(word), length);
            }
            '+' | '-' | '.' | '0'..='9' => return self.number(),
            other => return Err(Fault::at(self.at, format!("{other:?} has no meaning here"))),
        }
        Ok(())
    }

    fn field(&mut self) {
        let name = name(self.rest().get(1..).unwrap_or("")).to_owned();
        let length = 1 + name.len();
        self.push(if name.is_empty() { Token::Dot } else { Token::Field(name) }, length);
    }

    fn number(&mut self) -> Result<(), Fault> {
        let rest = self.rest();
        let is_exponent = |at: usize| {
            let before = at.checked_sub(1).and_then(|at| rest.as_bytes().get(at));
            matches!(before, Some(b'e' | b'E')) && !rest.contains('x')
        };
        let end = rest.char_indices().find(|&(at, c)| {
            let sign = matches!(c, '+' | '-') && (at == 0 || is_exponent(at));
            !(sign || c.is_ascii_alphanumeric() || c == '.' || c == '_')
        });
        let text = rest.get(..end.map_or(rest.len(), |(at, _)| at)).unwrap_or("");
        let length = text.len();
        let token =
            number(text).ok_or_else(|| Fault::at(self.at, format!("{text} is no number")))?;
        self.push(token, length);
        Ok(())
    }

    fn raw(&mut self) -> Result<(), Fault> {
        let text = self.rest().get(1..).unwrap_or("");
        let end = text.find('`').ok_or_else(|| Fault::at(self.at, "the string is not closed"))?;
        let text = text.get(..end).unwrap_or("").replace('\r', "");
        self.push(Token::Str(text), end + 2);
        Ok(())
    }

    fn quoted(&mut self) -> Result<(), Fault> {
        let (text, length) = unquote(self.rest(), '"').map_err(|fault| fault.placed(self.at))?;
        self.push(Token::Str(text), length);
        Ok(())
    }

    fn character(&mut self) -> Result<(), Fault> {
        let (text, length) = unquote(self.rest(), '\'').map_err(|fault| fault.placed(self.at))?;
        let mut letters = text.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) => self.push(Token::Int(i64::from(u32::from(letter))), length),
            _ => return Err(Fault::at(self.at, "one letter stands between '; strings need \"")),
        }
        Ok(())
    }
}

/// Whether an action begins with `{{- `.
fn starts_trim(after_open: &str) -> bool {
    after_open.strip_prefix('-').is_some_and(|rest| rest.starts_with(is_space))
}

fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n')
}

fn is_letter(letter: char) -> bool {
    letter == '_' || letter.is_alphabetic()
}

fn name(text: &str) -> &str {
    let end = text.find(|c: char| !(c == '_' || c.is_alphanumeric()));
    text.get(..end.unwrap_or(text.len())).unwrap_or("")
}

fn number(text: &str) -> Option<Token> {
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let lower = digits.to_ascii_lowercase();
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)];
    let prefixed =
        radix.iter().find_map(|(prefix, radix)| Some((lower.strip_prefix(prefix)?, *radix)));
    let octal =
        lower.strip_prefix('0').filter(|rest| !rest.is_empty() && !rest.contains(['.', 'e']));
    let (body, radix) = prefixed.or(octal.map(|rest| (rest, 8))).unwrap_or((&lower, 10));
    let signed = if negative { format!("-{body}") } else { body.to_owned() };
    if body.starts_with(['+', '-']) {
        return None;
    }
    match i64::from_str_radix(&signed, radix) {
        Ok(number) => Some(Token::Int(number)),
        // Words such as `inf` are numbers to Rust, not to Go.
        Err(_) if radix == 10 && body.starts_with(|c: char| c == '.' || c.is_ascii_digit()) => {
            plain.parse().ok().filter(|number: &f64| number.is_finite()).map(Token::Float)
        }
        Err(_) => None,
    }
}

/// Reads a string in quotes with Go's escapes; its value and its length with the quotes.
fn unquote(text: &str, quote: char) -> Result<(String, usize), Fault> {
    let mut value = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            _ if letter == quote => return Ok((value, at + 1)),
            '\n' => break,
            '\\' => {
                let (_, kind) = letters.next().unwrap_or((at, ' '));
                let escaped = match kind {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'a' => '\x07',
                    'b' => '\x08',
                    'f' => '\x0c',
                    'v' => '\x0b',
                    '\\' | '\'' | '"' => kind,
                    'x' | 'u' | 'U' => code(&mut letters, kind)?,
                    _ => return Err(Fault::new(format!("\\{kind} is no escape in a string"))),
                };
                value.push(escaped);
            }
            _ => value.push(letter),
        }
    }
    Err(Fault::new("the string is not closed"))
}

fn code(letters: &mut impl Iterator<Item = (usize, char)>, kind: char) -> Result<char, Fault> {
    let digits = match kind {
        'x' => 2,
        'u' => 4,
        _ => 8,
    };
    let text: String = letters.take(digits).map(|(_, letter)| letter).collect();
    let number = u32::from_str_radix(&text, 16).ok().filter(|n| kind != 'x' || *n < 0x80);
    number.and_then(char::from_u32).filter(|_| text.len() == digits).ok_or_else(|| {
        Fault::new(format!("\\{kind}{text} is no letter: {digits} hexadecimal digits are needed"))
    })
}
