//! One set of files: what is in them, what is checked, how the app is told and confirms.

use std::sync::Arc;

use super::{Names, text};
use crate::config::diagnostic::Problems;
use crate::config::key::KeyPath;
use crate::config::raw::secrets as raw;
use crate::config::resolve::{number, without_effect};
use crate::config::text::Fault;
use crate::secrets::{
    Confirm, Content, FileSet, FileSpec, SetCheck, Tell, TemplateLanguage, TemplateSource,
    TemplateText,
};

pub(super) fn set(
    name: &str,
    raw: &raw::FileSet,
    names: &Names<'_>,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> FileSet {
    if raw.directory.is_none() && !problems.within(&path.key("directory")) {
        let fault = Fault::new("a set of files has a folder");
        problems.at(path, fault.hint("add directory: /run/secrets/NAME"));
    }
    let files_path = path.key("files");
    if raw.files.is_empty() && !problems.within(&files_path) {
        let fault = Fault::new("a set has at least one file");
        problems.at(
            &files_path,
            fault.hint("such as files: {password: {secret: NAME, key: password}}"),
        );
    }
    let files = raw.files.iter();
    let files = files
        .filter_map(|(name, raw)| file_spec(name, raw, names, &files_path.key(name), problems));
    let files: Vec<_> = files.collect();
    let checks = raw.checks.iter().enumerate();
    let checks = checks.filter_map(|(index, check)| {
        self::check(check, raw, &path.key("checks").item(index), problems)
    });
    FileSet {
        checks: checks.collect(),
        name: Arc::from(name),
        directory: raw.directory.as_ref().map(|path| path.as_path().to_owned()).unwrap_or_default(),
        files,
        tell: tell(&raw.tell, &path.key("tell"), problems),
        confirm: confirm(&raw.confirm, &path.key("confirm"), problems),
        confirm_timeout: raw.confirm_timeout.get(),
        grace: raw.grace.get(),
        keep: number(raw.keep),
    }
}

fn file_spec(
    name: &str,
    raw: &raw::FileContent,
    names: &Names<'_>,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Option<FileSpec> {
    let templated = raw.template.is_some() || raw.text.is_some();
    if !templated {
        let keys = [("language", raw.language.is_some())];
        without_effect(&keys, "template or text", path, problems);
    }
    if raw.secret.is_none() {
        without_effect(&[("key", raw.key.is_some())], "secret", path, problems);
    }
    if raw.owner.is_none() {
        without_effect(&[("group", raw.group.is_some())], "owner", path, problems);
    }
    let content = content(raw, names, path, problems)?;
    let owner = raw.owner.as_ref().map(|owner| {
        let group = raw.group.as_ref().map_or_else(String::new, ToString::to_string);
        (owner.to_string(), group)
    });
    Some(FileSpec { name: name.to_owned(), content, mode: raw.mode.bits(), owner })
}

fn content(
    raw: &raw::FileContent,
    names: &Names<'_>,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Option<Content> {
    match (&raw.secret, &raw.config, &raw.template, &raw.text) {
        (Some(secret), None, None, None) => {
            names.secret(secret, &path.key("secret"), problems);
            let secret = Arc::from(secret.as_str());
            Some(match text(&raw.key) {
                Some(key) => Content::Key { secret, key },
                None => Content::Json(secret),
            })
        }
        (None, Some(config), None, None) => {
            names.config(config, &path.key("config"), problems);
            Some(Content::Config(Arc::from(config.as_str())))
        }
        (None, None, Some(file), None) => {
            let file = file.as_path().to_owned();
            let consul = file.extension().is_some_and(|end| end == "ctmpl" || end == "tpl");
            Some(Content::Template(TemplateSource {
                text: TemplateText::File(file),
                language: language(raw, consul),
            }))
        }
        (None, None, None, Some(passage)) => Some(Content::Template(TemplateSource {
            text: TemplateText::Inline(Arc::from(passage.as_str())),
            language: language(raw, false),
        })),
        _ => {
            if !problems.within(path) {
                let fault =
                    Fault::new("a file has exactly one of secret, config, template and text");
                problems.at(path, fault.hint("such as {secret: database, key: password}"));
            }
            None
        }
    }
}

fn language(raw: &raw::FileContent, consul: bool) -> TemplateLanguage {
    match raw.language {
        Some(raw::TemplateLanguage::Jinja) => TemplateLanguage::Jinja,
        Some(raw::TemplateLanguage::Consul) => TemplateLanguage::Consul,
        None if consul => TemplateLanguage::Consul,
        None => TemplateLanguage::Jinja,
    }
}

fn check(
    raw: &raw::SetCheck,
    set: &raw::FileSet,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Option<SetCheck> {
    for (key, name) in [
        ("json", &raw.json),
        ("yaml", &raw.yaml),
        ("certificate", &raw.certificate),
        ("key", &raw.key),
    ] {
        // Files of a configuration source are known when it has been read.
        let may_be = |name: &str| {
            let below = |folder: &String| name.starts_with(&format!("{folder}/"));
            set.files.contains_key(name) || set.files.keys().any(below)
        };
        if let Some(name) = name.as_ref().filter(|name| !may_be(name.as_str())) {
            let fault = Fault::new(format!("the set has no file {name}"));
            let names: Vec<_> = set.files.keys().map(String::as_str).collect();
            problems.at(&path.key(key), fault.hint(format!("its files are {}", names.join(", "))));
        }
    }
    if raw.certificate.is_none() {
        without_effect(&[("key", raw.key.is_some())], "certificate", path, problems);
    }
    if raw.json.is_none() {
        without_effect(&[("schema", raw.schema.is_some())], "json", path, problems);
    }
    let command: Vec<String> = raw.command.iter().map(ToString::to_string).collect();
    match (&raw.json, &raw.yaml, &raw.certificate, command.is_empty()) {
        (Some(file), None, None, true) => Some(match &raw.schema {
            Some(schema) => {
                SetCheck::Schema { file: file.to_string(), schema: schema.as_path().to_owned() }
            }
            None => SetCheck::Json(file.to_string()),
        }),
        (None, Some(file), None, true) => Some(SetCheck::Yaml(file.to_string())),
        (None, None, Some(certificate), true) => Some(SetCheck::KeyPair {
            certificate: certificate.to_string(),
            key: raw.key.as_ref().unwrap_or(certificate).to_string(),
        }),
        (None, None, None, false) => Some(SetCheck::Command(command)),
        _ => {
            if !problems.within(path) {
                let fault =
                    Fault::new("a check is exactly one of json, yaml, certificate and command");
                problems.at(path, fault.hint("such as {json: config.json}"));
            }
            None
        }
    }
}

fn tell(raw: &raw::Tell, path: &KeyPath, problems: &mut Problems<'_>) -> Tell {
    if raw.url.is_none() {
        without_effect(&[("method", raw.method.is_some())], "url", path, problems);
    }
    let ways = [
        raw.signal.map(|signal| Tell::Signal(signal.number)),
        (raw.restart == Some(true)).then_some(Tell::Restart),
        command(&raw.command).map(Tell::Command),
        raw.url.as_ref().map(|url| Tell::Http {
            url: Arc::from(url.as_str()),
            method: raw.method.as_ref().map_or_else(|| "POST".to_owned(), ToString::to_string),
        }),
    ];
    let way =
        one(ways, "the app is told by one of signal, restart, command and url", path, problems);
    way.unwrap_or(Tell::Nothing)
}

fn confirm(raw: &raw::Confirm, path: &KeyPath, problems: &mut Problems<'_>) -> Confirm {
    let ways = [
        (raw.ready == Some(true)).then_some(Confirm::Ready),
        command(&raw.command).map(Confirm::Command),
        raw.url.as_ref().map(|url| Confirm::Http(Arc::from(url.as_str()))),
    ];
    let way = one(ways, "the app confirms by one of ready, command and url", path, problems);
    way.unwrap_or(Confirm::Told)
}

fn command(words: &[raw::Line]) -> Option<Vec<String>> {
    (!words.is_empty()).then(|| words.iter().map(ToString::to_string).collect())
}

fn one<T, const N: usize>(
    ways: [Option<T>; N],
    rule: &str,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Option<T> {
    let mut ways = ways.into_iter().flatten();
    let way = ways.next();
    if ways.next().is_some() {
        problems.at(path, Fault::new(rule).hint("remove the others"));
    }
    way
}
