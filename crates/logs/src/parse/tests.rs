//! The chain of formats, and what the tests of each format share.

use std::fmt::Write as _;
use std::sync::Arc;

use pillion_model::logs::{AppOutput, DropPolicy, Encoding, Input, Terminal};
use proptest::prelude::*;

use super::*;

/// A source with these formats.
pub(crate) fn source(parse: Vec<Format>) -> Source {
    let terminal = Terminal::Off;
    let full = DropPolicy::Oldest;
    Source {
        name: Arc::from("test"),
        input: Input::App(AppOutput { stdout: true, stderr: true, terminal, full }),
        encoding: Encoding::Utf8,
        line_bytes: 1024 * 1024,
        parse,
        multiline: None,
        attributes: Vec::new(),
        steps: Vec::new(),
    }
}

/// What a parser makes of an empty record, on one line.
pub(super) fn shown<'a>(
    parse: impl FnOnce(&'a str, &mut Record<'a>) -> Result<(), Unparsed>,
    text: &'a str,
) -> Result<String, Unparsed> {
    let mut record = Record::default();
    parse(text, &mut record)?;
    Ok(shown_record(&record))
}

pub(super) fn shown_record(record: &Record<'_>) -> String {
    let mut out = String::new();
    if let Some(time) = record.time {
        write!(out, "@{time} ").unwrap();
    }
    if record.severity.number > 0 {
        let word = record.severity.text.as_deref().unwrap_or("-");
        write!(out, "{word}({}) ", record.severity.number).unwrap();
    }
    if !record.body.text().is_empty() {
        write!(out, "body: {} ", record.body.text()).unwrap();
    }
    if let Some(trace) = record.trace {
        write!(out, "trace {:032x}/{:016x} ", trace.trace, trace.span).unwrap();
    }
    for (name, value) in &record.attributes {
        write!(out, "{name}={} ", value.text()).unwrap();
    }
    if record.marks.repaired {
        out.push_str("repaired ");
    }
    out.truncate(out.trim_end_matches(' ').len());
    out
}

fn parsed(formats: Vec<Format>, text: &str) -> (String, bool) {
    let parser = Parser::new(&source(formats)).unwrap();
    let mut record = Record::default();
    parser.parse(text, &mut record);
    (shown_record(&record), record.marks.unparsed)
}

fn regex(pattern: &str) -> Format {
    Format::Regex { pattern: pattern.into(), time: None }
}

#[test]
fn each_format_reads_what_the_one_before_left_as_the_message() {
    let cases = [
        (vec![], "plain", "body: plain", false),
        (
            vec![Format::Json, Format::Logfmt],
            r#"{"a":1,"msg":"b=2 msg=x"}"#,
            "body: x a=1 b=2",
            false,
        ),
        (
            vec![Format::Json, Format::Logfmt],
            r#"{"a":1,"level":"info","msg":"b=\"two words\" level=warn"}"#,
            "warn(13) a=1 b=two words",
            false,
        ),
        (
            vec![Format::Syslog, Format::Json],
            r#"<13>Use {"a":1}"#,
            r#"notice(10) body: Use {"a":1} syslog.facility=1"#,
            true,
        ),
        (vec![Format::Cri, Format::Json], r#"{"a":1}"#, "a=1", false),
        (vec![Format::Clf], "not", "body: not", true),
        (vec![Format::NginxError], "not", "body: not", true),
    ];
    for (formats, text, expected, unparsed) in cases {
        assert_eq!(parsed(formats, text), (expected.into(), unparsed), "{text}");
    }
}

#[test]
fn what_does_not_parse_is_kept_as_it_is_and_marked() {
    let text = r#"{"a":1,"message":"torn"#;
    assert_eq!(parsed(vec![Format::Json, regex("torn")], text), (format!("body: {text}"), true));
    assert!(Parser::new(&source(vec![regex("(")])).is_err());
}

/// The expression sees the field that needs it, not the whole line.
#[test]
fn an_expression_runs_on_the_message_only() {
    let formats = vec![Format::Json, regex("^(?<word>\\w+)")];
    assert_eq!(
        parsed(formats, r#"{"x":"y","msg":"one two"}"#),
        ("body: one two x=y word=one".into(), false)
    );
}

#[test]
fn a_record_is_cheap_to_pass_on() {
    assert!(size_of::<Record<'_>>() <= 1152, "{}", size_of::<Record<'_>>());
}

proptest! {
    #[test]
    fn no_line_is_too_odd(text in hostile(), observed: i64) {
        let formats = [
            Format::Json, Format::Logfmt, Format::Syslog, Format::Clf, Format::NginxError,
            regex("(?<time>\\S+) (?<severity>\\S*)(?<message>.*)"),
        ];
        for format in formats {
            let parser = Parser::new(&source(vec![format])).unwrap();
            let mut record = Record { observed, ..Record::default() };
            parser.parse(&text, &mut record);
            prop_assert!(!record.marks.unparsed || record.body.text() == text);
            prop_assert!(!record.marks.unparsed || record.attributes.is_empty());
        }
        prop_assert!(cri::parse(&text).is_err() || docker::parse(&text).is_err());
    }
}

/// Pieces of all formats in any order.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "<34>",
        "1 ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "\\",
        "\\u",
        "d800",
        "=",
        ":",
        ", ",
        " ",
        "#",
        "*",
        "2026-11-21T10:00:00Z",
        "2026/11/21 10:00:00",
        "10/Oct/2000:13:55:36 -0700",
        "Oct 11 22:14:15",
        "stdout",
        " F ",
        "message",
        "level",
        "info",
        "200",
        "-1e5",
        "\u{fffd}",
        "€",
        "\n",
        "client: ",
    ]);
    prop_oneof![
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat()),
        "\\PC{0,60}"
    ]
}
