//! The logs role: which input a source has, which sink gets what, and that keys fit together.

mod sink;
mod source;

use std::sync::Arc;

use super::Problems;
use crate::config::key::KeyPath;
use crate::config::raw::logs as raw;
use crate::config::text::Fault;
use crate::logs::{Check, Condition, Logs, Redact, Resource, Test};

/// What the section means; `None` where there is no source.
pub(super) fn logs(raw: &raw::Logs, problems: &mut Problems<'_>) -> Option<Logs> {
    let path = KeyPath::top("logs");
    if raw.sources.is_empty() {
        if !raw.sinks.is_empty() {
            let fault = Fault::new("there are sinks, and no source that anything could come from");
            problems.at(&path.key("sinks"), fault.hint("add sources: NAME: {files: [GLOB]}"));
        }
        return None;
    }
    if raw.sinks.is_empty() && !problems.within(&path.key("sinks")) {
        let fault = Fault::new("there are sources, and no sink that anything could go to");
        problems.at(&path.key("sources"), fault.hint("add sinks: NAME: {to: stdout}"));
    }
    let sources = raw.sources.iter().map(|(name, raw)| {
        let path = path.key("sources").key(name);
        Arc::new(source::source(name, raw, &path, problems))
    });
    let sources: Vec<_> = sources.collect();
    one_app(raw, &path, problems);
    let names: Vec<&str> = raw.sources.keys().map(String::as_str).collect();
    let sinks = raw.sinks.iter().filter_map(|(name, raw)| {
        let path = path.key("sinks").key(name);
        sink::sink(name, raw, &names, &path, problems).map(Arc::new)
    });
    Some(Logs {
        state: raw.state.as_ref().map(|path| path.as_path().to_owned()),
        memory: raw.memory.bytes(),
        resource: resource(raw),
        redact: redact(&raw.redact),
        sinks: sinks.collect(),
        sources,
    })
}

/// The app's output can be read once.
fn one_app(raw: &raw::Logs, path: &KeyPath, problems: &mut Problems<'_>) {
    let mut with_app = raw.sources.iter().filter(|(_, source)| source.app.is_some());
    let first = with_app.next();
    if let (Some((first, _)), Some((second, _))) = (first, with_app.next()) {
        let fault = Fault::new(format!("source {first} reads the app's output already"));
        let path = path.key("sources").key(second).key("app");
        problems.at(&path, fault.hint("one source reads both outputs; tell them apart by stream"));
    }
}

fn resource(raw: &raw::Logs) -> Resource {
    let text = |(name, value): (&String, &raw::Line)| (name.clone(), value.to_string());
    let file =
        |(prefix, path): (&String, &raw::FilePath)| (path.as_path().to_owned(), prefix.clone());
    Resource {
        attributes: raw.resource.iter().map(text).collect(),
        files: raw.resource_files.iter().map(file).collect(),
    }
}

fn redact(raw: &raw::Redact) -> Redact {
    Redact {
        delivered: raw.delivered,
        keys: raw.keys.iter().map(ToString::to_string).collect(),
        patterns: raw.patterns.iter().map(|pattern| Arc::from(pattern.as_str())).collect(),
        cards: raw.cards,
    }
}

fn condition(raw: &[raw::Test], path: &KeyPath, problems: &mut Problems<'_>) -> Condition {
    let tests = raw.iter().enumerate();
    Condition {
        all: tests.filter_map(|(index, raw)| test(raw, &path.item(index), problems)).collect(),
    }
}

fn test(raw: &raw::Test, path: &KeyPath, problems: &mut Problems<'_>) -> Option<Test> {
    // What is wrong with it has been said; what is left of it says nothing.
    if problems.within(path) {
        return None;
    }
    let Some(field) = &raw.field else {
        let fault = Fault::new("a test names the field that it looks at");
        problems.at(path, fault.hint("such as {field: severity, at_least: warn}"));
        return None;
    };
    let mut negated = raw.not;
    let exists = raw.exists.map(|exists| {
        negated ^= !exists;
        Check::Exists
    });
    let text = |line: &Option<raw::Line>| line.as_ref().map(ToString::to_string);
    let checks = [
        exists,
        text(&raw.equals).map(Check::Equals),
        text(&raw.prefix).map(Check::Prefix),
        text(&raw.contains).map(Check::Contains),
        raw.matches.as_ref().map(|pattern| Check::Matches(Arc::from(pattern.as_str()))),
        raw.at_least.map(|word| Check::AtLeast(severity(word))),
    ];
    let mut checks = checks.into_iter().flatten();
    match (checks.next(), checks.next()) {
        (Some(check), None) => Some(Test { field: field.0.clone(), check, negated }),
        _ => {
            let fault = Fault::new(
                "a test has exactly one of exists, equals, prefix, contains, matches and at_least",
            );
            problems.at(path, fault.hint("several tests in the list must all hold"));
            None
        }
    }
}

/// The lowest number of the word in the OpenTelemetry log data model.
fn severity(word: raw::SeverityWord) -> u8 {
    match word {
        raw::SeverityWord::Trace => 1,
        raw::SeverityWord::Debug => 5,
        raw::SeverityWord::Info => 9,
        raw::SeverityWord::Warn => 13,
        raw::SeverityWord::Error => 17,
        raw::SeverityWord::Fatal => 21,
    }
}
