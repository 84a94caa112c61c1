//! Stack traces: how each language begins one, and what may follow. A trace is a record of its own;
//! the line before it stays one too, because nothing tells whether they belong together.

use memchr::memmem;
use pillion_model::logs::TraceLanguage;
use smallvec::SmallVec;

/// How many lines of source Ruby shows between a message and its frames, at most.
const RUBY_SNIPPET: u8 = 6;

/// Where in a trace the last line was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trace {
    Java,
    DotNet,
    /// Node shows the place in the source: so many lines of it may follow, then the error.
    JavaScriptSource(u8),
    JavaScript,
    /// An empty line ended it; the version of Node may follow.
    JavaScriptEnd,
    Python,
    /// The exception itself was named: only a chained one may follow.
    PythonEnd,
    /// The chained one was announced.
    PythonChained,
    /// Frames that belong to several exceptions are all indented.
    PythonGroup,
    Go,
    Ruby,
    RubySnippet(u8),
    /// The line after the head is the message.
    RustMessage,
    Rust,
    /// An error that `main` returned: its causes may follow.
    RustError,
    Php,
}

/// Where the last line was in the traces that it may belong to. Languages begin their traces alike;
/// the lines that follow tell them apart.
pub(super) type Traces = SmallVec<[Trace; 8]>;

/// The traces of these languages that a line may begin.
pub(super) fn heads(languages: &[TraceLanguage], line: &str) -> Traces {
    languages.iter().filter_map(|language| head(*language, line)).collect()
}

/// Where the traces are after this line, without those that it does not belong to.
pub(super) fn next(traces: &Traces, line: &str) -> Traces {
    traces.iter().filter_map(|trace| trace.next(line)).collect()
}

fn head(language: TraceLanguage, line: &str) -> Option<Trace> {
    match language {
        TraceLanguage::Java => is_java_head(line).then_some(Trace::Java),
        TraceLanguage::DotNet => is_dot_net_head(line).then_some(Trace::DotNet),
        TraceLanguage::JavaScript => java_script_head(line),
        TraceLanguage::Python => python_head(line),
        TraceLanguage::Go => is_go_head(line).then_some(Trace::Go),
        TraceLanguage::Ruby => is_ruby_head(line).then_some(Trace::Ruby),
        TraceLanguage::Rust => rust_head(line),
        TraceLanguage::Php => contains(line, "Fatal error: ").then_some(Trace::Php),
    }
}

impl Trace {
    /// Where the trace is after this line; `None`: the line does not belong to it.
    fn next(self, line: &str) -> Option<Self> {
        match self {
            Self::Java => continues_java(line).then_some(Self::Java),
            Self::DotNet => continues_dot_net(line).then_some(Self::DotNet),
            Self::JavaScriptSource(left) => after_source(line, left),
            Self::JavaScript => after_java_script(line),
            Self::JavaScriptEnd => line.starts_with("Node.js v").then_some(Self::JavaScript),
            Self::Python => after_python(line),
            Self::PythonEnd => after_python_end(line),
            Self::PythonChained if line.is_empty() => Some(self),
            Self::PythonChained => python_head(line),
            Self::PythonGroup => is_indented(line).then_some(Self::PythonGroup),
            Self::Go => continues_go(line).then_some(Self::Go),
            Self::Ruby | Self::RubySnippet(_) => self.after_ruby(line),
            Self::RustMessage => Some(Self::Rust),
            Self::Rust => continues_rust(line).then_some(Self::Rust),
            Self::RustError => continues_rust_error(line).then_some(Self::RustError),
            Self::Php => continues_php(line).then_some(Self::Php),
        }
    }

    fn after_ruby(self, line: &str) -> Option<Self> {
        match self {
            _ if is_indented(line) && line.trim_start().starts_with("from ") => Some(Self::Ruby),
            Self::Ruby if line.is_empty() => Some(Self::RubySnippet(RUBY_SNIPPET)),
            Self::RubySnippet(left) => Some(Self::RubySnippet(left.checked_sub(1)?)),
            _ => None,
        }
    }
}

fn contains(line: &str, text: &str) -> bool {
    memmem::find(line.as_bytes(), text.as_bytes()).is_some()
}

fn is_indented(line: &str) -> bool {
    line.starts_with([' ', '\t'])
}

/// `at …` after white space: a frame of Java, .NET and JavaScript.
fn is_at_frame(line: &str) -> bool {
    is_indented(line) && line.trim_start().starts_with("at ")
}

/// Whether the name of a throwable stands in it, followed by a colon or the end.
fn names_throwable(line: &str) -> bool {
    ["Exception", "Error", "Throwable"].into_iter().any(|name| {
        memmem::find_iter(line.as_bytes(), name).any(|at| {
            let after = line.as_bytes().get(at + name.len());
            matches!(after, None | Some(b':'))
        })
    })
}

/// `com.example.Failed`, then a colon or the end: a class of any name.
fn begins_with_class(line: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$');
    let end = line.bytes().position(|byte| !is_name(byte)).unwrap_or(line.len());
    let (path, after) = line.split_at(end);
    let class = path.rsplit_once('.').map(|(_, class)| class);
    let named = class.is_some_and(|class| class.starts_with(|first: char| first.is_uppercase()));
    named && (after.is_empty() || after.starts_with(':'))
}

fn is_java_head(line: &str) -> bool {
    line.starts_with("Exception in thread \"") || begins_with_class(line) || names_throwable(line)
}

fn continues_java(line: &str) -> bool {
    let text = line.trim_start();
    let more = || {
        let count = text.strip_prefix("... ").unwrap_or_default();
        count.ends_with(" more") || count.ends_with(" common frames omitted")
    };
    is_at_frame(line)
        || text.starts_with("Caused by: ")
        || is_indented(line) && (text.starts_with("Suppressed: ") || more())
        || is_indented(line) && text.starts_with("[CIRCULAR REFERENCE")
}

fn is_dot_net_head(line: &str) -> bool {
    line.starts_with("Unhandled exception. ") || begins_with_class(line) || names_throwable(line)
}

fn continues_dot_net(line: &str) -> bool {
    let text = line.trim_start();
    is_at_frame(line)
        || text.starts_with("---> ")
        || text.starts_with("--- End of inner exception stack trace ---")
        || text.starts_with("--- End of stack trace from previous location")
}

fn java_script_head(line: &str) -> Option<Trace> {
    let name_end = line.find([':', ' ']).unwrap_or(line.len());
    let name = line.get(..name_end).unwrap_or_default();
    let is_error = name.ends_with("Error") && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_error || line.starts_with("Uncaught ") {
        return Some(Trace::JavaScript);
    }
    let (file, number) = line.rsplit_once(':')?;
    let is_file = ["/", "file:///", "node:"].into_iter().any(|prefix| file.starts_with(prefix));
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_file && is_number && !file.contains(' ')).then_some(Trace::JavaScriptSource(4))
}

fn after_source(line: &str, left: u8) -> Option<Trace> {
    match java_script_head(line) {
        Some(Trace::JavaScript) => Some(Trace::JavaScript),
        _ => left.checked_sub(1).map(Trace::JavaScriptSource),
    }
}

fn after_java_script(line: &str) -> Option<Trace> {
    if line.is_empty() {
        return Some(Trace::JavaScriptEnd);
    }
    (is_indented(line) || line.starts_with('}')).then_some(Trace::JavaScript)
}

fn python_head(line: &str) -> Option<Trace> {
    let text = line.trim();
    if !text.ends_with("Traceback (most recent call last):") {
        return None;
    }
    Some(if text.starts_with("+ Exception Group") { Trace::PythonGroup } else { Trace::Python })
}

fn after_python(line: &str) -> Option<Trace> {
    if is_indented(line) {
        return Some(Trace::Python);
    }
    (!line.is_empty()).then_some(Trace::PythonEnd)
}

fn after_python_end(line: &str) -> Option<Trace> {
    match line {
        "" => Some(Trace::PythonEnd),
        "During handling of the above exception, another exception occurred:"
        | "The above exception was the direct cause of the following exception:" => {
            Some(Trace::PythonChained)
        }
        _ => None,
    }
}

fn is_go_head(line: &str) -> bool {
    let heads = ["panic: ", "fatal error: ", "SIGQUIT: quit", "runtime: goroutine "];
    heads.into_iter().any(|head| line.starts_with(head))
        || line.starts_with("goroutine ") && line.ends_with("]:")
        || contains(line, "http: panic serving ")
}

fn continues_go(line: &str) -> bool {
    let heads =
        ["goroutine ", "created by ", "[signal ", "[recovered]", "exit status ", "...", "PC="];
    line.is_empty()
        || line.starts_with('\t')
        || heads.into_iter().any(|head| line.starts_with(head))
        || is_go_frame(line)
        || is_go_register(line)
}

/// `main.(*T).run(0x1, 0x2)`, `panic({0x1, 0x2})`.
fn is_go_frame(line: &str) -> bool {
    let function = line.split(' ').next().unwrap_or_default();
    line.ends_with(')') && function.contains('(') && !function.starts_with('(')
}

/// `rax    0x0`.
fn is_go_register(line: &str) -> bool {
    let Some((name, value)) = line.split_once(' ') else { return false };
    name.len() <= 6 && value.trim_start().starts_with("0x") && !value.trim_start().contains(' ')
}

/// `a.rb:1:in 'run': message (SomeError)`.
fn is_ruby_head(line: &str) -> bool {
    line.ends_with(')') && (contains(line, ":in `") || contains(line, ":in '"))
}

fn rust_head(line: &str) -> Option<Trace> {
    if line.starts_with("thread '") && contains(line, " panicked at ") {
        // Before Rust 1.73 the message stood on the same line.
        return Some(if line.ends_with(':') { Trace::RustMessage } else { Trace::Rust });
    }
    line.starts_with("Error: ").then_some(Trace::RustError)
}

fn continues_rust(line: &str) -> bool {
    is_indented(line) || line.starts_with("note: ") || line == "stack backtrace:"
}

fn continues_rust_error(line: &str) -> bool {
    let heads = ["Caused by:", "Location:", "Stack backtrace:"];
    line.is_empty() || is_indented(line) || heads.into_iter().any(|head| line.starts_with(head))
}

fn continues_php(line: &str) -> bool {
    let text = line.trim_start().trim_start_matches("PHP ").trim_start();
    let frame = text.strip_prefix('#').unwrap_or(text);
    let numbered = frame.starts_with(|first: char| first.is_ascii_digit());
    line.is_empty()
        || text == "Stack trace:"
        || text.starts_with("thrown in ")
        || text.starts_with("Next ")
        || numbered && (text.starts_with('#') || frame.contains(". "))
}
