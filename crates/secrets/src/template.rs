//! Templates over secrets and configuration, in two languages: `MiniJinja`, and consul-template's for
//! files that exist already.
//!
//! A template is parsed once. [`Template::needs`] says what must be fetched before it is rendered, so
//! that rendering asks nobody. What it writes, how many steps it takes and how deep it nests is
//! bounded; it reads no file, runs no command and sees of the environment what it is given.

mod consul;
mod fault;
mod jinja;
mod output;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use pillion_model::secrets::TemplateLanguage;
use pillion_runtime::board::Secret;

use self::consul::Consul;
use self::fault::Fault;
use self::jinja::Jinja;
use crate::fetched::{Datum, Fetched};

/// The most bytes of a template.
pub const MAX_SOURCE: usize = 1 << 20;
/// The most bytes that a template may write.
pub const MAX_OUTPUT: usize = 4 << 20;
/// The most steps of rendering.
const MAX_STEPS: usize = 1_000_000;
/// Values that are shorter are too common in any text to be hidden in messages.
const LEAST_HIDDEN: usize = 4;

/// What a template is rendered with.
#[derive(Clone, Debug)]
pub struct Values {
    /// Secrets by their name in the configuration.
    pub secrets: BTreeMap<Arc<str>, Fetched>,
    /// Answers to what consul-templates ask for.
    pub requested: BTreeMap<Request, Fetched>,
    /// Files of configuration sources: source, file, content.
    pub configs: BTreeMap<Arc<str>, BTreeMap<String, Secret>>,
    /// The environment that templates see.
    pub env: HashMap<String, String>,
    /// The time that `timestamp` says.
    pub now: SystemTime,
}

/// What must be there before a template is rendered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A secret by its name in the configuration.
    Secret(Arc<str>),
    /// A configuration source by its name.
    Config(Arc<str>),
    /// What a consul-template asks the server for.
    Request(Request),
}

/// A request for a secret: what it reads, or writes where there is data.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Path without `/v1/`, without slashes at its ends.
    pub path: String,
    /// Values that make it a write, in order of their names.
    pub data: Vec<(String, String)>,
    /// A certain version of a KV 2 secret.
    pub version: Option<u64>,
}

impl Request {
    /// `PATH[?version=N]` and `KEY=VALUE` pairs, as consul-template writes them.
    fn parse(path: &str, pairs: &[&str]) -> Result<Self, String> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let version = match query.strip_prefix("version=") {
            None if query.is_empty() => None,
            number => Some(number.and_then(|number| number.parse().ok()).ok_or_else(|| {
                format!("?{query} after a path is not understood; ?version=NUMBER is")
            })?),
        };
        let path = path.trim_matches('/').to_owned();
        if path.is_empty() {
            return Err("the path is empty".to_owned());
        }
        let mut data = Vec::new();
        for pair in pairs {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                format!("what follows the path {path} is KEY=VALUE, each one text")
            })?;
            data.push((key.trim().to_owned(), value.trim().to_owned()));
        }
        data.sort();
        Ok(Self { path, data, version })
    }
}

/// Why a template cannot be parsed or rendered. Values of secrets are left out of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct TemplateError {
    /// The template's file, or what it is called.
    pub template: Arc<str>,
    /// Line from 1 on and, where it is known, column; both in the template.
    pub place: Option<(usize, Option<usize>)>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.template)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}")?;
            column.map_or(Ok(()), |column| write!(f, ":{column}"))?;
        }
        write!(f, ": {}", self.message)
    }
}

/// A parsed template.
#[derive(Clone, Debug)]
pub struct Template {
    name: Arc<str>,
    source: Arc<str>,
    language: Language,
}

#[derive(Clone, Debug)]
enum Language {
    Jinja(Jinja),
    Consul(Consul),
}

impl Template {
    /// Parses a template, which messages call `name`.
    ///
    /// # Errors
    /// It is too long, breaks its language's syntax, or uses a function that is not there.
    pub fn parse(
        name: &str,
        text: &str,
        language: TemplateLanguage,
    ) -> Result<Self, TemplateError> {
        let (name, source): (Arc<str>, Arc<str>) = (name.into(), text.into());
        let parsed = match language {
            _ if text.len() > MAX_SOURCE => {
                Err(Fault::new(format!("the template is longer than {MAX_SOURCE} bytes")))
            }
            TemplateLanguage::Jinja => Jinja::parse(text).map(Language::Jinja),
            TemplateLanguage::Consul => Consul::parse(text).map(Language::Consul),
        };
        match parsed {
            Ok(language) => Ok(Self { name, source, language }),
            Err(fault) => Err(placed(&name, &source, fault)),
        }
    }

    /// What must be in the values that it is rendered with. Of these `values` only the environment is
    /// looked at.
    ///
    /// # Errors
    /// It cannot be told before secrets are there.
    pub fn needs(&self, values: &Values) -> Result<Vec<Need>, TemplateError> {
        match &self.language {
            Language::Jinja(jinja) => Ok(jinja.needs().to_vec()),
            Language::Consul(consul) => {
                consul.needs(values).map_err(|fault| self.error(fault, values))
            }
        }
    }

    /// Renders it.
    ///
    /// # Errors
    /// A value is missing or does not fit, or a limit is reached.
    pub fn render(&self, values: &Values) -> Result<Secret, TemplateError> {
        let rendered = match &self.language {
            Language::Jinja(jinja) => jinja.render(values),
            Language::Consul(consul) => consul.render(values),
        };
        match rendered {
            Ok(output) => Ok(Secret::from(output.into_text().as_str())),
            Err(fault) => Err(self.error(fault, values)),
        }
    }

    fn error(&self, fault: Fault, values: &Values) -> TemplateError {
        let mut error = placed(&self.name, &self.source, fault);
        let fetched = values.secrets.values().chain(values.requested.values());
        let hidden = fetched.flat_map(|fetched| fetched.data.values()).flat_map(Datum::texts);
        for value in hidden {
            let text = value.reveal_text().unwrap_or("");
            if text.len() >= LEAST_HIDDEN && error.message.contains(text) {
                error.message = error.message.replace(text, "[secret]");
            }
        }
        error
    }
}

/// A fault with its line and column.
fn placed(name: &Arc<str>, source: &str, fault: Fault) -> TemplateError {
    let before = fault.at.and_then(|at| source.get(..at));
    let place = before.map(|before| {
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(start..).unwrap_or("").chars().count() + 1;
        (line, Some(column))
    });
    TemplateError { template: name.clone(), place, message: fault.message }
}
