//! Walking through JSON text that is known to be valid, without making values of it.

use std::borrow::Cow;
use std::ops::Range;

/// A part of JSON text that means something by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// Where it stands; a string with its quotes.
    pub(crate) range: Range<usize>,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The name of an object's member.
    Key,
    /// A string that is no key.
    Text,
    /// A number, `true`, `false` or `null`.
    Scalar,
    /// `{` or `[`.
    Open,
    /// `}` or `]`.
    Close,
}

/// The tokens of a text, from a place on.
#[derive(Clone, Debug)]
pub(crate) struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    /// All of them.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Goes past the next value, and says where it stands.
    pub(crate) fn value(&mut self) -> Option<Range<usize>> {
        let first = self.next()?;
        let mut depth = usize::from(first.kind == Kind::Open);
        let mut end = first.range.end;
        while depth > 0 {
            let token = self.next()?;
            match token.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth -= 1,
                Kind::Key | Kind::Text | Kind::Scalar => {}
            }
            end = token.range.end;
        }
        Some(first.range.start..end)
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, is_skipped: impl Fn(u8) -> bool) {
        let rest = self.rest();
        self.at += rest.iter().position(|byte| !is_skipped(*byte)).unwrap_or(rest.len());
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':'));
        let start = self.at;
        let kind = match self.rest().first()? {
            b'"' => {
                self.at += string_length(self.rest());
                let end = self.at;
                self.skip(|byte| byte.is_ascii_whitespace());
                let is_key = self.rest().first() == Some(&b':');
                let kind = if is_key { Kind::Key } else { Kind::Text };
                return Some(Token { kind, range: start..end });
            }
            b'{' | b'[' => Kind::Open,
            b'}' | b']' => Kind::Close,
            _ => Kind::Scalar,
        };
        self.at += 1;
        if kind == Kind::Scalar {
            self.skip(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.'));
        }
        Some(Token { kind, range: start..self.at })
    }
}

/// Bytes of the string that begins here, with its quotes.
fn string_length(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = text.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if text.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
    text.len()
}

/// What a string with its quotes says.
pub(crate) fn unquoted(string: &str) -> Cow<'_, str> {
    let inner = string.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(string);
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Cow::Borrowed(inner);
    }
    // Half of a surrogate pair is valid JSON, and no text.
    serde_json::from_str(string).map_or(Cow::Borrowed(inner), Cow::Owned)
}

/// The member of an object to which `path` leads: a name, or names with dots between. A name with
/// dots in it is found too. Of members with one name the last counts.
pub(crate) fn lookup<'a>(object: &'a str, path: &str) -> Option<&'a str> {
    let mut tokens = Tokens::new(object);
    let is_object = tokens.next().is_some_and(|token| object.get(token.range) == Some("{"));
    let (mut exact, mut nested) = (None, None);
    while is_object && let Some(key) = tokens.next().filter(|token| token.kind == Kind::Key) {
        let name = unquoted(object.get(key.range)?);
        let value = object.get(tokens.value()?)?;
        if name == path {
            exact = Some(value);
        } else if let Some(rest) = path.strip_prefix(&*name).and_then(|rest| rest.strip_prefix('.'))
        {
            nested = lookup(value, rest).or(nested);
        }
    }
    exact.or(nested)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found_at_any_depth() {
        let object = r#" { "a" : {"b":[1,{"c":2}],"c.d":"x\"}","e":{"f":null}} , "a.g":3,"h":1,"h":2,
            "\u0069": "\u00e4" } "#;
        for (path, expected) in [
            ("a.b", Some(r#"[1,{"c":2}]"#)),
            ("a.c.d", Some(r#""x\"}""#)),
            ("a.e.f", Some("null")),
            ("a.g", Some("3")),
            ("h", Some("2")),
            ("i", Some("\"\\u00e4\"")),
            ("c", None),
            ("a.b.c", None),
            ("h.x", None),
            ("", None),
        ] {
            assert_eq!(lookup(object, path), expected, "{path}");
        }
        assert_eq!(lookup("[1]", "a"), None);
        assert_eq!(unquoted(lookup(object, "a.c.d").unwrap()), "x\"}");
    }
}
