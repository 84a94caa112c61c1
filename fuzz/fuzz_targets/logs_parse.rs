//! Log lines: however the bytes of a stream arrive, they are the same records, and JSON is what
//! another reader takes for JSON.
#![no_main]

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use pillion_logs::assemble::{Assembled, Assembler, Assembly};
use pillion_logs::lines::Framer;
use pillion_logs::parse::{Parser, json};
use pillion_logs::record::Record;
use pillion_model::logs::{
    AppOutput, DropPolicy, Encoding, Format, Input, Multiline, MultilineRule, Source, Terminal,
    TraceLanguage,
};
use serde::de::IgnoredAny;

const LINE_BYTES: usize = 100;

/// A source that the first byte chooses.
fn source(choice: u8) -> Source {
    let encoding = match choice & 3 {
        0 => Encoding::Utf16Le,
        1 => Encoding::Utf16Be,
        2 => Encoding::Latin1,
        _ => Encoding::Utf8,
    };
    let pattern = Arc::from(r"(?<time>\S+) (?<severity>\w+) (?<message>.*)");
    let content = match choice >> 2 & 7 {
        0 => Format::Logfmt,
        1 => Format::Syslog,
        2 => Format::Clf,
        3 => Format::NginxError,
        4 => Format::Regex { pattern, time: Some(Arc::from("%H:%M:%S")) },
        _ => Format::Json,
    };
    let parse = match choice >> 5 & 3 {
        0 => vec![Format::Docker, content],
        1 => vec![content],
        _ => vec![Format::Cri, content],
    };
    let languages = vec![TraceLanguage::Java, TraceLanguage::Python, TraceLanguage::Go];
    let multiline = (choice >> 7 == 1).then(|| Multiline {
        rule: MultilineRule::Traces(languages),
        timeout: Duration::from_secs(1),
        max_bytes: 300,
        max_lines: 5,
    });
    let full = DropPolicy::Oldest;
    let app = AppOutput { stdout: true, stderr: true, terminal: Terminal::Off, full };
    Source {
        name: Arc::from("fuzz"),
        input: Input::App(app),
        encoding,
        line_bytes: LINE_BYTES,
        parse,
        multiline,
        attributes: Vec::new(),
        steps: Vec::new(),
    }
}

/// All records of the blocks, as text. Each line's token comes back once.
fn records<'a>(source: &Source, blocks: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let parser = Parser::new(source).expect("the expression is one");
    let assembly = Assembly::new(source).expect("there is no expression");
    let mut assembler = Assembler::new(Rc::new(assembly));
    let mut framer = Framer::new(source.encoding, LINE_BYTES, 0);
    let now = Instant::now();
    let (mut found, mut given, mut back) = (Vec::new(), 0, 0);
    let mut each = |text: Assembled<'_, ()>| {
        back += text.tokens.len();
        let mut record: Record<'_> = text.record(0);
        parser.parse(text.text, &mut record);
        found.push(format!("{} {record:?}", text.start));
    };
    let mut dropped = 0;
    for block in blocks {
        let mut lines = framer.lines(block);
        while let Some(line) = lines.next() {
            assert!(line.bytes.len() <= LINE_BYTES);
            given += 1;
            dropped += usize::from(assembler.push(line, (), now, &mut each).is_some());
        }
        assert!(framer.held() <= LINE_BYTES + 2);
    }
    if let Some(line) = framer.flush() {
        given += 1;
        dropped += usize::from(assembler.push(line, (), now, &mut each).is_some());
    }
    assembler.flush(now, &mut each);
    assert_eq!(back + dropped, given);
    found
}

fn check_json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let ours = json::parse(text, &mut Record::default());
    let object = text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{');
    let theirs = object && serde_json::from_str::<IgnoredAny>(text).is_ok();
    // Ours has limits that the other has not.
    let depth = text.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count();
    let members = text.bytes().filter(|byte| *byte == b':').count();
    if depth < 100 && members < 200 {
        assert_eq!(ours.is_ok(), theirs, "{text}");
    }
    assert!(ours.is_err() || theirs, "{text}");
}

fuzz_target!(|data: &[u8]| {
    let [choice, size, bytes @ ..] = data else { return };
    let source = source(*choice);
    let whole = records(&source, std::iter::once(bytes));
    let size = usize::from(*size).max(1);
    assert_eq!(records(&source, bytes.chunks(size)), whole);
    check_json(bytes);
});
