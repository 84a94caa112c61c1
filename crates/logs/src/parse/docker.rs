//! Lines of Docker's json-file driver: `{"log":"TEXT\n","stream":"stdout","time":"TIME"}`. Its
//! `attrs` (labels of the container, if asked for) say the same on every line and are left out.

use std::borrow::Cow;

use super::{Piece, Unparsed, json, time};
use crate::record::Stream;

/// Reads one line. A text without an end of line goes on in the next.
///
/// # Errors
/// It is no JSON object, or has no `log`.
pub fn parse(line: &str) -> Result<Piece<'_>, Unparsed> {
    let mut text = None;
    let mut piece = Piece { time: None, stream: None, partial: false, text: Cow::Borrowed("") };
    json::members(line, |name, value| {
        match &*name {
            "log" => text = value.string(),
            "stream" => piece.stream = value.string().as_deref().and_then(stream),
            "time" => piece.time = value.string().as_deref().and_then(time::timestamp),
            _ => (),
        }
        Ok(())
    })?;
    let text = text.ok_or(Unparsed("there is no text under \"log\""))?;
    piece.partial = !text.ends_with('\n');
    piece.text = match text {
        Cow::Borrowed(text) => Cow::Borrowed(without_end(text)),
        Cow::Owned(mut text) => {
            text.truncate(without_end(&text).len());
            Cow::Owned(text)
        }
    };
    Ok(piece)
}

fn without_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

fn stream(name: &str) -> Option<Stream> {
    match name {
        "stdout" => Some(Stream::Stdout),
        "stderr" => Some(Stream::Stderr),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_driver_are_read() {
        let at = time::timestamp("2026-11-21T10:00:00.5Z");
        let cases = [
            (
                r#"{"log":"hello\n","stream":"stdout","time":"2026-11-21T10:00:00.5Z"}"#,
                false,
                "hello",
            ),
            (r#"{"log":"half","stream":"stdout","time":"2026-11-21T10:00:00.5Z"}"#, true, "half"),
            (
                r#"{"log":"tty\r\n","stream":"stdout","time":"2026-11-21T10:00:00.5Z"}"#,
                false,
                "tty",
            ),
            (r#"{"log":"a\\n","stream":"stdout","time":"2026-11-21T10:00:00.5Z"}"#, true, "a\\n"),
            (
                r#"{"log":"{\"a\":\"\u00fc\"}\n","stream":"stdout","attrs":{"x":"y"},"time":"2026-11-21T10:00:00.5Z"}"#,
                false,
                "{\"a\":\"\u{fc}\"}",
            ),
        ];
        for (line, partial, text) in cases {
            let expected =
                Piece { time: at, stream: Some(Stream::Stdout), partial, text: text.into() };
            assert_eq!(parse(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for line in ["", "plain", "{}", r#"{"log":1}"#, r#"{"log":"torn"#, r#"["log"]"#] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
