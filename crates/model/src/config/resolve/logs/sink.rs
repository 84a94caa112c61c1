//! One sink: what its address means, and which keys fit to it.

mod forward;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::condition;
use crate::config::diagnostic::Problems;
use crate::config::key::KeyPath;
use crate::config::nearest;
use crate::config::raw::logs as raw;
use crate::config::resolve::{file, identity, number, waits_fit, without_effect};
use crate::config::text::{Fault, SinkKind};
use crate::logs::{
    BatchLimits, Buffer, Compression, Credential, HttpOutput, LokiOutput, OpenSearchOutput, Output,
    Retry, Schema, Sink, SyslogOutput, SyslogTransport,
};

const TIMEOUT: Duration = Duration::from_secs(30);
const CONCURRENCY: u32 = 4;
const INDEX: &str = "pillion-%Y.%m.%d";
const TAG: &str = "pillion.{source}";
/// local0.
const FACILITY: u32 = 16;

/// `None` where the address is missing, or wrong and reported.
pub(super) fn sink(
    name: &str,
    raw: &raw::LogSinkSettings,
    sources: &[&str],
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Option<Sink> {
    known_sources(raw, sources, path, problems);
    let when = condition(&raw.when, &path.key("when"), problems);
    let Some(to) = &raw.to else {
        if !problems.within(&path.key("to")) {
            let fault = Fault::new("a sink says where records go");
            problems.at(path, fault.hint("add to: stdout, or another address"));
        }
        return None;
    };
    keys_fit(raw, &to.kind, path, problems);
    waits_fit(("min", raw.retry.min), ("max", raw.retry.max), &path.key("retry"), problems);
    Some(Sink {
        name: Arc::from(name),
        output: output(raw, &to.kind, path, problems),
        when,
        sources: raw.sources.iter().map(|name| Arc::from(name.as_str())).collect(),
        batch: BatchLimits {
            bytes: raw.batch.bytes.bytes(),
            records: number(raw.batch.records),
            wait: raw.batch.wait.get(),
        },
        buffer: Buffer {
            disk: u64::try_from(raw.buffer.disk.bytes()).unwrap_or(u64::MAX),
            sync: raw.buffer.sync.0,
        },
        retry: Retry {
            min: raw.retry.min.get(),
            max: raw.retry.max.get(),
            give_up: raw.retry.give_up.get(),
        },
    })
}

fn known_sources(
    raw: &raw::LogSinkSettings,
    sources: &[&str],
    path: &KeyPath,
    problems: &mut Problems<'_>,
) {
    let unknown = raw.sources.iter().enumerate();
    for (index, name) in unknown.filter(|(_, name)| !sources.contains(&name.as_str())) {
        let fault = Fault::new(format!("no source has the name {name}"));
        let fault = match nearest(name.as_str(), sources.iter().copied()) {
            Some(near) => fault.hint(format!("did you mean {near}?")),
            None => fault.hint(format!("the sources are {}", sources.join(", "))),
        };
        problems.at(&path.key("sources").item(index), fault);
    }
}

fn keys_fit(
    raw: &raw::LogSinkSettings,
    kind: &SinkKind,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) {
    use SinkKind::{Forward, ForwardTls, Http, Loki, OpenSearch, Otlp, Splunk};
    use SinkKind::{SyslogTcp, SyslogUdp, SyslogUnix};
    let is_http = matches!(kind, Http(_) | OpenSearch(..) | Loki(_) | Otlp(_) | Splunk(_));
    let is_forward = matches!(kind, Forward(_) | ForwardTls(_));
    let is_syslog = matches!(kind, SyslogTcp(_) | SyslogUdp(_) | SyslogUnix(_));
    if !is_http {
        let of_http =
            [("headers", !raw.headers.is_empty()), ("header_files", !raw.header_files.is_empty())];
        without_effect(&of_http, "a sink that speaks HTTP", path, problems);
    }
    if !is_http && !is_forward {
        let of_both = [
            ("user", raw.user.is_some()),
            ("password_file", raw.password_file.is_some()),
            ("ca", raw.ca.is_some()),
            ("certificate", raw.certificate.is_some()),
            ("key", raw.key.is_some()),
            ("compress", raw.compress.is_some()),
            ("timeout", raw.timeout.is_some()),
            ("concurrency", raw.concurrency.is_some()),
        ];
        without_effect(&of_both, "a sink that speaks HTTP or forward", path, problems);
    }
    if !is_forward {
        let of_forward =
            [("tag", raw.tag.is_some()), ("shared_key_file", raw.shared_key_file.is_some())];
        without_effect(&of_forward, "forward", path, problems);
    }
    if !matches!(kind, OpenSearch(..)) {
        without_effect(&[("index", raw.index.is_some())], "opensearch", path, problems);
    }
    if !matches!(kind, Loki(_)) {
        let of_loki = [("tenant", raw.tenant.is_some()), ("labels", !raw.labels.is_empty())];
        without_effect(&of_loki, "loki", path, problems);
    }
    if !is_syslog {
        without_effect(&[("facility", raw.facility.is_some())], "syslog", path, problems);
    }
    if is_forward || is_syslog || matches!(kind, Loki(_) | Otlp(_)) {
        without_effect(&[("schema", raw.schema.is_some())], "JSON documents", path, problems);
    }
}

fn output(
    raw: &raw::LogSinkSettings,
    kind: &SinkKind,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Output {
    let mut http = |url: &str| http(raw, url, path, problems);
    let text = |line: &raw::Line| line.to_string();
    let syslog = |transport| SyslogOutput {
        transport,
        facility: u8::try_from(raw.facility.unwrap_or(FACILITY)).unwrap_or(0),
    };
    match kind {
        SinkKind::Null => Output::Null,
        SinkKind::Stdout => Output::Stdout(schema(raw)),
        SinkKind::File(file) => Output::File(file.clone(), schema(raw)),
        SinkKind::Http(url) => Output::Http(http(url)),
        SinkKind::OpenSearch(url, index) => Output::OpenSearch(OpenSearchOutput {
            http: http(url),
            index: Arc::from(
                raw.index.as_ref().map(raw::Line::as_str).or(index.as_deref()).unwrap_or(INDEX),
            ),
        }),
        SinkKind::Loki(url) => Output::Loki(LokiOutput {
            http: http(url),
            tenant: raw.tenant.as_ref().map(text),
            labels: labels(raw),
        }),
        SinkKind::Otlp(url) => Output::Otlp(http(url)),
        SinkKind::Splunk(url) => Output::Splunk(http(url)),
        SinkKind::SyslogTcp(at) => {
            Output::Syslog(syslog(SyslogTransport::Tcp(Arc::from(at.as_str()))))
        }
        SinkKind::SyslogUdp(at) => {
            Output::Syslog(syslog(SyslogTransport::Udp(Arc::from(at.as_str()))))
        }
        SinkKind::SyslogUnix(path) => Output::Syslog(syslog(SyslogTransport::Unix(path.clone()))),
        SinkKind::Forward(at) => Output::Forward(forward::plain(raw, at, path, problems)),
        SinkKind::ForwardTls(at) => Output::Forward(forward::encrypted(raw, at, path, problems)),
    }
}

fn labels(raw: &raw::LogSinkSettings) -> Vec<(String, String)> {
    if raw.labels.is_empty() {
        let defaults = [("service_name", "service.name"), ("source", "source")];
        return defaults.map(|(name, from)| (name.to_owned(), from.to_owned())).to_vec();
    }
    raw.labels.iter().map(|(name, from)| (name.clone(), from.to_string())).collect()
}

fn http(
    raw: &raw::LogSinkSettings,
    url: &str,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> HttpOutput {
    HttpOutput {
        url: Arc::from(url),
        headers: headers(raw, path, problems),
        ca: file(&raw.ca),
        identity: identity(&raw.certificate, &raw.key, path, problems),
        compress: compression(raw),
        timeout: raw.timeout.map_or(TIMEOUT, raw::Period::get),
        concurrency: number(raw.concurrency.unwrap_or(CONCURRENCY)),
        schema: schema(raw),
    }
}

fn compression(raw: &raw::LogSinkSettings) -> Compression {
    match raw.compress {
        Some(raw::Compression::None) => Compression::None,
        Some(raw::Compression::Zstd) => Compression::Zstd,
        Some(raw::Compression::Gzip) | None => Compression::Gzip,
    }
}

fn schema(raw: &raw::LogSinkSettings) -> Schema {
    match raw.schema {
        Some(raw::Schema::Ecs) => Schema::Ecs,
        Some(raw::Schema::Otel) | None => Schema::Otel,
    }
}

fn headers(
    raw: &raw::LogSinkSettings,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Vec<(String, Credential)> {
    let texts = raw.headers.iter();
    let mut headers: Vec<_> =
        texts.map(|(name, value)| (name.clone(), Credential::Text(value.to_string()))).collect();
    let files = raw.header_files.iter();
    headers.extend(
        files.map(|(name, path)| (name.clone(), Credential::File(path.as_path().to_owned()))),
    );
    headers.extend(
        user(raw, path, problems)
            .map(|(name, file)| ("authorization".to_owned(), Credential::Basic(name, file))),
    );
    headers
}

/// A user, and the file with the password.
fn user(
    raw: &raw::LogSinkSettings,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Option<(String, PathBuf)> {
    match (&raw.user, file(&raw.password_file)) {
        (Some(user), Some(file)) => return Some((user.to_string(), file)),
        (None, None) => {}
        (Some(_), None) => without_effect(&[("user", true)], "password_file", path, problems),
        (None, Some(_)) => without_effect(&[("password_file", true)], "user", path, problems),
    }
    None
}
