//! Parts and lines become records, within their limits, and every token comes back.

use pillion_model::logs::{Multiline, MultilineRule};
use proptest::prelude::*;

use super::*;
use crate::lines::Framer;
use crate::parse::tests::source;
use crate::receipt::{Ledger, Receipt};

/// A record that owns its text, and the numbers of its lines.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Owned {
    pub(crate) text: String,
    start: u64,
    stream: Option<Stream>,
    marks: Marks,
    pub(crate) lines: Vec<usize>,
}

fn owned(record: Assembled<'_, usize>) -> Owned {
    let Assembled { text, start, stream, marks, tokens, .. } = record;
    Owned { text: text.to_owned(), start, stream, marks, lines: tokens.into_vec() }
}

/// An assembler, and the records that it gave.
pub(crate) struct Run {
    assembler: Assembler<usize>,
    pub(crate) now: Instant,
    lines: usize,
    offset: u64,
    pub(crate) records: Vec<Owned>,
    dropped: Vec<usize>,
}

impl Run {
    pub(crate) fn new(source: &Source) -> Self {
        let assembler = Assembler::new(Rc::new(Assembly::new(source).unwrap()));
        let now = Instant::now();
        Self { assembler, now, lines: 0, offset: 0, records: Vec::new(), dropped: Vec::new() }
    }

    pub(crate) fn push(&mut self, text: &str) {
        let end = self.offset + text.len() as u64 + 1;
        let line = Line { bytes: text.as_bytes(), start: self.offset, end, truncated: false };
        let records = &mut self.records;
        let dropped =
            self.assembler.push(line, self.lines, self.now, &mut |it| records.push(owned(it)));
        self.dropped.extend(dropped);
        self.lines += 1;
        self.offset = end;
    }

    pub(crate) fn wait(&mut self, wait: Duration) {
        self.now += wait;
        let records = &mut self.records;
        self.assembler.expire(self.now, &mut |it| records.push(owned(it)));
    }

    fn flush(&mut self) {
        let records = &mut self.records;
        self.assembler.flush(self.now, &mut |it| records.push(owned(it)));
    }

    pub(crate) fn texts(&self) -> Vec<&str> {
        self.records.iter().map(|record| record.text.as_str()).collect()
    }

    /// Everything that was pushed is given back once.
    fn check_tokens(&self) {
        let given = self.records.iter().flat_map(|record| record.lines.clone());
        let mut tokens: Vec<_> = given.chain(self.dropped.iter().copied()).collect();
        tokens.sort_unstable();
        assert_eq!(tokens, (0..self.lines).collect::<Vec<_>>());
    }
}

/// The records of all lines.
pub(crate) fn assemble<'a>(
    source: &Source,
    lines: impl IntoIterator<Item = &'a str>,
) -> Vec<Owned> {
    let mut run = Run::new(source);
    lines.into_iter().for_each(|line| run.push(line));
    run.flush();
    run.check_tokens();
    assert_eq!(run.assembler.held(), 0);
    run.records
}

fn cri(tag: &str, text: &str) -> String {
    format!("2026-11-21T10:00:00.5Z {tag} {text}")
}

fn cri_source(line_bytes: usize) -> Source {
    Source { line_bytes, ..source(vec![Format::Cri]) }
}

#[test]
fn parts_of_the_two_outputs_are_put_together_apart() {
    let lines = [
        cri("stdout P", "out "),
        cri("stderr P", "err "),
        cri("stderr F", "two"),
        cri("stdout P", "and "),
        cri("stderr F", "whole"),
        cri("stdout F", "end"),
        "not cri".into(),
    ];
    let records = assemble(&cri_source(100), lines.iter().map(String::as_str));
    let texts: Vec<_> =
        records.iter().map(|it| (it.text.as_str(), it.stream, it.lines.as_slice())).collect();
    let expected: [(&str, _, &[usize]); 4] = [
        ("err two", Some(Stream::Stderr), &[1, 2]),
        ("whole", Some(Stream::Stderr), &[4]),
        ("out and end", Some(Stream::Stdout), &[0, 3, 5]),
        ("not cri", None, &[6]),
    ];
    assert_eq!(texts, expected);
    assert_eq!(marked(&records, |marks| marks.unparsed), [false, false, false, true]);
}

fn marked(records: &[Owned], mark: fn(&Marks) -> bool) -> Vec<bool> {
    records.iter().map(|record| mark(&record.marks)).collect()
}

#[test]
fn parts_of_docker_lines_are_put_together() {
    let lines = [
        r#"{"log":"one ","stream":"stdout","time":"2026-11-21T10:00:00Z"}"#,
        r#"{"log":"two\n","stream":"stdout","time":"2026-11-21T10:00:01Z"}"#,
        r#"{"log":"say \"hi\"\n","stream":"stderr","time":"2026-11-21T10:00:02Z"}"#,
    ];
    let records = assemble(&source(vec![Format::Docker]), lines);
    let texts: Vec<_> = records.iter().map(|record| record.text.as_str()).collect();
    assert_eq!(texts, ["one two", "say \"hi\""]);
}

/// fluent-bit and its multiline parser put parts together without end.
#[test]
fn parts_without_end_are_cut_at_the_limit() {
    let mut run = Run::new(&cri_source(1000));
    let part = cri("stdout P", &"x".repeat(300));
    for _ in 0..10_000 {
        run.push(&part);
        assert!(run.assembler.held() <= 1000);
    }
    run.push(&cri("stdout F", "its end"));
    run.push(&cri("stdout F", "next"));
    run.flush();
    assert_eq!(run.texts(), ["x".repeat(1000).as_str(), "next"]);
    assert_eq!(marked(&run.records, |marks| marks.truncated), [true, false]);
    assert_eq!(run.assembler.take_left_out().cut, 10_000 * 300 - 1000 + 7);
    assert_eq!(run.records[0].lines, [0, 1, 2, 3]);
    run.check_tokens();
}

#[test]
fn the_limit_of_parts_is_held_to_the_byte() {
    for (last, text, truncated) in
        [("12345", "x12345", false), ("123456", "x12345", true), ("1234é", "x1234", true)]
    {
        let lines = [cri("stdout P", "x"), cri("stdout F", last), cri("stdout F", "next")];
        let records = assemble(&cri_source(6), lines.iter().map(String::as_str));
        assert_eq!((records[0].text.as_str(), records[0].marks.truncated), (text, truncated));
        assert_eq!(records[1].text, "next");
    }
}

/// Parts of no length take no memory of the text, but each brings a token.
#[test]
fn empty_parts_are_bounded_too() {
    let mut run = Run::new(&cri_source(1000));
    for _ in 0..MAX_PARTS - 1 {
        run.push(&cri("stdout P", ""));
    }
    assert!(run.records.is_empty());
    run.push(&cri("stdout P", ""));
    assert_eq!(marked(&run.records, |marks| marks.truncated), [true]);
    run.push(&cri("stdout P", ""));
    run.push(&cri("stdout F", ""));
    assert_eq!(run.dropped.len(), 2);
    run.check_tokens();
}

#[test]
fn a_part_whose_writer_is_gone_is_given_after_a_while() {
    let mut run = Run::new(&cri_source(10));
    assert_eq!(run.assembler.deadline(), None);
    run.push(&cri("stdout P", "half"));
    assert_eq!(run.assembler.deadline(), Some(run.now + PART_TIMEOUT));
    run.wait(PART_TIMEOUT - Duration::from_nanos(1));
    assert!(run.records.is_empty());
    run.wait(Duration::from_nanos(1));
    assert_eq!(run.texts(), ["half"]);
    // The rest of a cut line is not skipped for ever either.
    run.push(&cri("stdout P", "0123456789a"));
    run.wait(PART_TIMEOUT);
    run.push(&cri("stdout F", "new"));
    assert_eq!(run.texts(), ["half", "0123456789", "new"]);
    assert_eq!(run.assembler.deadline(), None);
}

fn with_traces(formats: Vec<Format>) -> Source {
    let rule = MultilineRule::Start("^\\S".into());
    let timeout = Duration::from_secs(1);
    let multiline = Some(Multiline { rule, timeout, max_bytes: 10_000, max_lines: 100 });
    Source { multiline, ..source(formats) }
}

#[test]
fn lines_within_container_lines_are_joined() {
    let lines = [
        cri("stdout F", "Oops"),
        cri("stderr F", "other"),
        cri("stdout P", "  at "),
        cri("stdout F", "a"),
        cri("stdout F", "  at b"),
        cri("stdout F", "next"),
    ];
    let records = assemble(&with_traces(vec![Format::Cri]), lines.iter().map(String::as_str));
    let records: Vec<_> =
        records.iter().map(|it| (it.text.as_str(), it.lines.as_slice())).collect();
    let expected: [(&str, &[usize]); 3] =
        [("Oops\n  at a\n  at b", &[0, 2, 3, 4]), ("next", &[5]), ("other", &[1])];
    assert_eq!(records, expected);
}

/// Where reading pauses within a record, the position stays in front of it, and reading again from
/// there gives it whole.
#[test]
fn the_position_moves_past_complete_records_only() {
    let text = "first\n  more\nsecond\n  more\n  and more\nthird\n";
    let assembly = Rc::new(Assembly::new(&with_traces(Vec::new())).unwrap());
    for pause in 0..=text.len() {
        let ledger = Ledger::new(0);
        let mut texts = Vec::new();
        let mut done = |record: Assembled<'_, Receipt>| {
            texts.push(record.text.to_owned());
            record.tokens.into_iter().for_each(Receipt::done);
        };
        let mut assembler = Assembler::new(assembly.clone());
        read(&text[..pause], 0, &mut assembler, &ledger, &mut done);
        // Killed here: what the assembler holds is lost, and its receipts with it.
        drop(assembler);
        let position = ledger.position();
        let mut assembler = Assembler::new(assembly.clone());
        let again = Ledger::new(position);
        read(&text[position as usize..], position, &mut assembler, &again, &mut done);
        assembler.flush(Instant::now(), &mut done);
        assert_eq!(texts, ["first\n  more", "second\n  more\n  and more", "third"], "{pause}");
        assert_eq!(again.position(), text.len() as u64);
    }
}

fn read(
    text: &str,
    offset: u64,
    assembler: &mut Assembler<Receipt>,
    ledger: &Ledger,
    each: &mut impl FnMut(Assembled<'_, Receipt>),
) {
    let mut framer = Framer::new(Encoding::Utf8, 100, offset);
    let mut lines = framer.lines(text.as_bytes());
    while let Some(line) = lines.next() {
        let receipt = ledger.hand_on(line.end);
        assert!(assembler.push(line, receipt, Instant::now(), each).is_none());
    }
}

proptest! {
    #[test]
    fn any_split_into_blocks_gives_the_same_records(
        lines in prop::collection::vec(
            (prop::sample::select(vec![
                "stdout F", "stdout P", "stderr F", "stderr P", "torn",
            ]), "  at [a-z]{0,6}|[a-z]{0,30}|é€"),
            0..30,
        ),
        size in 1usize..100,
    ) {
        let text: String = lines.iter().map(|(tag, text)| cri(tag, text) + "\n").collect();
        let source = Source { line_bytes: 45, ..with_traces(vec![Format::Cri]) };
        let records = |size: usize| {
            let mut framer = Framer::new(Encoding::Utf8, source.line_bytes, 0);
            let mut run = Run::new(&source);
            for block in text.as_bytes().chunks(size) {
                let mut lines = framer.lines(block);
                while let Some(line) = lines.next() {
                    let records = &mut run.records;
                    let token = run.lines;
                    run.lines += 1;
                    run.dropped.extend(run.assembler.push(line, token, run.now, &mut |it| records.push(owned(it))));
                }
                // What rests can be replaced by what is new.
                if framer.rests() && run.assembler.rests() {
                    framer = Framer::new(Encoding::Utf8, source.line_bytes, framer.offset());
                    run.assembler = Run::new(&source).assembler;
                }
            }
            run.flush();
            run.check_tokens();
            run.records
        };
        prop_assert_eq!(records(size), records(text.len().max(1)));
    }
}
