//! Lines of Kubernetes container runtimes: `TIME STREAM TAGS TEXT`.

use std::borrow::Cow;

use super::{Piece, Unparsed, time};
use crate::record::Stream;

/// Reads one line.
///
/// # Errors
/// It does not follow the format.
pub fn parse(line: &str) -> Result<Piece<'_>, Unparsed> {
    let (written, rest) =
        line.split_once(' ').ok_or(Unparsed("there is no stream after the time"))?;
    let time = time::timestamp(written).ok_or(Unparsed("it does not begin with a time"))?;
    let (stream, rest) = if let Some(rest) = rest.strip_prefix("stdout ") {
        (Stream::Stdout, rest)
    } else if let Some(rest) = rest.strip_prefix("stderr ") {
        (Stream::Stderr, rest)
    } else {
        return Err(Unparsed("the stream is neither stdout nor stderr"));
    };
    let partial = match rest.as_bytes() {
        [b'P', ..] => true,
        [b'F', ..] => false,
        _ => return Err(Unparsed("the tag is neither P nor F")),
    };
    let text = match rest.as_bytes() {
        [_] => "",
        [_, b' ', ..] => rest.get(2..).unwrap_or_default(),
        // More tags may follow the first.
        [_, b':', ..] => rest.split_once(' ').map_or("", |(_, text)| text),
        _ => return Err(Unparsed("the tag is neither P nor F")),
    };
    Ok(Piece { time: Some(time), stream: Some(stream), partial, text: Cow::Borrowed(text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kubernetes_design_are_read() {
        let at = time::timestamp("2016-10-06T00:17:09.669794202Z");
        let cases = [
            (
                "2016-10-06T00:17:09.669794202Z stdout P log content 1",
                Stream::Stdout,
                true,
                "log content 1",
            ),
            (
                "2016-10-06T00:17:09.669794202Z stderr F log content 2",
                Stream::Stderr,
                false,
                "log content 2",
            ),
            ("2016-10-06T02:17:09.669794202+02:00 stdout F  two", Stream::Stdout, false, " two"),
            ("2016-10-06T00:17:09.669794202Z stdout P:x:y tags", Stream::Stdout, true, "tags"),
            ("2016-10-06T00:17:09.669794202Z stdout F ", Stream::Stdout, false, ""),
            ("2016-10-06T00:17:09.669794202Z stdout F", Stream::Stdout, false, ""),
        ];
        for (line, stream, partial, text) in cases {
            let piece = Piece { time: at, stream: Some(stream), partial, text: text.into() };
            assert_eq!(parse(line), Ok(piece), "{line}");
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            " ",
            "plain text",
            "2016-10-06T00:17:09Z",
            "2016-10-06T00:17:09Z stdin F x",
            "2016-10-06T00:17:09Z stdout X x",
            "2016-10-06T00:17:09Z stdout Full x",
            "2016-10-06T00:17:09Z stdout ",
            "2016-10-06T00:17:09Z  stdout F x",
            "yesterday stdout F x",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
