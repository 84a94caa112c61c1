//! Templates in `MiniJinja`.
//!
//! `secrets.NAME.KEY` and `secret("NAME").KEY` are values of secrets, `configs.NAME["FILE"]` and
//! `config("NAME")["FILE"]` files of configuration, `env.NAME` the environment, `version.NAME` the
//! version of a KV 2 secret. What is not there is an error, never an empty text.

mod lent;
mod names;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};

use super::consul::sha256;
use super::fault::Fault;
use super::output::Output;
use super::{MAX_STEPS, Need, Values};
use crate::fetched::Json;
use lent::Lent;

/// The name of the one template in its environment.
const NAME: &str = "template";

/// A parsed template.
#[derive(Clone, Debug)]
pub(super) struct Jinja {
    environment: Arc<Environment<'static>>,
    needs: Vec<Need>,
}

impl Jinja {
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_syntax(syntax()?);
        // For the place of an error. What it also records of values is not shown: see `fault`.
        environment.set_debug(true);
        environment.set_fuel(Some(MAX_STEPS as u64));
        environment.add_filter("b64encode", |text: String| STANDARD.encode(text));
        environment.add_filter("b64decode", decoded);
        environment.add_filter("sha256", |text: String| sha256(&text));
        environment.add_filter("fromjson", from_json);
        let added = environment.add_template_owned(NAME, text.to_owned());
        added.map_err(|error| fault(&error))?;
        Ok(Self { environment: Arc::new(environment), needs: names::needs(text)? })
    }

    pub(super) fn needs(&self) -> &[Need] {
        &self.needs
    }

    pub(super) fn render(&self, values: &Values) -> Result<Output, Fault> {
        self.render_with(values, &mut Lent::default())
    }

    fn render_with(&self, values: &Values, lent: &mut Lent) -> Result<Output, Fault> {
        let template = self.environment.get_template(NAME).map_err(|error| fault(&error))?;
        let mut out = Output::default();
        let rendered = template.render_captured_to(context(values, lent), &mut out);
        rendered.map(drop).map_err(|error| fault(&error))?;
        Ok(out)
    }
}

/// Files end as their templates do.
fn syntax() -> Result<SyntaxConfig, Fault> {
    SyntaxConfig::builder().keep_trailing_newline(true).build().map_err(|error| fault(&error))
}

fn context(values: &Values, lent: &mut Lent) -> Value {
    let secrets = map(values.secrets.iter().map(|(name, fetched)| {
        let mut text = |text: &str| lent.lend(text);
        let data = fetched.data.iter();
        let data = data.map(|(key, value)| (key.clone(), opened(value.json(), &mut text)));
        (name.to_string(), map(data))
    }));
    let configs = map(values.configs.iter().map(|(name, files)| {
        let files = files.iter().map(|(file, content)| match content.reveal_text() {
            Some(text) => (file.clone(), lent.lend(text)),
            None => (file.clone(), Value::from_bytes(content.reveal().to_vec())),
        });
        (name.to_string(), map(files))
    }));
    let env =
        map(values.env.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))));
    let versions = map(values
        .secrets
        .iter()
        .filter_map(|(name, fetched)| Some((name.to_string(), Value::from(fetched.version?)))));
    let (of_secrets, of_configs) = (secrets.clone(), configs.clone());
    minijinja::context! {
        secrets,
        configs,
        env,
        version => versions,
        secret => Value::from_function(move |name: String| named(&of_secrets, "secret", &name)),
        config => Value::from_function(move |name: String| named(&of_configs, "config", &name)),
    }
}

fn map(entries: impl Iterator<Item = (String, Value)>) -> Value {
    Value::from(entries.collect::<BTreeMap<String, Value>>())
}

fn named(values: &Value, what: &str, name: &str) -> Result<Value, Error> {
    let missing = || Error::new(ErrorKind::InvalidOperation, format!("there is no {what} {name}"));
    values.get_attr(name).ok().filter(|value| !value.is_undefined()).ok_or_else(missing)
}

fn decoded(text: &str) -> Result<String, Error> {
    let unfit = |what| Error::new(ErrorKind::InvalidOperation, what);
    let bytes = STANDARD.decode(text.trim()).map_err(|_| unfit("b64decode: this is not base64"))?;
    String::from_utf8(bytes).map_err(|_| unfit("b64decode: what comes out is not UTF-8"))
}

fn from_json(text: &str) -> Result<Value, Error> {
    let unfit = |what| Error::new(ErrorKind::InvalidOperation, format!("fromjson: {what}"));
    Ok(opened(Json::parse(text).map_err(unfit)?, &mut |text| Value::from(text)))
}

/// A tree as a value; `text` makes values of its texts.
fn opened(json: Json, text: &mut dyn FnMut(&str) -> Value) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(value),
        Json::Number(number) => match number.parse::<i128>() {
            Ok(number) => Value::from(number),
            Err(_) => Value::from(number.parse().unwrap_or(f64::NAN)),
        },
        Json::Text(value) => text(&value),
        Json::List(items) => items.into_iter().map(|item| opened(item, text)).collect(),
        Json::Object(entries) => {
            map(entries.into_iter().map(|(key, value)| (key, opened(value, text))))
        }
    }
}

/// What `MiniJinja` says, with the byte where it says so.
fn fault(error: &Error) -> Fault {
    let mut message = error.kind().to_string();
    if let Some(detail) = error.detail() {
        message = format!("{message}: {detail}");
    }
    if let (ErrorKind::WriteFailure, Some(source)) = (error.kind(), error.source()) {
        message = source.to_string();
    }
    Fault { message, at: error.range().map(|range| range.start) }
}
