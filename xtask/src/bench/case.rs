//! What is measured on each subject.

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
    /// Closed-loop HTTP/1.1 load: connections, whether 12 headers are sent, path.
    Http1 { connections: u32, headers: bool, path: &'static str },
    /// Closed-loop HTTP/2 load, 8 connections of 10 streams.
    Http2 { path: &'static str },
    /// Open-loop HTTP/1.1 load at this many requests by second.
    Pace { rate: u32 },
    /// Time to the first answer, then memory at rest.
    Start,
    /// Memory of connections that had one request and idle now.
    IdleConnections { count: u32 },
    /// Memory of upstreams with a route each that get no request.
    SpareUpstreams { count: u32 },
}

use Subject::{Envoy, Haproxy, HaproxyFeatured, Nginx, Pillion, Relay};

const PROXIES: &[Subject] = &[Pillion, Haproxy, HaproxyFeatured, Nginx, Envoy];
const PROXIES_AND_FLOOR: &[Subject] = &[Pillion, Haproxy, HaproxyFeatured, Nginx, Envoy, Relay];

/// All cases, in the order in which they run.
pub(super) const CASES: [Case; 11] = [
    Case {
        name: "h1_small",
        about: "HTTP/1.1, 32 kept-alive connections, 64-byte body",
        subjects: PROXIES_AND_FLOOR,
        work: Work::Http1 { connections: 32, headers: false, path: "/small" },
    },
    Case {
        name: "h1_256conn",
        about: "the same with 256 connections",
        subjects: PROXIES_AND_FLOOR,
        work: Work::Http1 { connections: 256, headers: false, path: "/small" },
    },
    Case {
        name: "h1_12_headers",
        about: "the same as h1_small with 12 request headers, as a browser sends them",
        subjects: PROXIES_AND_FLOOR,
        work: Work::Http1 { connections: 32, headers: true, path: "/small" },
    },
    Case {
        name: "h1_64k",
        about: "HTTP/1.1, 32 connections, 64 KB body",
        subjects: PROXIES_AND_FLOOR,
        work: Work::Http1 { connections: 32, headers: false, path: "/64k" },
    },
    Case {
        name: "h1_1m",
        about: "HTTP/1.1, 8 connections, 1 MB body",
        subjects: PROXIES_AND_FLOOR,
        work: Work::Http1 { connections: 8, headers: false, path: "/1m" },
    },
    Case {
        name: "h1_paced",
        about: "HTTP/1.1 at 1,000 requests by second, latency from the time each was due",
        subjects: &Subject::ALL,
        work: Work::Pace { rate: 1000 },
    },
    Case {
        name: "h2_small",
        about: "HTTP/2 to the proxy, HTTP/1.1 to the origin, 8 connections of 10 streams, 64 bytes",
        subjects: PROXIES,
        work: Work::Http2 { path: "/small" },
    },
    Case {
        name: "h2_h2",
        about: "the same with HTTP/2 to the origin too",
        subjects: &[Pillion, Haproxy, HaproxyFeatured, Envoy],
        work: Work::Http2 { path: "/h2/small" },
    },
    Case {
        name: "start",
        about: "from the start of the program to its first answer, and memory at rest after it",
        subjects: PROXIES_AND_FLOOR,
        work: Work::Start,
    },
    Case {
        name: "idle_connections",
        about: "5,000 kept-alive connections that had one request each",
        subjects: PROXIES_AND_FLOOR,
        work: Work::IdleConnections { count: 5000 },
    },
    Case {
        name: "spare_upstreams",
        about: "1,000 upstreams with a route each, beyond those in use",
        subjects: &[Pillion, HaproxyFeatured, Envoy],
        work: Work::SpareUpstreams { count: 1000 },
    },
];
