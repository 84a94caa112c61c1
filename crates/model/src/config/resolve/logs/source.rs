//! One source: its input, its formats, its steps.

use std::sync::Arc;
use std::time::Duration;

use super::condition;
use crate::config::diagnostic::Problems;
use crate::config::key::KeyPath;
use crate::config::raw::logs as raw;
use crate::config::resolve::{number, without_effect};
use crate::config::text::Fault;
use crate::logs::{
    AppOutput, DropPolicy, Encoding, Files, Format, FullPolicy, Input, Listen, ListenProtocol,
    Multiline, MultilineRule, Source, Step, Terminal, TraceLanguage,
};

const OPEN_FILES: u32 = 256;
const IDLE_CLOSE: Duration = Duration::from_secs(5);
const CONNECTIONS: u32 = 1024;

pub(super) fn source(
    name: &str,
    raw: &raw::LogSource,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Source {
    let attributes = raw.attributes.iter();
    Source {
        name: Arc::from(name),
        input: input(raw, path, problems),
        encoding: match raw.encoding {
            raw::Encoding::Utf8 => Encoding::Utf8,
            raw::Encoding::Utf16Le => Encoding::Utf16Le,
            raw::Encoding::Utf16Be => Encoding::Utf16Be,
            raw::Encoding::Latin1 => Encoding::Latin1,
        },
        line_bytes: raw.line_bytes.bytes(),
        parse: formats(raw, path, problems),
        multiline: multiline(&raw.multiline, &path.key("multiline"), problems),
        attributes: attributes.map(|(name, value)| (name.clone(), value.to_string())).collect(),
        steps: steps(&raw.steps, &path.key("steps"), problems),
    }
}

fn input(raw: &raw::LogSource, path: &KeyPath, problems: &mut Problems<'_>) -> Input {
    let inputs = [!raw.files.is_empty(), raw.app.is_some(), raw.listen.is_some()];
    let there = inputs.iter().filter(|there| **there).count();
    if there != 1 && !problems.within(path) {
        let fault = Fault::new("a source has exactly one of files, app and listen");
        problems.at(path, fault.hint("such as {files: [/var/log/shop/*.log]} or {app: both}"));
    }
    let of_files = [
        ("exclude", !raw.exclude.is_empty()),
        ("from", raw.from.is_some()),
        ("compressed", raw.compressed.is_some()),
        ("open_files", raw.open_files.is_some()),
        ("idle_close", raw.idle_close.is_some()),
    ];
    if raw.files.is_empty() {
        without_effect(&of_files, "files", path, problems);
    } else {
        without_effect(&[("full", raw.full.is_some())], "app or listen", path, problems);
    }
    if raw.app.is_none() {
        without_effect(&[("terminal", raw.terminal.is_some())], "app", path, problems);
    }
    if raw.listen.is_none() {
        without_effect(&[("connections", raw.connections.is_some())], "listen", path, problems);
    }
    match (&raw.app, &raw.listen) {
        (Some(streams), _) => Input::App(app(*streams, raw, path, problems)),
        (None, Some(listen)) => Input::Listen(receiver(listen, raw, path, problems)),
        (None, None) => Input::Files(files(raw)),
    }
}

fn files(raw: &raw::LogSource) -> Files {
    let globs = |globs: &[raw::FileGlob]| globs.iter().map(ToString::to_string).collect();
    Files {
        include: globs(&raw.files),
        exclude: globs(&raw.exclude),
        from_start: raw.from != Some(raw::ReadFrom::End),
        compressed: raw.compressed.unwrap_or(true),
        open_files: number(raw.open_files.unwrap_or(OPEN_FILES)),
        idle_close: raw.idle_close.map_or(IDLE_CLOSE, raw::Period::get),
    }
}

fn app(
    streams: raw::AppStreams,
    raw: &raw::LogSource,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> AppOutput {
    let full = match raw.full {
        Some(raw::Full::Block) => {
            let fault = Fault::new("the app never waits for its logs");
            problems.at(&path.key("full"), fault.hint("write drop_oldest or drop_newest"));
            DropPolicy::Newest
        }
        Some(raw::Full::DropOldest) => DropPolicy::Oldest,
        Some(raw::Full::DropNewest) | None => DropPolicy::Newest,
    };
    AppOutput {
        stdout: streams != raw::AppStreams::Stderr,
        stderr: streams != raw::AppStreams::Stdout,
        terminal: match raw.terminal {
            Some(raw::Terminal::Redacted) => Terminal::Redacted,
            Some(raw::Terminal::Off) => Terminal::Off,
            Some(raw::Terminal::Copy) | None => Terminal::Copy,
        },
        full,
    }
}

fn receiver(
    listen: &raw::LogSender,
    raw: &raw::LogSource,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Listen {
    let datagrams = matches!(listen.protocol, ListenProtocol::Udp | ListenProtocol::SyslogUdp);
    let full = match raw.full {
        Some(raw::Full::Block) if datagrams => {
            let fault = Fault::new("who sends datagrams cannot be made to wait");
            problems.at(&path.key("full"), fault.hint("write drop_oldest or drop_newest"));
            FullPolicy::Block
        }
        Some(raw::Full::DropOldest) => FullPolicy::Drop(DropPolicy::Oldest),
        Some(raw::Full::DropNewest) => FullPolicy::Drop(DropPolicy::Newest),
        None if datagrams => FullPolicy::Drop(DropPolicy::Newest),
        Some(raw::Full::Block) | None => FullPolicy::Block,
    };
    Listen {
        protocol: listen.protocol,
        address: listen.address.clone(),
        connections: number(raw.connections.unwrap_or(CONNECTIONS)),
        full,
    }
}

fn formats(raw: &raw::LogSource, path: &KeyPath, problems: &mut Problems<'_>) -> Vec<Format> {
    let with_regex = raw.parse.contains(&raw::LineFormat::Regex);
    if !with_regex {
        let keys = [("pattern", raw.pattern.is_some()), ("time", raw.time.is_some())];
        without_effect(&keys, "parse: regex", path, problems);
    } else if raw.pattern.is_none() && !problems.within(&path.key("pattern")) {
        let fault = Fault::new("parse: regex needs an expression");
        problems.at(&path.key("parse"), fault.hint("add pattern: '(?<message>.*)'"));
    }
    wrappings_come_first(&raw.parse, &path.key("parse"), problems);
    let format = |format: &raw::LineFormat| match format {
        raw::LineFormat::Cri => Format::Cri,
        raw::LineFormat::Docker => Format::Docker,
        raw::LineFormat::Json => Format::Json,
        raw::LineFormat::Logfmt => Format::Logfmt,
        raw::LineFormat::Syslog => Format::Syslog,
        raw::LineFormat::Clf => Format::Clf,
        raw::LineFormat::NginxError => Format::NginxError,
        raw::LineFormat::Regex => Format::Regex {
            pattern: Arc::from(raw.pattern.as_ref().map_or("", raw::Expression::as_str)),
            time: raw.time.as_ref().map(|time| Arc::from(time.as_str())),
        },
    };
    raw.parse.iter().map(format).collect()
}

/// What a container runtime puts around lines is taken off before anything else is done with them.
fn wrappings_come_first(formats: &[raw::LineFormat], path: &KeyPath, problems: &mut Problems<'_>) {
    for (index, format) in formats.iter().enumerate().skip(1) {
        let name = match format {
            raw::LineFormat::Cri => "cri",
            raw::LineFormat::Docker => "docker",
            raw::LineFormat::Json
            | raw::LineFormat::Logfmt
            | raw::LineFormat::Syslog
            | raw::LineFormat::Clf
            | raw::LineFormat::NginxError
            | raw::LineFormat::Regex => continue,
        };
        let fault = Fault::new(format!(
            "{name} can only come first: what a container runtime puts around a line is taken off \
             before anything else"
        ));
        problems.at(&path.item(index), fault.hint("move it to the front, or leave it out"));
    }
}

fn multiline(
    raw: &raw::Multiline,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Option<Multiline> {
    let text = |pattern: &raw::Expression| Arc::from(pattern.as_str());
    let rules = [
        raw.start.as_ref().map(|pattern| MultilineRule::Start(text(pattern))),
        raw.continues.as_ref().map(|pattern| MultilineRule::Continue(text(pattern))),
        (!raw.traces.is_empty())
            .then(|| MultilineRule::Traces(raw.traces.iter().copied().map(language).collect())),
    ];
    let mut rules = rules.into_iter().flatten();
    let rule = rules.next()?;
    if rules.next().is_some() {
        let fault = Fault::new("lines are joined by one of start, continue and traces");
        problems.at(path, fault.hint("remove the others"));
    }
    Some(Multiline {
        rule,
        timeout: raw.timeout.get(),
        max_bytes: raw.max_bytes.bytes(),
        max_lines: number(raw.max_lines),
    })
}

fn language(raw: raw::TraceLanguage) -> TraceLanguage {
    match raw {
        raw::TraceLanguage::Java => TraceLanguage::Java,
        raw::TraceLanguage::Python => TraceLanguage::Python,
        raw::TraceLanguage::Go => TraceLanguage::Go,
        raw::TraceLanguage::Ruby => TraceLanguage::Ruby,
        raw::TraceLanguage::DotNet => TraceLanguage::DotNet,
        raw::TraceLanguage::JavaScript => TraceLanguage::JavaScript,
        raw::TraceLanguage::Rust => TraceLanguage::Rust,
        raw::TraceLanguage::Php => TraceLanguage::Php,
    }
}

fn steps(raw: &[raw::Step], path: &KeyPath, problems: &mut Problems<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for (index, raw) in raw.iter().enumerate() {
        let path = path.item(index);
        let before = steps.len();
        let mut kinds = 0;
        for read in [dropped, limited] {
            kinds += read(raw, &path, &mut steps, problems);
        }
        kinds += changed(raw, &mut steps);
        if kinds != 1 && !problems.within(&path) {
            steps.truncate(before);
            let fault = Fault::new(
                "a step is exactly one of drop, keep, sample, rate_limit, set, remove and rename",
            );
            problems.at(&path, fault.hint("make each a step of its own: they run in order"));
        }
    }
    steps
}

/// Adds what this step drops or keeps; returns how many kinds of step it is.
fn dropped(
    raw: &raw::Step,
    path: &KeyPath,
    steps: &mut Vec<Step>,
    problems: &mut Problems<'_>,
) -> usize {
    let before = steps.len();
    if !raw.drop.is_empty() {
        steps.push(Step::Drop(condition(&raw.drop, &path.key("drop"), problems)));
    }
    if !raw.keep.is_empty() {
        steps.push(Step::Keep(condition(&raw.keep, &path.key("keep"), problems)));
    }
    steps.len() - before
}

/// Adds what this step thins out; returns how many kinds of step it is.
fn limited(
    raw: &raw::Step,
    path: &KeyPath,
    steps: &mut Vec<Step>,
    problems: &mut Problems<'_>,
) -> usize {
    let before = steps.len();
    let (sample, rate) = (path.key("sample"), path.key("rate_limit"));
    if let Some(percent) = raw.sample.percent {
        let when = condition(&raw.sample.when, &sample.key("when"), problems);
        steps.push(Step::Sample { when, ratio: percent.ratio() });
    } else if !raw.sample.when.is_empty() {
        problems.at(&sample, Fault::new("sample says what part is kept").hint("add percent: 10%"));
    }
    if let Some(per_second) = raw.rate_limit.per_second {
        steps.push(Step::RateLimit {
            when: condition(&raw.rate_limit.when, &rate.key("when"), problems),
            per_second,
            burst: raw.rate_limit.burst.unwrap_or(per_second),
            by: raw.rate_limit.by.as_ref().map(|by| by.0.clone()),
        });
    } else if raw.rate_limit != raw::RateLimit::default() {
        let fault = Fault::new("rate_limit says how many records a second are kept");
        problems.at(&rate, fault.hint("add per_second: 100"));
    }
    steps.len() - before
}

/// Adds what this step changes; returns how many kinds of step it is.
fn changed(raw: &raw::Step, steps: &mut Vec<Step>) -> usize {
    let before = steps.len();
    if !raw.set.is_empty() {
        let set = raw.set.iter().map(|(name, value)| (name.clone(), value.to_string()));
        steps.push(Step::Set(set.collect()));
    }
    if !raw.remove.is_empty() {
        steps.push(Step::Remove(raw.remove.iter().map(ToString::to_string).collect()));
    }
    if !raw.rename.is_empty() {
        let rename = raw.rename.iter().map(|(from, to)| (from.clone(), to.to_string()));
        steps.push(Step::Rename(rename.collect()));
    }
    steps.len() - before
}
