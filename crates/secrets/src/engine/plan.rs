//! What a set of files is made of, and the draft of its next version.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use pillion_model::secrets::{Content, FileSet, FileSpec, Limits, TemplateSource, TemplateText};
use pillion_runtime::board::Secret;

use super::inputs::{Input, Taken};
use crate::fetched::Fetched;
use crate::store::{Draft, DraftError, DraftFile, FileName, Owner};
use crate::template::{Need, Template, TemplateError, Values};

/// The files of a set, their templates parsed.
#[derive(Debug)]
pub(super) struct Plan {
    files: Vec<(FileSpec, Option<Template>)>,
}

/// Why there is no draft.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undrafted {
    /// A value is not there.
    #[error("{0}")]
    Missing(String),
    /// A template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A file, or all of them together.
    #[error(transparent)]
    Draft(#[from] DraftError),
}

impl Undrafted {
    /// The limit that there was too much for, as its key below `secrets`.
    pub(super) fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Draft(error) => error.limit(),
            Self::Missing(_) | Self::Template(_) => None,
        }
    }
}

impl From<String> for Undrafted {
    fn from(missing: String) -> Self {
        Self::Missing(missing)
    }
}

impl Plan {
    /// Reads and parses the templates of a set.
    ///
    /// # Errors
    /// One of them cannot be read or parsed: one sentence.
    pub(super) fn new(set: &FileSet) -> Result<Self, String> {
        let files = set.files.iter().map(|file| {
            let template = match &file.content {
                Content::Template(source) => Some(parsed(&file.name, source)?),
                Content::Key { .. } | Content::Json(_) | Content::Config(_) => None,
            };
            Ok((file.clone(), template))
        });
        Ok(Self { files: files.collect::<Result<_, String>>()? })
    }

    /// Everything that has to be there before it can be drafted.
    ///
    /// # Errors
    /// A template does not tell before it is rendered: one sentence.
    pub(super) fn needs(&self) -> Result<Vec<Input>, String> {
        let mut needs = Vec::new();
        for (file, template) in &self.files {
            match &file.content {
                Content::Key { secret, .. } | Content::Json(secret) => {
                    needs.push(Input::Secret(secret.clone()));
                }
                Content::Config(config) => needs.push(Input::Config(config.clone())),
                Content::Template(_) => needs.extend(needs_of(template.as_ref())?),
            }
        }
        needs.sort();
        needs.dedup();
        Ok(needs)
    }

    /// The files with these values.
    ///
    /// # Errors
    /// A key is missing, a template cannot be rendered, or the files do not fit together.
    pub(super) fn draft(&self, taken: &Taken, limits: Limits) -> Result<Draft, Undrafted> {
        let has_templates = self.files.iter().any(|(_, template)| template.is_some());
        let values = has_templates.then(|| values(taken));
        let mut files = Vec::new();
        for (file, template) in &self.files {
            match &file.content {
                Content::Key { secret, key } => files.push(made(file, taken.key(secret, key)?)?),
                Content::Json(secret) => files.push(made(file, taken.json(secret)?)?),
                Content::Config(config) => {
                    for (name, content) in &taken.config(config)?.files {
                        let name = format!("{}/{name}", file.name);
                        files.push(named(file, name, content.clone())?);
                    }
                }
                Content::Template(_) => {
                    let (Some(template), Some(values)) = (template, &values) else { continue };
                    let rendered = template.render(values)?;
                    files.push(made(file, rendered)?);
                }
            }
        }
        Ok(Draft::new(files)?.within(limits)?)
    }

    /// Every secret that is in the files: what must not appear in a log.
    pub(super) fn secrets(&self, taken: &Taken) -> Vec<Secret> {
        let mut secrets = Vec::new();
        for (file, template) in &self.files {
            match &file.content {
                Content::Key { secret, key } => secrets.extend(taken.key(secret, key)),
                Content::Json(secret) => {
                    secrets.extend(taken.values_of(&Input::Secret(secret.clone())));
                }
                Content::Config(_) => {}
                Content::Template(_) => {
                    let needs = needs_of(template.as_ref()).unwrap_or_default();
                    secrets.extend(needs.iter().flat_map(|need| taken.values_of(need)));
                }
            }
        }
        secrets
    }
}

/// The files of a set's templates, which are watched.
pub(super) fn template_files(set: &FileSet) -> Vec<PathBuf> {
    let files = set.files.iter().filter_map(|file| match &file.content {
        Content::Template(TemplateSource { text: TemplateText::File(path), .. }) => Some(path),
        _ => None,
    });
    files.cloned().collect()
}

fn parsed(file: &str, source: &TemplateSource) -> Result<Template, String> {
    let template = match &source.text {
        TemplateText::Inline(text) => Template::parse(file, text, source.language),
        TemplateText::File(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("the template {name} cannot be read: {error}"))?;
            Template::parse(&name, &text, source.language)
        }
    };
    template.map_err(|error| error.to_string())
}

fn needs_of(template: Option<&Template>) -> Result<Vec<Input>, String> {
    let Some(template) = template else { return Ok(Vec::new()) };
    let needs = template.needs(&no_values()).map_err(|error| error.to_string())?;
    let inputs = needs.into_iter().map(|need| match need {
        Need::Secret(name) => Input::Secret(name),
        Need::Config(name) => Input::Config(name),
        Need::Request(request) => Input::Request(request),
    });
    Ok(inputs.collect())
}

/// What templates see before anything was fetched.
fn no_values() -> Values {
    Values {
        secrets: BTreeMap::new(),
        requested: BTreeMap::new(),
        configs: BTreeMap::new(),
        env: environment(),
        now: SystemTime::now(),
    }
}

fn values(taken: &Taken) -> Values {
    let mut values = no_values();
    for (input, value) in &taken.secrets {
        let fetched = Fetched::clone(&value.fetched);
        match input {
            Input::Secret(name) => drop(values.secrets.insert(name.clone(), fetched)),
            Input::Request(request) => drop(values.requested.insert(request.clone(), fetched)),
            Input::Config(_) => {}
        }
    }
    for (name, files) in &taken.configs {
        let files: &Rc<_> = files;
        let content = |(name, content): (&FileName, &Secret)| (name.to_string(), content.clone());
        values.configs.insert(name.clone(), files.files.iter().map(content).collect());
    }
    values
}

/// The environment of this process, as far as it is text.
fn environment() -> HashMap<String, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

fn made(file: &FileSpec, content: Secret) -> Result<DraftFile, DraftError> {
    named(file, file.name.clone(), content)
}

fn named(file: &FileSpec, name: String, content: Secret) -> Result<DraftFile, DraftError> {
    let owner = file.owner.as_ref().map(|(user, group)| Owner::find(user, group)).transpose();
    Ok(DraftFile { name: FileName::new(name)?, content, mode: file.mode, owner: owner? })
}

/// Names of secrets for people: requests of templates go by their path.
pub(super) fn name_of(input: &Input) -> Arc<str> {
    match input {
        Input::Secret(name) | Input::Config(name) => name.clone(),
        Input::Request(request) => request.path.as_str().into(),
    }
}
