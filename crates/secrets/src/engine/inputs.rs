//! What sets and the environment are made of: secrets and configuration, as they change.

use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use pillion_model::secrets::{ConfigSource, SecretSource, Secrets};
use pillion_runtime::board::Secret;
use tokio::sync::watch;

use super::configs::Configs;
use super::connection::Connection;
use super::plan::name_of;
use super::secret::{Claim, Value};
use crate::fetched::Datum;
use crate::sources::Files;
use crate::template::Request;

/// How often a secret is looked at that only templates name, unless another one is looked at more
/// often.
const TEMPLATE_INTERVAL: Duration = Duration::from_secs(30);

/// Names that an error gives to choose from.
const NAMED: usize = 20;

/// One thing that a set is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Input {
    /// A secret by its name in the configuration.
    Secret(Arc<str>),
    /// What a consul-template asks the server for.
    Request(Request),
    /// A configuration source by its name.
    Config(Arc<str>),
}

/// Everything that can be had.
pub(super) struct Catalog {
    /// `None`: there is no server, or it cannot be asked as it is configured.
    pub(super) connection: Option<Rc<Connection>>,
    /// What there is, by name.
    pub(super) settings: Arc<Secrets>,
    /// Those that are followed.
    pub(super) configs: Rc<Configs>,
}

/// What was asked for. Each is kept up to date while this lives.
#[derive(Default)]
pub(super) struct Inputs {
    secrets: BTreeMap<Input, watch::Receiver<Option<Value>>>,
    configs: BTreeMap<Arc<str>, watch::Receiver<Option<Rc<Files>>>>,
    /// What cannot be had.
    missing: Option<Missing>,
}

/// Why there are no values.
#[derive(Clone, Debug)]
pub(super) enum Missing {
    /// They are still to come: one sentence.
    Awaited(String),
    /// Nobody can give them as everything is configured: one sentence.
    Unknown(String),
}

/// Names that could have been meant.
fn known<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.take(NAMED).collect();
    match names.is_empty() {
        true => "there is none at all".to_owned(),
        false => format!("there are: {}", names.join(", ")),
    }
}

/// Values of one moment, and the right to use them.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    pub(super) secrets: BTreeMap<Input, Value>,
    pub(super) configs: BTreeMap<Arc<str>, Rc<Files>>,
}

/// Which values were taken, without the right to use them.
#[derive(Debug)]
pub(super) struct Mark {
    secrets: BTreeMap<Input, Weak<Claim>>,
    configs: BTreeMap<Arc<str>, Weak<Files>>,
}

impl Mark {
    /// Whether these are the same values.
    pub(super) fn is_of(&self, taken: &Taken) -> bool {
        let secrets = self.secrets.iter().zip(&taken.secrets);
        let configs = self.configs.iter().zip(&taken.configs);
        // The memory of a mark is not used again, so its place tells.
        self.secrets.len() == taken.secrets.len()
            && self.configs.len() == taken.configs.len()
            && secrets.into_iter().all(|((one, marked), (two, value))| {
                one == two && marked.as_ptr() == Rc::as_ptr(&value.claim)
            })
            && configs.into_iter().all(|((one, marked), (two, files))| {
                one == two && marked.as_ptr() == Rc::as_ptr(files)
            })
    }
}

impl Catalog {
    /// Asks for everything of a list.
    pub(super) fn inputs(&self, needs: &[Input]) -> Inputs {
        let mut inputs = Inputs::default();
        for need in needs {
            match need {
                Input::Config(name) => match self.config(name) {
                    Some(source) => {
                        inputs
                            .configs
                            .insert(name.clone(), self.configs.get(source, self.settings.limits));
                    }
                    None => inputs.lacks(self.unknown_config(name)),
                },
                Input::Secret(_) | Input::Request(_) => match (self.secret(need), &self.connection)
                {
                    (None, _) => inputs.lacks(self.unknown_secret(&name_of(need))),
                    (_, None) => inputs.lacks(self.no_server()),
                    (Some(source), Some(connection)) => {
                        inputs.secrets.insert(need.clone(), connection.secret(&source));
                    }
                },
            }
        }
        inputs
    }

    fn unknown_secret(&self, name: &str) -> Missing {
        let names = self.settings.secrets.iter().map(|secret| &*secret.name);
        Missing::Unknown(format!("no secret has the name {name}; {}", known(names)))
    }

    fn unknown_config(&self, name: &str) -> Missing {
        let names = self.settings.configs.iter().map(|config| &*config.name);
        Missing::Unknown(format!("no configuration source has the name {name}; {}", known(names)))
    }

    /// There is no client: the server may come to be usable, if there is one.
    fn no_server(&self) -> Missing {
        match self.settings.server {
            Some(_) => Missing::Awaited("the server cannot be asked yet".to_owned()),
            None => Missing::Unknown("there is no server to ask for secrets; add secrets.server: {url: https://HOST:8200}".to_owned()),
        }
    }

    fn config(&self, name: &str) -> Option<&Arc<ConfigSource>> {
        self.settings.configs.iter().find(|config| &*config.name == name)
    }

    fn template_interval(&self) -> Duration {
        let others = self.settings.secrets.iter().map(|secret| secret.interval);
        others.chain([TEMPLATE_INTERVAL]).min().unwrap_or(TEMPLATE_INTERVAL)
    }

    /// The secret that is meant. What a template asks for by path is the configured secret of that
    /// path, if there is one, so that there is one lease and not two.
    fn secret(&self, input: &Input) -> Option<Arc<SecretSource>> {
        let secrets = &self.settings.secrets;
        match input {
            Input::Config(_) => None,
            Input::Secret(name) => secrets.iter().find(|secret| secret.name == *name).cloned(),
            Input::Request(request) => {
                let is_same = |secret: &&Arc<SecretSource>| {
                    secret.path == request.path
                        && secret.data == request.data
                        && secret.version == request.version
                };
                Some(secrets.iter().find(is_same).cloned().unwrap_or_else(|| {
                    Arc::new(SecretSource {
                        name: request.path.as_str().into(),
                        path: request.path.clone(),
                        data: request.data.clone(),
                        interval: self.template_interval(),
                        version: request.version,
                    })
                }))
            }
        }
    }
}

impl Inputs {
    fn lacks(&mut self, what: Missing) {
        self.missing.get_or_insert(what);
    }

    /// The values of this moment.
    ///
    /// # Errors
    /// Some are not there; the first is named.
    pub(super) fn take(&self) -> Result<Taken, Missing> {
        if let Some(missing) = &self.missing {
            return Err(missing.clone());
        }
        let mut taken = Taken::default();
        for (name, config) in &self.configs {
            let files = config.borrow().clone();
            let awaited = || Missing::Awaited(format!("configuration {name} is not there yet"));
            let files = files.ok_or_else(awaited)?;
            taken.configs.insert(name.clone(), files);
        }
        for (input, secret) in &self.secrets {
            let value = secret.borrow().clone();
            let awaited =
                || Missing::Awaited(format!("secret {} is not there yet", name_of(input)));
            let value = value.ok_or_else(awaited)?;
            taken.secrets.insert(input.clone(), value);
        }
        Ok(taken)
    }

    /// The names of what is not there yet.
    pub(super) fn awaited(&self) -> Option<Arc<str>> {
        let secrets = self.secrets.iter().find(|(_, secret)| secret.borrow().is_none());
        let configs = self.configs.iter().find(|(_, config)| config.borrow().is_none());
        secrets.map(|(input, _)| name_of(input)).or_else(|| configs.map(|(name, _)| name.clone()))
    }
}

impl Taken {
    /// Whether these are the same values, and not only equal ones.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.mark().is_of(other)
    }

    /// What they can be known again by.
    pub(super) fn mark(&self) -> Mark {
        let secrets = self.secrets.iter();
        let configs = self.configs.iter();
        Mark {
            secrets: secrets.map(|(name, it)| (name.clone(), Rc::downgrade(&it.claim))).collect(),
            configs: configs.map(|(name, it)| (name.clone(), Rc::downgrade(it))).collect(),
        }
    }

    /// Says that these values do no good. Leases that nobody else uses are replaced, and revoked.
    pub(super) fn give_up(&self) {
        self.secrets.values().for_each(|value| value.claim.give_up());
    }

    /// One key of a secret.
    pub(super) fn key(&self, secret: &Arc<str>, key: &str) -> Result<Secret, String> {
        let data = &self.value(secret)?.fetched.data;
        data.get(key).map(|datum| datum.secret().clone()).ok_or_else(|| {
            let keys: Vec<&str> = data.keys().map(String::as_str).collect();
            format!("the secret {secret} has no key {key}; it has {}", keys.join(", "))
        })
    }

    /// All keys of a secret as a JSON object.
    pub(super) fn json(&self, secret: &Arc<str>) -> Result<Secret, String> {
        Ok(self.value(secret)?.fetched.object())
    }

    pub(super) fn config(&self, name: &str) -> Result<&Rc<Files>, String> {
        self.configs.get(name).ok_or_else(|| format!("configuration {name} is not there"))
    }

    /// Every value of a secret, with what is nested in it.
    pub(super) fn values_of(&self, input: &Input) -> Vec<Secret> {
        let value = self.secrets.get(input);
        let values = value.into_iter().flat_map(|value| value.fetched.data.values());
        values.flat_map(Datum::texts).collect()
    }

    /// The generation of each secret.
    pub(super) fn generations(&self) -> BTreeMap<Arc<str>, u64> {
        self.secrets.iter().map(|(input, value)| (name_of(input), value.generation)).collect()
    }

    fn value(&self, secret: &Arc<str>) -> Result<&Value, String> {
        let value = self.secrets.get(&Input::Secret(secret.clone()));
        value.ok_or_else(|| format!("the secret {secret} is not there"))
    }
}
