//! What scrapers read, checked by Prometheus' own tool and against the rules of OpenMetrics.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

use pillion_model::snapshot::{AccessLog as Settings, LogFormat, LogOutput};
use pillion_runtime::access_log::AccessLog;
use pillion_runtime::cost::{self, Build};
use pillion_runtime::metrics::{Buckets, Desc, Format, Kind, Registry};

use crate::value;

static REQUESTS: Desc = Desc {
    name: "test_requests",
    kind: Kind::Counter,
    unit: "",
    help: "Requests by route, with \"quotes\" and a back\\slash.",
    labels: &["route", "code"],
};
static DURATION: Desc = Desc {
    name: "test_duration_seconds",
    kind: Kind::Histogram(&Buckets::LATENCY),
    unit: "seconds",
    help: "Durations.",
    labels: &["route"],
};
static TAX: Desc = Desc {
    name: "test_tax_seconds",
    kind: Kind::Histogram(&Buckets::TAX),
    unit: "seconds",
    help: "Time inside.",
    labels: &[],
};

/// Everything this crate shows by itself, and metrics of every kind with odd labels.
fn render(format: Format) -> String {
    let registry = Registry::new(3);
    cost::register(&registry, Build { version: "1.2.3", commit: None }, SystemTime::now());
    let off = Settings { output: LogOutput::Off, format: LogFormat::Json };
    let log = AccessLog::start(&off, &registry).unwrap();
    let _writer = log.writer();
    let _counters: Vec<_> = ["plain", "q\"uote", "back\\slash", "new\nline", "grüß"]
        .iter()
        .map(|route| registry.counter(&REQUESTS, &[route, "200"]))
        .collect();
    let durations = registry.histogram(&DURATION, &["a,b{}=\"c\""]);
    let tax = registry.histogram(&TAX, &[]);
    for us in [0, 1, 100, 10_000, 1_000_000, u64::from(u32::MAX)] {
        durations.record_us(us);
        tax.record_us(us);
    }
    registry.render_as(format, Instant::now())
}

/// Runs promtool with `input` on its standard input.
fn promtool(arguments: &[&str], input: &str) {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!("cannot run promtool ({error}): `cargo xtask setup` installs what the tests need")
    });
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "promtool {arguments:?}: {said}\n{input}");
}

#[test]
fn promtool_finds_no_fault_in_the_prometheus_text() {
    promtool(&["check", "metrics"], &render(Format::Prometheus));
}

#[test]
fn promtool_reads_the_openmetrics_text() {
    // It imports only samples with a time.
    let timed: String = render(Format::OpenMetrics)
        .lines()
        .map(|line| match line.starts_with('#') {
            true => format!("{line}\n"),
            false => format!("{line} 1700000000\n"),
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("metrics.txt");
    std::fs::write(&input, &timed).unwrap();
    let (input, blocks) = (input.to_str().unwrap(), folder.path().to_str().unwrap());
    promtool(&["tsdb", "create-blocks-from", "openmetrics", input, blocks], "");
}

#[test]
fn the_text_keeps_the_rules_of_openmetrics() {
    let text = render(Format::OpenMetrics);
    assert!(text.ends_with("\n# EOF\n"));
    let lines: Vec<&str> = text.strip_suffix("# EOF\n").unwrap().lines().collect();
    let mut families = BTreeMap::new();
    let mut series = BTreeSet::new();
    let mut family = ("", "");
    for line in lines {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split_once(' ').unwrap();
            assert!(families.insert(family.0, family.1).is_none(), "{line}: family in two pieces");
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').unwrap();
            assert!(name == family.0 && name.ends_with(&format!("_{unit}")), "{line}");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.split_once(' ').unwrap().0 == family.0, "{line}");
        } else {
            let (key, number) = line.rsplit_once(' ').unwrap();
            number.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            assert!(series.insert(key), "{line}: series given twice");
            let name = key.split('{').next().unwrap();
            let suffix = name.strip_prefix(family.0).unwrap_or_else(|| panic!("{line}"));
            let allowed: &[&str] = match family.1 {
                "counter" => &["_total"],
                "gauge" => &[""],
                "histogram" => &["_bucket", "_sum", "_count"],
                other => panic!("{other}"),
            };
            assert!(allowed.contains(&suffix), "{line} in a {}", family.1);
        }
    }
    assert_eq!(families.get("test_duration_seconds"), Some(&"histogram"));
    assert!(series.contains("test_requests_total{route=\"overflow\",code=\"overflow\"}"));
}

#[test]
fn the_cost_of_the_process_is_shown_and_plausible() {
    let registry = Registry::new(10);
    let started = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    cost::register(&registry, Build { version: "1.2.3", commit: Some("abc") }, started);
    let spun = Instant::now();
    while value(&registry, "process_cpu_seconds_total") == Some(0.0) {
        assert!(spun.elapsed().as_secs() < 30, "CPU time does not move");
    }
    for (name, range) in [
        ("pillion_build_info{version=\"1.2.3\",commit=\"abc\"}", 1.0..=1.0),
        ("process_start_time_seconds", 1.7e9..=1.7e9),
        ("process_cpu_seconds_total", 0.000_001..=1e6),
        ("pillion_cpu_seconds_total{mode=\"user\"}", 0.0..=1e6),
        ("pillion_cpu_seconds_total{mode=\"system\"}", 0.0..=1e6),
        ("pillion_memory_resident_bytes", 1e5..=1e10),
        ("process_resident_memory_bytes", 1e5..=1e10),
        ("process_virtual_memory_bytes", 1e6..=1e14),
        ("pillion_threads", 1.0..=1000.0),
        ("process_threads", 1.0..=1000.0),
        ("pillion_open_files", 3.0..=10_000.0),
        ("process_open_fds", 3.0..=10_000.0),
        ("process_max_fds", 100.0..=1e10),
        ("pillion_open_files_limit", 100.0..=1e10),
    ] {
        let value = value(&registry, name);
        assert!(value.is_some_and(|value| range.contains(&value)), "{name}: {value:?}");
    }
}
