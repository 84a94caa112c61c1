//! What is measured on each subject.

use super::logs::{LogsWork, Pipeline, Sink};
use super::proxy::ProxyWork;
use super::role::Role;
use super::secrets::SecretsWork;
use super::subject::Subject;

/// One kind of measurement.
pub(super) struct Case {
    /// Its name on the command line and in reports.
    pub(super) name: &'static str,
    /// One sentence for people.
    pub(super) about: &'static str,
    /// Who takes part.
    pub(super) subjects: &'static [Subject],
    /// What is done.
    pub(super) work: Work,
}

/// What is done to a subject.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// As a proxy.
    Proxy(ProxyWork),
    /// As a shipper of logs.
    Logs(LogsWork),
    /// As a deliverer of secrets.
    Secrets(SecretsWork),
}

impl Case {
    /// The role whose table it stands in.
    pub(super) const fn role(&self) -> Role {
        match self.work {
            Work::Proxy(_) => Role::Proxy,
            Work::Logs(_) => Role::Logs,
            Work::Secrets(_) => Role::Secrets,
        }
    }
}

/// Where the case of this name stands among all.
pub(super) fn position(name: &str) -> Option<usize> {
    CASES.iter().position(|case| case.name == name)
}

use Subject::{BaoAgent, Envoy, FluentBit, Haproxy, HaproxyFeatured, Nginx, Pillion, Relay, WcL};

const PROXIES: &[Subject] = &[Pillion, Haproxy, HaproxyFeatured, Nginx, Envoy];
const PROXIES_AND_FLOOR: &[Subject] = &[Pillion, Haproxy, HaproxyFeatured, Nginx, Envoy, Relay];
const SHIPPERS: &[Subject] = &[Pillion, FluentBit];

/// All cases, in the order in which they run.
pub(super) const CASES: [Case; 18] = [
    Case {
        name: "h1_small",
        about: "HTTP/1.1, 32 kept-alive connections, 64-byte body",
        subjects: PROXIES_AND_FLOOR,
        work: Work::Proxy(ProxyWork::Http1 { connections: 32, headers: false, path: "/small" }),
    },
    Case {
        name: "h1_256conn",
        about: "the same with 256 connections",
        subjects: PROXIES_AND_FLOOR,
        work: Work::Proxy(ProxyWork::Http1 { connections: 256, headers: false, path: "/small" }),
    },
    Case {
        name: "h1_12_headers",
        about: "the same as h1_small with 12 request headers, as a browser sends them",
        subjects: PROXIES_AND_FLOOR,
        work: Work::Proxy(ProxyWork::Http1 { connections: 32, headers: true, path: "/small" }),
    },
    Case {
        name: "h1_64k",
        about: "HTTP/1.1, 32 connections, 64 KB body",
        subjects: PROXIES_AND_FLOOR,
        work: Work::Proxy(ProxyWork::Http1 { connections: 32, headers: false, path: "/64k" }),
    },
    Case {
        name: "h1_1m",
        about: "HTTP/1.1, 8 connections, 1 MB body",
        subjects: PROXIES_AND_FLOOR,
        work: Work::Proxy(ProxyWork::Http1 { connections: 8, headers: false, path: "/1m" }),
    },
    Case {
        name: "h1_paced",
        about: "HTTP/1.1 at 1,000 requests by second, latency from the time each was due",
        subjects: Role::Proxy.subjects(),
        work: Work::Proxy(ProxyWork::Pace { rate: 1000 }),
    },
    Case {
        name: "h2_small",
        about: "HTTP/2 to the proxy, HTTP/1.1 to the origin, 8 connections of 10 streams, 64 bytes",
        subjects: PROXIES,
        work: Work::Proxy(ProxyWork::Http2 { path: "/small" }),
    },
    Case {
        name: "h2_h2",
        about: "the same with HTTP/2 to the origin too",
        subjects: &[Pillion, Haproxy, HaproxyFeatured, Envoy],
        work: Work::Proxy(ProxyWork::Http2 { path: "/h2/small" }),
    },
    Case {
        name: "start",
        about: "from the start of the program to its first answer, and memory at rest after it",
        subjects: PROXIES_AND_FLOOR,
        work: Work::Proxy(ProxyWork::Start),
    },
    Case {
        name: "idle_connections",
        about: "5,000 kept-alive connections that had one request each",
        subjects: PROXIES_AND_FLOOR,
        work: Work::Proxy(ProxyWork::IdleConnections { count: 5000 }),
    },
    Case {
        name: "spare_upstreams",
        about: "1,000 upstreams with a route each, beyond those in use",
        subjects: &[Pillion, HaproxyFeatured, Envoy],
        work: Work::Proxy(ProxyWork::SpareUpstreams { count: 1000 }),
    },
    Case {
        name: "logs_plain_null",
        about: "plain lines of a file to nowhere",
        subjects: &[Pillion, FluentBit, WcL],
        work: Work::Logs(LogsWork::Ship(Pipeline::Plain, Sink::Null)),
    },
    Case {
        name: "logs_cri_json_null",
        about: "lines as containerd writes them, JSON in them, to nowhere",
        subjects: SHIPPERS,
        work: Work::Logs(LogsWork::Ship(Pipeline::CriJson, Sink::Null)),
    },
    Case {
        name: "logs_cri_json_http",
        about: "the same to an HTTP server",
        subjects: SHIPPERS,
        work: Work::Logs(LogsWork::Ship(Pipeline::CriJson, Sink::Http { compress: false })),
    },
    Case {
        name: "logs_cri_json_http_zstd",
        about: "the same with bodies compressed by zstd",
        subjects: SHIPPERS,
        work: Work::Logs(LogsWork::Ship(Pipeline::CriJson, Sink::Http { compress: true })),
    },
    Case {
        name: "logs_idle_files",
        about: "10,000 files that were read and do not grow",
        subjects: SHIPPERS,
        work: Work::Logs(LogsWork::Idle { files: 10_000 }),
    },
    Case {
        name: "secrets_rest",
        about: "memory at rest, one KV secret delivered to a file",
        subjects: &[Pillion, BaoAgent],
        work: Work::Secrets(SecretsWork::Rest),
    },
    Case {
        name: "secrets_refresh",
        about: "from a change on the server to the file, asked every second",
        subjects: &[Pillion, BaoAgent],
        work: Work::Secrets(SecretsWork::Refresh),
    },
];
