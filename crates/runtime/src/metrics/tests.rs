//! Handles, sums, retired totals, overflow, expiry and the text they render to.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::family::Family;
use super::{Buckets, Desc, Format, Kind, Registry, Shard};

static REQUESTS: Desc = Desc {
    name: "test_requests",
    kind: Kind::Counter,
    unit: "",
    help: "Requests.",
    labels: &["route"],
};
static OPEN: Desc =
    Desc { name: "test_open", kind: Kind::Gauge, unit: "", help: "Open.", labels: &[] };
static DURATION: Desc = Desc {
    name: "test_duration_seconds",
    kind: Kind::Histogram(&Buckets::LATENCY),
    unit: "seconds",
    help: "Durations.",
    labels: &["route"],
};

const MINUTE: Duration = Duration::from_secs(60);

/// The value of the sample that begins with `series`.
fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

fn shard() -> Shard {
    Arc::new([AtomicU64::new(1)])
}

#[test]
fn writers_on_many_threads_lose_nothing() {
    let registry = Registry::new(10);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let counter = registry.counter(&REQUESTS, &["a"]);
                let open = registry.gauge(&OPEN, &[]);
                let durations = registry.histogram(&DURATION, &["a"]);
                for us in 0..10_000 {
                    counter.inc();
                    open.add(if us % 2 == 0 { 1 } else { -1 });
                    durations.record_us(us);
                }
            });
        }
        // Scraping meanwhile neither disturbs the writers nor sees a counter go back.
        let mut before = 0.0;
        for _ in 0..200 {
            let now = value(&registry.render(), "test_requests_total{route=\"a\"}").unwrap_or(0.0);
            assert!(now >= before);
            before = now;
        }
    });
    let text = registry.render();
    assert_eq!(value(&text, "test_requests_total{route=\"a\"}"), Some(40_000.0));
    assert_eq!(value(&text, "test_duration_seconds_count{route=\"a\"}"), Some(40_000.0));
    assert_eq!(value(&text, "test_duration_seconds_sum{route=\"a\"}"), Some(199.98));
}

#[test]
fn a_dropped_handle_leaves_its_total_and_a_new_one_goes_on_from_there() {
    let registry = Registry::new(10);
    for _ in 0..1000 {
        registry.counter(&REQUESTS, &["a"]).add(2);
        registry.histogram(&DURATION, &["a"]).record_us(1_000_000);
    }
    let text = registry.render();
    assert_eq!(value(&text, "test_requests_total{route=\"a\"}"), Some(2000.0));
    assert_eq!(value(&text, "test_duration_seconds_count{route=\"a\"}"), Some(1000.0));
    let again = registry.counter(&REQUESTS, &["a"]);
    again.inc();
    assert_eq!(value(&registry.render(), "test_requests_total{route=\"a\"}"), Some(2001.0));
}

#[test]
fn a_gauge_is_the_sum_of_the_handles_that_are_alive() {
    let registry = Registry::new(10);
    let (first, second) = (registry.gauge(&OPEN, &[]), registry.gauge(&OPEN, &[]));
    first.set(5);
    second.add(-2);
    assert_eq!(value(&registry.render(), "test_open"), Some(3.0));
    drop(first);
    assert_eq!(value(&registry.render(), "test_open"), Some(-2.0));
}

#[test]
fn what_exceeds_the_series_limit_shares_one_series_and_is_counted() {
    let registry = Registry::new(2);
    let handles: Vec<_> =
        ["a", "b", "c", "d", "a"].iter().map(|r| registry.counter(&REQUESTS, &[r])).collect();
    handles.iter().for_each(super::Counter::inc);
    let text = registry.render();
    for (route, expected) in
        [("a", Some(2.0)), ("b", Some(1.0)), ("overflow", Some(2.0)), ("c", None)]
    {
        assert_eq!(value(&text, &format!("test_requests_total{{route=\"{route}\"}}")), expected);
    }
    let overflow = "pillion_metric_series_overflow_total{metric=\"test_requests\"}";
    assert_eq!(value(&text, overflow), Some(2.0));
}

#[test]
fn a_series_without_a_handle_is_forgotten_after_ten_minutes_and_a_live_one_never() {
    let registry = Registry::new(10);
    let _live = registry.counter(&REQUESTS, &["live"]);
    drop(registry.counter(&REQUESTS, &["gone"]));
    let start = Instant::now();
    let shows = |series: &str, after| {
        registry.render_as(Format::OpenMetrics, start + after).contains(series)
    };
    assert!(shows("gone", Duration::ZERO));
    assert!(shows("gone", 10 * MINUTE - Duration::from_secs(1)));
    assert!(!shows("gone", 10 * MINUTE));
    assert!(shows("live", 1000 * MINUTE));
}

#[test]
fn a_series_that_gets_a_handle_again_in_time_is_kept() {
    let registry = Registry::new(10);
    let start = Instant::now();
    drop(registry.counter(&REQUESTS, &["a"]));
    registry.render_as(Format::OpenMetrics, start);
    let again = registry.counter(&REQUESTS, &["a"]);
    registry.render_as(Format::OpenMetrics, start + 11 * MINUTE);
    drop(again);
    let text = registry.render_as(Format::OpenMetrics, start + 12 * MINUTE);
    assert!(text.contains("route=\"a\""), "{text}");
}

#[test]
fn a_full_family_makes_room_even_if_nobody_scrapes() {
    let family = Family::new(&REQUESTS);
    let start = Instant::now();
    family.attach(&["old"], shard(), 1, start);
    family.attach(&["early"], shard(), 1, start);
    family.attach(&["late"], shard(), 1, start + 11 * MINUTE);
    let (readings, overflows) = family.read(start + 11 * MINUTE);
    let labels: Vec<&str> = readings.iter().map(|(labels, _)| &**labels).collect();
    assert_eq!(labels, ["route=\"late\"", "route=\"overflow\""]);
    assert_eq!(overflows, 1);
}

#[test]
fn label_values_and_help_are_escaped() {
    static ODD: Desc = Desc {
        name: "test_odd",
        kind: Kind::Gauge,
        unit: "",
        help: "A \"quoted\" back\\slash.",
        labels: &["value"],
    };
    let registry = Registry::new(10);
    let _gauge = registry.gauge(&ODD, &["a\"b\\c\nd"]);
    let text = registry.render();
    assert!(text.contains("test_odd{value=\"a\\\"b\\\\c\\nd\"} 0\n"), "{text}");
    assert!(text.contains("# HELP test_odd A \\\"quoted\\\" back\\\\slash.\n"), "{text}");
    let text = registry.render_as(Format::Prometheus, Instant::now());
    assert!(text.contains("# HELP test_odd A \"quoted\" back\\\\slash.\n"), "{text}");
}

#[test]
fn a_collector_is_read_at_every_scrape() {
    let registry = Registry::new(10);
    let reads = AtomicU64::new(0);
    registry.collector(Box::new(move |samples| {
        let reads = reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        samples.put(&OPEN, &[], reads as f64 + 0.5);
        samples.put(&REQUESTS, &["infinite"], f64::INFINITY);
    }));
    let _counter = registry.counter(&REQUESTS, &["finite"]);
    assert_eq!(value(&registry.render(), "test_open"), Some(0.5));
    let text = registry.render();
    assert_eq!(value(&text, "test_open"), Some(1.5));
    assert!(text.contains("test_requests_total{route=\"infinite\"} +Inf\n"));
    assert_eq!(text.matches("# TYPE test_requests ").count(), 1, "{text}");
}

#[test]
fn a_scraper_gets_openmetrics_only_if_it_asks_for_it() {
    for (accept, expected) in [
        (None, Format::Prometheus),
        (Some("*/*"), Format::Prometheus),
        (Some("text/plain;version=0.0.4"), Format::Prometheus),
        (Some("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"), Format::OpenMetrics),
        (Some("text/plain;q=0.3, Application/OpenMetrics-Text; q=0.7"), Format::OpenMetrics),
        (Some("application/openmetrics-text;q=0.0, text/plain"), Format::Prometheus),
    ] {
        assert_eq!(Format::from_accept(accept), expected, "{accept:?}");
    }
}

#[test]
fn histogram_buckets_are_cumulative_and_bounds_are_exact() {
    let registry = Registry::new(10);
    let durations = registry.histogram(&DURATION, &["a"]);
    for us in [0, 64, 65, 96, 97, 128, 67_108_864, 67_108_865, u64::from(u32::MAX)] {
        durations.record_us(us);
    }
    let text = registry.render();
    for (le, expected) in [
        ("0.000064", 2.0),
        ("0.000096", 4.0),
        ("0.000128", 6.0),
        ("0.000192", 6.0),
        ("67.108864", 7.0),
        ("+Inf", 9.0),
    ] {
        let series = format!("test_duration_seconds_bucket{{route=\"a\",le=\"{le}\"}}");
        assert_eq!(value(&text, &series), Some(expected), "{le}");
    }
}

proptest! {
    #[test]
    fn a_value_is_in_the_first_bucket_whose_bound_is_not_below_it(
        value in prop_oneof![0..100_u64, 0..100_000_000_u64, any::<u64>()],
    ) {
        for buckets in [&Buckets::LATENCY, &Buckets::TAX] {
            let bounds: Vec<u64> = buckets.bounds_us().collect();
            prop_assert!(bounds.is_sorted());
            let expected = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
            prop_assert_eq!(buckets.index(value), expected);
            prop_assert_eq!(buckets.cells(), bounds.len() + 1);
        }
    }

    #[test]
    fn any_label_value_stays_inside_its_line(label: String) {
        let registry = Registry::new(10);
        let _counter = registry.counter(&REQUESTS, &[&label]);
        let text = registry.render();
        let samples = text.lines().filter(|line| line.starts_with("test_requests_total{")).count();
        prop_assert_eq!(samples, 1);
        prop_assert!(text.ends_with("\n# EOF\n"));
    }
}
