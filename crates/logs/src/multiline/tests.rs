use std::sync::Arc;

use pillion_model::logs::Source;

use super::*;
use crate::assemble::tests::{Run, assemble};
use crate::parse::tests::source;

const ALL: [TraceLanguage; 8] = [
    TraceLanguage::Java,
    TraceLanguage::Python,
    TraceLanguage::Go,
    TraceLanguage::Ruby,
    TraceLanguage::DotNet,
    TraceLanguage::JavaScript,
    TraceLanguage::Rust,
    TraceLanguage::Php,
];

fn joined(rule: MultilineRule, max_bytes: usize, max_lines: usize) -> Source {
    let timeout = Duration::from_secs(1);
    Source {
        multiline: Some(Multiline { rule, timeout, max_bytes, max_lines }),
        ..source(Vec::new())
    }
}

fn texts(rule: MultilineRule, lines: &str) -> Vec<String> {
    let records = assemble(&joined(rule, 100_000, 1000), lines.lines());
    records.into_iter().map(|record| record.text).collect()
}

/// The trace, with ordinary lines around it, is one record.
fn check(language: TraceLanguage, trace: &str) {
    let lines = format!("listening on 8080\n{trace}\nGET / 200\nlast");
    for languages in [vec![language], ALL.to_vec()] {
        let found = texts(MultilineRule::Traces(languages), &lines);
        assert_eq!(found, ["listening on 8080", trace, "GET / 200", "last"], "{language:?}");
    }
}

#[test]
fn traces_of_java_are_one_record() {
    check(
        TraceLanguage::Java,
        "Exception in thread \"main\" java.lang.RuntimeException: outer
\tat com.example.Main.run(Main.java:10)
\tat java.base/java.lang.Thread.run(Thread.java:840)
\tSuppressed: java.io.IOException: closed
\t\tat com.example.Main.close(Main.java:3)
Caused by: com.example.Refused: inner
\tat com.example.Main.inner(Main.java:20)
\t... 12 more
Caused by: java.lang.Error
\t... 13 common frames omitted",
    );
    check(
        TraceLanguage::Java,
        "2026-11-21 10:00:00 ERROR it failed: java.lang.IllegalStateException: bad\n\tat a.B.c(D.java)",
    );
    check(TraceLanguage::Java, "com.example.Refused: no\n\tat a.B.c(Unknown Source)");
}

#[test]
fn traces_of_python_are_one_record_with_what_they_are_chained_to() {
    check(
        TraceLanguage::Python,
        "Traceback (most recent call last):
  File \"/app/a.py\", line 3, in <module>
    run()
    ~~~^^
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File \"/app/a.py\", line 5, in <module>
    raise ValueError(1)
ValueError: 1

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File \"/app/a.py\", line 7, in <module>
RuntimeError",
    );
    check(
        TraceLanguage::Python,
        "  + Exception Group Traceback (most recent call last):
  |   File \"/app/a.py\", line 1, in <module>
  | ExceptionGroup: two (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | ValueError: 1
    +---------------- 2 ----------------
    | TypeError: 2
    +------------------------------------",
    );
}

#[test]
fn panics_of_go_are_one_record_with_their_goroutines() {
    check(
        TraceLanguage::Go,
        "panic: runtime error: index out of range [3] with length 3 [recovered]
\tpanic: again
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x48f5a0]

goroutine 1 [running]:
main.(*Server).run(0xc000012018, {0x1, 0x2})
\t/app/main.go:12 +0x1d
panic({0x45d400?, 0xc000012018?})
\t/usr/local/go/src/runtime/panic.go:884 +0x213
created by main.main in goroutine 1
\t/app/main.go:7 +0x25

goroutine 18 [select, 2 minutes]:
...additional frames elided...
rax    0x0
exit status 2",
    );
    check(
        TraceLanguage::Go,
        "2026/11/21 10:00:00 http: panic serving 127.0.0.1:5: oops
goroutine 7 [running]:
net/http.(*conn).serve.func1()
\t/usr/local/go/src/net/http/server.go:1850 +0xbf",
    );
}

#[test]
fn traces_of_the_other_languages_are_one_record() {
    let cases = [
        (
            TraceLanguage::Ruby,
            "a.rb:2:in 'Integer#/': divided by 0 (ZeroDivisionError)\n\tfrom a.rb:2:in 'run'\n\tfrom a.rb:5:in '<main>'",
        ),
        (
            TraceLanguage::Ruby,
            "a.rb:1:in `<main>': undefined method `x' for nil (NoMethodError)\n\nnil.x\n   ^^\n\tfrom b.rb:1:in `<main>'",
        ),
        (
            TraceLanguage::DotNet,
            "Unhandled exception. System.InvalidOperationException: outer
 ---> System.ArgumentException: inner
   at App.Inner() in /app/Program.cs:line 10
   --- End of inner exception stack trace ---
   at App.Main() in /app/Program.cs:line 5
--- End of stack trace from previous location ---
   at App.Run()",
        ),
        (
            TraceLanguage::JavaScript,
            "/app/a.js:3
    throw new TypeError('x');
    ^

TypeError: x
    at run (/app/a.js:3:11)
    at Object.<anonymous> (/app/a.js:6:1) {
  code: 'E',
  [cause]: Error: inner
      at /app/a.js:1:1
}

Node.js v22.1.0",
        ),
        (TraceLanguage::JavaScript, "Error: x\n    at run (/app/a.js:3:11)"),
        (
            TraceLanguage::Rust,
            "thread 'main' (71) panicked at src/main.rs:2:5:
assertion `left == right` failed
  left: 1
 right: 2
stack backtrace:
   0: std::panicking::begin_panic
             at /rustc/x/library/std/src/panicking.rs:1:1
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.",
        ),
        (
            TraceLanguage::Rust,
            "Error: outer\n\nCaused by:\n    0: middle\n    1: inner\n\nStack backtrace:\n   0: main",
        ),
        (
            TraceLanguage::Php,
            "PHP Fatal error:  Uncaught RuntimeException: inner in /app/a.php:3
Stack trace:
#0 /app/a.php(9): run()
#1 {main}

Next LogicException: outer in /app/a.php:5
Stack trace:
#0 {main}
  thrown in /app/a.php on line 5",
        ),
        (
            TraceLanguage::Php,
            "PHP Fatal error:  Uncaught Error: x in /a.php:1\nPHP Stack trace:\nPHP   1. {main}() /a.php:0",
        ),
    ];
    for (language, trace) in cases {
        check(language, trace);
    }
}

#[test]
fn one_trace_after_another_is_two_records() {
    let (first, second) =
        ("java.lang.Error: 1\n\tat a.B.c(D.java)", "java.lang.Error: 2\n\tat a.B.c(D.java)");
    let lines = format!("{first}\n{second}");
    assert_eq!(texts(MultilineRule::Traces(vec![TraceLanguage::Java]), &lines), [first, second]);
}

#[test]
fn start_and_continue_are_expressions() {
    let start = MultilineRule::Start(Arc::from(r"^\d{4}-"));
    let lines = "left over\n2026-11-21 a\n  more\n\n2026-11-21 b";
    assert_eq!(texts(start, lines), ["left over", "2026-11-21 a\n  more", "2026-11-21 b"]);
    let continues = MultilineRule::Continue(Arc::from(r"^\s"));
    assert_eq!(
        texts(continues, " first\n second\nthird\n fourth"),
        [" first\n second", "third\n fourth"]
    );
}

#[test]
fn a_record_that_is_full_is_complete() {
    let rule = || MultilineRule::Continue(Arc::from("^ "));
    let lines = ["a", " b", " c", " d", "e"];
    let texts = |max_bytes, max_lines| -> Vec<_> {
        let records = assemble(&joined(rule(), max_bytes, max_lines), lines);
        records.into_iter().map(|record| (record.text, record.lines)).collect()
    };
    let by_lines =
        [("a\n b\n c".into(), vec![0, 1, 2]), (" d".into(), vec![3]), ("e".into(), vec![4])];
    assert_eq!(texts(1000, 3), by_lines);
    // "a\n b\n c" has seven bytes.
    assert_eq!(texts(7, 1000), by_lines);
    assert_eq!(texts(6, 1000).first().unwrap().0, "a\n b");
    // A line alone may be longer.
    assert_eq!(texts(1, 1000).len(), 5);
}

#[test]
fn a_full_trace_goes_on_as_a_trace() {
    let lines = ["java.lang.Error", "\tat a", "\tat b", "\tat c"];
    let rule = MultilineRule::Traces(vec![TraceLanguage::Java]);
    let records = assemble(&joined(rule, 1000, 2), lines);
    let texts: Vec<_> = records.iter().map(|record| record.text.as_str()).collect();
    assert_eq!(texts, ["java.lang.Error\n\tat a", "\tat b\n\tat c"]);
}

#[test]
fn silence_ends_a_record_and_every_line_puts_it_off() {
    let mut run = Run::new(&joined(MultilineRule::Continue(Arc::from("^ ")), 1000, 1000));
    run.push("a");
    run.wait(Duration::from_millis(999));
    run.push(" b");
    run.wait(Duration::from_millis(999));
    assert!(run.records.is_empty());
    run.wait(Duration::from_millis(1));
    assert_eq!(run.texts(), ["a\n b"]);
    run.push(" late");
    run.wait(Duration::from_secs(1));
    assert_eq!(run.texts(), ["a\n b", " late"]);
}

#[test]
fn ordinary_lines_do_not_wait_for_a_trace() {
    let mut run = Run::new(&joined(MultilineRule::Traces(ALL.to_vec()), 1000, 1000));
    for line in
        ["", "GET / 200 (3 ms)", "{\"level\":\"info\"}", "\tindented", "}", "Caused by: nothing"]
    {
        run.push(line);
        assert_eq!(run.records.last().map(|record| record.text.as_str()), Some(line));
    }
}
