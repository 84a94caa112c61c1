//! The access log: where to, and in which form.

use std::fmt;
use std::path::PathBuf;

use super::{Fault, Text, was_off};
use crate::config::nearest;
use crate::snapshot::{LogField, LogFormat, LogOutput, LogPart};

/// A line of the template is never longer than its fields and this many bytes.
const TEMPLATE_LIMIT: usize = 4096;

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTarget(pub LogOutput);

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            LogOutput::Off => f.write_str("off"),
            LogOutput::Stdout => f.write_str("stdout"),
            LogOutput::Stderr => f.write_str("stderr"),
            LogOutput::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl Text for LogTarget {
    const KIND: &'static str = "log output";
    const EXAMPLE: &'static str = "file:/var/log/pillion/access.log";
    const PATTERN: &'static str = "^(off|stdout|stderr|file:.+)$";

    fn read(text: &str) -> Result<Self, Fault> {
        was_off(text, Self::KIND)?;
        let output = match text {
            "off" => LogOutput::Off,
            "stdout" => LogOutput::Stdout,
            "stderr" => LogOutput::Stderr,
            _ => match text.strip_prefix("file:") {
                Some(path) if !path.is_empty() => LogOutput::File(PathBuf::from(path)),
                _ if text.contains('/') => {
                    return Err(Fault::new(format!("{text:?} is not a log output"))
                        .hint(format!("for a file, write file:{text}")));
                }
                _ => {
                    return Err(Fault::new(format!("{text:?} is not a log output"))
                        .hint("write off, stdout, stderr or file:PATH"));
                }
            },
        };
        Ok(Self(output))
    }
}

/// The form of a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogForm(pub LogFormat);

impl LogForm {
    /// What a person reads beside the output of an app: one short line a request.
    pub fn readable() -> Self {
        let text = |text: &str| LogPart::Text(text.to_owned());
        let field = LogPart::Field;
        Self(LogFormat::Template(vec![
            field(LogField::Time),
            text(" "),
            field(LogField::Direction),
            text(" "),
            field(LogField::Method),
            text(" "),
            field(LogField::Authority),
            field(LogField::Path),
            text(" "),
            field(LogField::Status),
            text(" "),
            field(LogField::DurationMs),
            text("ms upstream="),
            field(LogField::Upstream),
            text(" reason="),
            field(LogField::Reason),
        ]))
    }
}

impl fmt::Display for LogForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            LogFormat::Json => f.write_str("json"),
            LogFormat::Template(parts) => parts.iter().try_for_each(|part| match part {
                LogPart::Text(text) => f.write_str(&text.replace('%', "%%")),
                LogPart::Field(field) => write!(f, "%{{{}}}", field.name()),
            }),
        }
    }
}

impl Text for LogForm {
    const KIND: &'static str = "log format";
    const EXAMPLE: &'static str = "%{time} %{method} %{path} %{status}";
    const PATTERN: &'static str = r"^(json|.*%\{[a-z0-9_]+\}.*)$";

    fn read(text: &str) -> Result<Self, Fault> {
        if text == "json" {
            return Ok(Self(LogFormat::Json));
        }
        if text.len() > TEMPLATE_LIMIT {
            return Err(Fault::new(format!("a template has at most {TEMPLATE_LIMIT} bytes")));
        }
        let parts = read_template(text)?;
        if !parts.iter().any(|part| matches!(part, LogPart::Field(_))) {
            return Err(Fault::new(format!("{text:?} has no field"))
                .hint("write json, or a template such as \"%{method} %{path} %{status}\""));
        }
        Ok(Self(LogFormat::Template(parts)))
    }
}

fn read_template(text: &str) -> Result<Vec<LogPart>, Fault> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            plain.push('%');
            rest = after;
            continue;
        }
        let (name, after) =
            after.strip_prefix('{').and_then(|after| after.split_once('}')).ok_or_else(|| {
                Fault::new(format!("a '%' in {text:?} begins no field"))
                    .hint("write %{field}, and %% for a per cent sign")
            })?;
        if !plain.is_empty() {
            parts.push(LogPart::Text(std::mem::take(&mut plain)));
        }
        parts.push(LogPart::Field(read_field(name)?));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(LogPart::Text(plain));
    }
    Ok(parts)
}

fn read_field(name: &str) -> Result<LogField, Fault> {
    LogField::from_name(name).ok_or_else(|| {
        let names = || LogField::ALL.iter().map(|(_, name, _)| *name);
        let hint = match nearest(name, names()) {
            Some(near) => format!("did you mean %{{{near}}}?"),
            None => format!("the fields are {}", names().collect::<Vec<_>>().join(", ")),
        };
        Fault::new(format!("%{{{name}}} is not a field of the access log")).hint(hint)
    })
}
