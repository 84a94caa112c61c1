//! The secrets role: which server, who we are to it, and that every name means something.

mod auth;
mod set;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Problems, file, identity, number, waits_fit, without_effect};
use crate::config::key::KeyPath;
use crate::config::nearest;
use crate::config::raw::secrets as raw;
use crate::config::text::Fault;
use crate::secrets::{
    Api, Cache, ConfigOrigin, ConfigSource, Environment, Limits, Readiness, SecretSource, Secrets,
    Server,
};

const INTERVAL: Duration = Duration::from_secs(30);

/// What the section means; `None` where nothing is delivered.
pub(super) fn secrets(raw: &raw::Secrets, problems: &mut Problems<'_>) -> Option<Secrets> {
    let path = KeyPath::top("secrets");
    let delivers = !raw.sets.is_empty()
        || !raw.environment.variables.is_empty()
        || raw.api.listen.get().is_some();
    if !delivers {
        if !raw.secrets.is_empty() || !raw.configs.is_empty() {
            let fault = Fault::new("secrets are fetched, and nothing is done with them");
            problems.at(&path, fault.hint("add sets, environment or api"));
        }
        return None;
    }
    let server = server(&raw.server, &path.key("server"), problems);
    let needs_server = !raw.secrets.is_empty() || raw.api.listen.get().is_some();
    if server.is_none() && needs_server && !problems.within(&path.key("server")) {
        let fault = Fault::new("there is no server that secrets could come from");
        problems.at(&path, fault.hint("add server: {url: https://HOST:8200}"));
    }
    let names = Names { secrets: raw.secrets.keys(), configs: raw.configs.keys() };
    directories_differ(raw, &path.key("sets"), problems);
    let sets = raw.sets.iter().map(|(name, raw)| {
        Arc::new(set::set(name, raw, &names, &path.key("sets").key(name), problems))
    });
    let sets = sets.collect();
    Some(Secrets {
        server,
        sets,
        environment: environment(raw, &names, &path.key("environment"), problems),
        secrets: sources(&raw.secrets, &path.key("secrets"), problems),
        configs: configs(&raw.configs, &path.key("configs"), problems),
        api: raw.api.listen.get().map(|address| Api {
            address: address.clone(),
            auto_auth: raw.api.auto_auth,
            entries: number(raw.api.entries),
            kept_bytes: raw.api.kept_bytes.bytes(),
            body_bytes: raw.api.body_bytes.bytes(),
            connections: number(raw.api.connections),
        }),
        cache: cache(&raw.cache, &path.key("cache"), problems),
        readiness: Readiness { wait: raw.readiness.wait, max_stale: raw.readiness.max_stale.get() },
        limits: Limits { files: number(raw.limits.files), bytes: raw.limits.bytes.bytes() },
    })
}

type Keys<'a, T> = std::collections::btree_map::Keys<'a, String, T>;

/// What sets may refer to.
struct Names<'a> {
    secrets: Keys<'a, raw::Secret>,
    configs: Keys<'a, raw::ConfigSource>,
}

impl Names<'_> {
    fn secret(&self, name: &raw::Name, path: &KeyPath, problems: &mut Problems<'_>) {
        let section = "secrets.secrets: NAME: {path: PATH}";
        known(name, self.secrets.clone(), ("secret", section), path, problems);
    }

    fn config(&self, name: &raw::Name, path: &KeyPath, problems: &mut Problems<'_>) {
        let section = "secrets.configs: NAME: {files: PATH}";
        known(name, self.configs.clone(), ("configuration source", section), path, problems);
    }
}

fn known<'a>(
    name: &raw::Name,
    mut names: impl Iterator<Item = &'a String> + Clone,
    (what, section): (&str, &str),
    path: &KeyPath,
    problems: &mut Problems<'_>,
) {
    if names.clone().any(|known| known == name.as_str()) {
        return;
    }
    let fault = Fault::new(format!("no {what} has the name {name}"));
    let near = nearest(name.as_str(), names.by_ref().map(String::as_str));
    problems.at(
        path,
        match near {
            Some(near) => fault.hint(format!("did you mean {near}?")),
            None => fault.hint(format!("add it under {section}")),
        },
    );
}

/// Two transactions in one folder would take each other's link away.
fn directories_differ(raw: &raw::Secrets, path: &KeyPath, problems: &mut Problems<'_>) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (name, set) in &raw.sets {
        let Some(directory) = &set.directory else { continue };
        if let Some(first) = seen.insert(directory.to_string(), name) {
            let fault = Fault::new(format!("set {first} has this folder too"));
            let path = path.key(name).key("directory");
            problems.at(&path, fault.hint("give each set its own, or make them one set"));
        }
    }
}

fn server(raw: &raw::Server, path: &KeyPath, problems: &mut Problems<'_>) -> Option<Server> {
    let Some(url) = &raw.url else {
        if *raw != raw::Server::default() && !problems.within(path) {
            let fault = Fault::new("a server has a url");
            problems.at(path, fault.hint("add url: https://HOST:8200"));
        }
        return None;
    };
    waits_fit(("backoff", raw.backoff), ("backoff_max", raw.backoff_max), path, problems);
    Some(Server {
        url: base(url, &path.key("url"), problems),
        ca: file(&raw.ca),
        server_name: text(&raw.server_name),
        namespace: text(&raw.namespace),
        auth: auth::auth(&raw.auth, &path.key("auth"), problems)?,
        timeout: raw.timeout.get(),
        backoff: (raw.backoff.get(), raw.backoff_max.get()),
        renew_at: raw.renew_at.ratio(),
        revoke_on_exit: raw.revoke_on_exit,
        answer_bytes: raw.answer_bytes.bytes(),
    })
}

fn sources(
    raw: &BTreeMap<String, raw::Secret>,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Vec<Arc<SecretSource>> {
    let source = |(name, raw): (&String, &raw::Secret)| {
        let path = path.key(name);
        let Some(at) = &raw.path else {
            if !problems.within(&path) {
                let fault = Fault::new("a secret has a path");
                problems.at(&path, fault.hint("such as path: secret/shop"));
            }
            return None;
        };
        let at = at.as_str().trim_matches('/');
        let at = at.strip_prefix("v1/").unwrap_or(at);
        Some(Arc::new(SecretSource {
            name: Arc::from(name.as_str()),
            path: at.to_owned(),
            data: raw.data.iter().map(|(key, value)| (key.clone(), value.to_string())).collect(),
            interval: raw.interval.get(),
            version: raw.version,
        }))
    };
    raw.iter().filter_map(source).collect()
}

fn configs(
    raw: &BTreeMap<String, raw::ConfigSource>,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Vec<Arc<ConfigSource>> {
    let source = |(name, raw): (&String, &raw::ConfigSource)| {
        let from = origin(raw, &path.key(name), problems)?;
        Some(Arc::new(ConfigSource { name: Arc::from(name.as_str()), from }))
    };
    raw.iter().filter_map(source).collect()
}

fn origin(
    raw: &raw::ConfigSource,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Option<ConfigOrigin> {
    let of_http = [("interval", raw.interval.is_some()), ("token_file", raw.token_file.is_some())];
    let of_etcd = [
        ("prefix", raw.prefix.is_some()),
        ("certificate", raw.certificate.is_some()),
        ("key", raw.key.is_some()),
    ];
    if raw.http.is_none() {
        without_effect(&of_http, "http", path, problems);
    }
    if raw.etcd.is_none() {
        without_effect(&of_etcd, "etcd", path, problems);
    }
    if raw.http.is_none() && raw.etcd.is_none() {
        without_effect(&[("ca", raw.ca.is_some())], "http or etcd", path, problems);
    }
    match (&raw.files, &raw.http, &raw.etcd) {
        (Some(files), None, None) => Some(ConfigOrigin::Files(files.as_path().to_owned())),
        (None, Some(url), None) => Some(ConfigOrigin::Http {
            url: Arc::from(url.as_str()),
            ca: file(&raw.ca),
            token: file(&raw.token_file),
            interval: raw.interval.map_or(INTERVAL, raw::Period::get),
        }),
        (None, None, Some(url)) => {
            let Some(prefix) = &raw.prefix else {
                let fault = Fault::new("etcd is read below a prefix");
                problems.at(path, fault.hint("add prefix: /shop/"));
                return None;
            };
            Some(ConfigOrigin::Etcd {
                url: base(url, &path.key("etcd"), problems),
                ca: file(&raw.ca),
                identity: identity(&raw.certificate, &raw.key, path, problems),
                prefix: prefix.to_string(),
            })
        }
        _ => {
            if !problems.within(path) {
                let fault = Fault::new("a configuration source is one of files, http and etcd");
                problems.at(path, fault.hint("such as {files: /etc/shop}"));
            }
            None
        }
    }
}

fn environment(
    raw: &raw::Secrets,
    names: &Names<'_>,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Environment {
    let variable = |(name, raw): (&String, &raw::Variable)| {
        let path = path.key("variables").key(name);
        if name.contains('=') {
            problems.at(&path, Fault::new("the name of a variable has no equals sign"));
        }
        let (Some(secret), Some(key)) = (&raw.secret, &raw.key) else {
            if !problems.within(&path) {
                let fault = Fault::new("a variable names a secret and a key in it");
                problems.at(&path, fault.hint("such as {secret: database, key: password}"));
            }
            return None;
        };
        names.secret(secret, &path.key("secret"), problems);
        Some((name.clone(), Arc::from(secret.as_str()), key.to_string()))
    };
    Environment {
        variables: raw.environment.variables.iter().filter_map(variable).collect(),
        restart: raw.environment.restart,
        confirm_timeout: raw.environment.confirm_timeout.get(),
    }
}

fn cache(raw: &raw::Cache, path: &KeyPath, problems: &mut Problems<'_>) -> Option<Cache> {
    match (file(&raw.file), file(&raw.key_file)) {
        (Some(path), Some(key)) => return Some(Cache { path, key, max_age: raw.max_age.get() }),
        (None, None) => {}
        (Some(_), None) => problems
            .at(path, Fault::new("the cache is sealed with a key").hint("add key_file: PATH")),
        (None, Some(_)) => without_effect(&[("key_file", true)], "file", path, problems),
    }
    None
}

fn base(raw: &raw::ServerUrl, path: &KeyPath, problems: &mut Problems<'_>) -> Arc<str> {
    if let Err(fault) = raw.base() {
        problems.at(path, fault);
    }
    Arc::from(raw.as_str())
}

fn text(raw: &Option<raw::Line>) -> Option<String> {
    raw.as_ref().map(ToString::to_string)
}
