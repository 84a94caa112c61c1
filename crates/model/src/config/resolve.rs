//! What a configuration means: names become positions, and rules that concern more than one value
//! are checked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::diagnostic::Problems;
use super::fill::{APP, HOST};
use super::key::KeyPath;
use super::nearest::nearest;
use super::raw::{self, Config, ListenAddress};
use super::text::{Fault, LogForm, LogTarget};
use crate::settings::{AppSettings, Listen, RestartPolicy, Roles, Settings};
use crate::snapshot::{
    AccessLog, Balance, Direction, EndpointSource, Keepalive, Limits, Listener, ListenerProtocol,
    LogFormat, LogOutput, Snapshot, Trust, Upstream, UpstreamLimits, UpstreamProtocol,
};

mod logs;
mod route;
mod secrets;

/// Turns a filled-in configuration into what the process works by. Where `problems` has grown, the
/// result is not to be used.
pub(super) fn resolve(
    config: &Config,
    written: &Value,
    problems: &mut Problems<'_>,
) -> (Settings, Snapshot, Roles) {
    let settings = settings(config, written, problems);
    let upstreams = upstreams(config, problems);
    let names = Names::new(config);
    let mut listener = |raw, direction| {
        listener(raw, &mut Scope { direction, names: &names, problems: &mut *problems })
    };
    let inbound = listener(&config.inbound, Direction::Inbound);
    let outbound = listener(&config.outbound, Direction::Outbound);
    let limits = limits(&config.limits);
    let access_log = access_log(&config.access_log);
    let trust = Trust { hops: config.trust.hops, trace: config.trust.trace };
    let snapshot = Snapshot { inbound, outbound, upstreams, limits, access_log, trust };
    let roles = Roles {
        logs: logs::logs(&config.logs, problems).map(Arc::new),
        secrets: secrets::secrets(&config.secrets, problems).map(Arc::new),
    };
    (settings, snapshot, roles)
}

/// What the resolution of one listener needs beside its own values.
struct Scope<'a, 'p> {
    direction: Direction,
    names: &'a Names<'a>,
    problems: &'a mut Problems<'p>,
}

/// The position of each upstream: the app is the first, the others follow by name.
struct Names<'a>(BTreeMap<&'a str, usize>);

impl<'a> Names<'a> {
    fn new(config: &'a Config) -> Self {
        Self(ordered(config).enumerate().map(|(index, (name, _))| (name, index)).collect())
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.0.get(name).copied()
    }

    /// The fault of a name that is none, among these words beside the names of upstreams.
    fn unknown(&self, name: &str, words: &[&'a str]) -> Fault {
        let fault = Fault::new(format!("no upstream has the name {name}"));
        match nearest(name, self.0.keys().chain(words).copied()) {
            Some(near) => fault.hint(format!("did you mean {near}?")),
            None => {
                fault.hint(format!("add it under upstreams: {name}: {{endpoints: [HOST:PORT]}}"))
            }
        }
    }
}

fn ordered(config: &Config) -> impl Iterator<Item = (&str, &raw::Upstream)> {
    let all = || config.upstreams.iter().map(|(name, upstream)| (name.as_str(), upstream));
    all().filter(|(name, _)| *name == APP).chain(all().filter(|(name, _)| *name != APP))
}

fn settings(config: &Config, written: &Value, problems: &mut Problems<'_>) -> Settings {
    let listen = |section: &str, listen: &Option<ListenAddress>| match listen {
        None | Some(ListenAddress::Off) => None,
        Some(ListenAddress::At(address)) => {
            let asked = !written[section]["listen"].is_null();
            Some(Listen { address: address.clone(), asked })
        }
    };
    let settings = Settings {
        admin: listen("admin", &config.admin.listen),
        inbound: listen("inbound", &config.inbound.listen),
        outbound: listen("outbound", &config.outbound.listen),
        workers: config.workers.and_then(|workers| usize::try_from(workers).ok()),
        app: app(&config.app, problems),
        drain_timeout: config.drain.timeout.get(),
    };
    distinct_addresses(&settings, problems);
    settings
}

/// Two listeners that somebody put on one address; a default gives way by itself.
fn distinct_addresses(settings: &Settings, problems: &mut Problems<'_>) {
    let listeners = [
        ("inbound", &settings.inbound),
        ("outbound", &settings.outbound),
        ("admin", &settings.admin),
    ];
    let asked: Vec<_> = listeners
        .into_iter()
        .filter_map(|(name, listen)| Some((name, listen.as_ref().filter(|listen| listen.asked)?)))
        .collect();
    for (position, (name, listen)) in asked.iter().enumerate() {
        let free = matches!(listen.address, crate::settings::Address::Tcp(at) if at.port() == 0);
        let earlier =
            asked.iter().take(position).find(|(_, other)| other.address == listen.address);
        if let Some((other, _)) = earlier.filter(|_| !free) {
            let fault = Fault::new(format!("{} is also where {other} listens", listen.address));
            problems.at(&KeyPath::top(name).key("listen"), fault.hint("give each its own port"));
        }
    }
}

fn app(app: &raw::App, problems: &mut Problems<'_>) -> AppSettings {
    let restart = match (app.restart, app.restart_max, app.restart_backoff) {
        (raw::Restart::OnFailure, Some(max), Some(backoff)) => {
            RestartPolicy::OnFailure { max, backoff: backoff.get() }
        }
        (raw::Restart::OnFailure | raw::Restart::Never, max, backoff) => {
            let keys = [("restart_max", max.is_some()), ("restart_backoff", backoff.is_some())];
            for (key, _) in keys.into_iter().filter(|(_, there)| *there) {
                let fault = Fault::new("has no effect without restart: on-failure");
                let hint = "add restart: on-failure under app, or remove this key";
                problems.at(&KeyPath::top(APP).key(key), fault.hint(hint));
            }
            RestartPolicy::Never
        }
    };
    AppSettings {
        port: app.port,
        port_timeout: app.port_timeout.get(),
        stop_timeout: app.stop_timeout.get(),
        restart,
        ready_path: app.ready.as_ref().map(ToString::to_string),
    }
}

fn upstreams(config: &Config, problems: &mut Problems<'_>) -> Vec<Arc<Upstream>> {
    let path = KeyPath::top("upstreams");
    ordered(config)
        .map(|(name, raw)| {
            let path = path.key(name);
            endpoints_fit(name, raw, &path, problems);
            Arc::new(upstream(name, raw))
        })
        .collect()
}

fn endpoints_fit(
    name: &str,
    upstream: &raw::Upstream,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) {
    let endpoints = path.key("endpoints");
    match name {
        HOST => problems.at(
            path,
            Fault::new("the name host is taken: in a route it means the host of the request")
                .hint("give the upstream another name"),
        ),
        APP if !upstream.endpoints.is_empty() => problems.at(
            &endpoints,
            Fault::new("the endpoint of app is the app itself").hint("set app.port instead"),
        ),
        APP => {}
        // One that is there and wrong has been reported already.
        _ if upstream.endpoints.is_empty() && !problems.within(&endpoints) => {
            problems.at(
                &endpoints,
                Fault::new("an upstream has at least one endpoint")
                    .hint("add endpoints: [HOST:PORT]"),
            );
        }
        _ => {}
    }
}

fn upstream(name: &str, raw: &raw::Upstream) -> Upstream {
    Upstream {
        name: Arc::from(name),
        endpoints: match name {
            APP => vec![EndpointSource::App],
            _ => raw.endpoints.iter().map(raw::EndpointAddress::source).collect(),
        },
        protocol: match raw.protocol {
            raw::UpstreamProtocol::Auto => UpstreamProtocol::Auto,
            raw::UpstreamProtocol::Http1 => UpstreamProtocol::Http1,
            raw::UpstreamProtocol::Http2 => UpstreamProtocol::Http2,
        },
        balance: match raw.balance {
            raw::Balance::LeastRequest => Balance::LeastRequest,
            raw::Balance::RoundRobin => Balance::RoundRobin,
        },
        connect_timeout: raw.connect_timeout.get(),
        idle_timeout: raw.idle_timeout.get(),
        keepalive: Keepalive { tcp: raw.tcp_keepalive.get(), h2_ping: raw.h2_ping.get() },
        limits: UpstreamLimits {
            connections: raw.limits.connections,
            pending: raw.limits.pending,
            requests: raw.limits.requests,
            retry_percent: raw.limits.retry_percent,
            retry_min: raw.limits.retry_min,
        },
    }
}

fn listener(raw: &raw::Listener, scope: &mut Scope<'_, '_>) -> Listener {
    let path = KeyPath::top(scope.direction.label());
    let tcp_upstream = tcp_upstream(raw, &path, scope);
    let routes_path = path.key("routes");
    if raw.protocol == raw::ListenerProtocol::Tcp && !raw.routes.is_empty() {
        let fault = Fault::new("routes have no effect with protocol: tcp");
        scope.problems.at(&routes_path, fault.hint("remove them, or set protocol: auto"));
    }
    Listener {
        direction: scope.direction,
        protocol: match raw.protocol {
            raw::ListenerProtocol::Auto => ListenerProtocol::Auto,
            raw::ListenerProtocol::Http => ListenerProtocol::Http,
            raw::ListenerProtocol::Tcp => ListenerProtocol::Tcp,
        },
        routes: route::routes(&raw.routes, &routes_path, scope),
        tcp_upstream,
        idle_timeout: raw.idle_timeout.get(),
        head_timeout: raw.head_timeout.get(),
        tcp_idle_timeout: raw.tcp_idle_timeout.get(),
    }
}

fn tcp_upstream(raw: &raw::Listener, path: &KeyPath, scope: &mut Scope<'_, '_>) -> Option<usize> {
    let path = path.key("tcp_upstream");
    let Some(name) = &raw.tcp_upstream else {
        if raw.protocol == raw::ListenerProtocol::Tcp {
            let fault = Fault::new("protocol: tcp needs an upstream to send connections to");
            scope.problems.at(&path, fault.hint("add tcp_upstream: NAME"));
        }
        return None;
    };
    if raw.protocol == raw::ListenerProtocol::Http {
        let fault = Fault::new("has no effect with protocol: http");
        scope.problems.at(&path, fault.hint("remove it, or set protocol: auto"));
    }
    let position = scope.names.position(name.as_str());
    if position.is_none() {
        scope.problems.at(&path, scope.names.unknown(name.as_str(), &[]));
    }
    position
}

/// Reports each key that is there and has no effect.
fn without_effect(keys: &[(&str, bool)], with: &str, path: &KeyPath, problems: &mut Problems<'_>) {
    for (key, _) in keys.iter().filter(|(_, there)| *there) {
        let fault = Fault::new(format!("has no effect without {with}"));
        problems.at(&path.key(key), fault.hint("remove it"));
    }
}

/// Reports a first wait that is longer than the longest, by the names of their keys.
fn waits_fit(
    (first_key, first): (&str, raw::Period),
    (longest_key, longest): (&str, raw::Period),
    path: &KeyPath,
    problems: &mut Problems<'_>,
) {
    if first > longest {
        let rule = format!("the first wait, {first}, is longer than the longest, {longest}");
        let hint = format!("raise {longest_key}, or make this shorter");
        problems.at(&path.key(first_key), Fault::new(rule).hint(hint));
    }
}

/// The files of a certificate and its key; one without the other is reported.
fn identity(
    certificate: &Option<raw::FilePath>,
    key: &Option<raw::FilePath>,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Option<(PathBuf, PathBuf)> {
    match (certificate, key) {
        (Some(_), None) => without_effect(&[("certificate", true)], "key", path, problems),
        (None, Some(_)) => without_effect(&[("key", true)], "certificate", path, problems),
        (Some(_), Some(_)) | (None, None) => {}
    }
    file(certificate).zip(file(key))
}

fn file(raw: &Option<raw::FilePath>) -> Option<PathBuf> {
    raw.as_ref().map(|path| path.as_path().to_owned())
}

fn number(raw: u32) -> usize {
    usize::try_from(raw).unwrap_or(usize::MAX)
}

fn limits(raw: &raw::Limits) -> Limits {
    Limits {
        connections: number(raw.connections),
        head_bytes: raw.head_bytes.bytes(),
        head_fields: number(raw.head_fields),
        h2_streams: raw.h2_streams,
        requests_per_connection: raw.requests_per_connection,
        hosts: number(raw.hosts),
    }
}

fn access_log(raw: &raw::AccessLog) -> AccessLog {
    let output = raw.output.clone().map_or(LogOutput::Off, |LogTarget(output)| output);
    let format = raw.format.clone().map_or(LogFormat::Json, |LogForm(format)| format);
    AccessLog { output, format }
}
