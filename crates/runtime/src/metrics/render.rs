//! The text that a scraper reads: OpenMetrics 1.0, or Prometheus text 0.0.4 for those that do not
//! ask for it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Instant;

use super::family::{Family, Reading};
use super::{Collector, Desc, Kind};

pub(crate) static OVERFLOW: Desc = Desc {
    name: "pillion_metric_series_overflow",
    kind: Kind::Counter,
    unit: "",
    help: "Label sets that exceeded the series limit of a metric and share its overflow series.",
    labels: &["metric"],
};

/// A text form of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The older Prometheus text format, version 0.0.4.
    Prometheus,
}

impl Format {
    /// What a scraper with this `Accept` header gets: OpenMetrics if it names it.
    pub fn from_accept(accept: Option<&str>) -> Self {
        let names_it = accept.is_some_and(|accept| {
            accept.split(',').any(|range| {
                let mut parameters = range.split(';').map(str::trim);
                let media = parameters.next().unwrap_or_default();
                let refused = parameters.any(|p| p.strip_prefix("q=").is_some_and(is_zero));
                media.eq_ignore_ascii_case("application/openmetrics-text") && !refused
            })
        });
        if names_it { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The value of `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

fn is_zero(quality: &str) -> bool {
    quality.trim().parse::<f64>().is_ok_and(|q| q == 0.0)
}

/// Where a collector puts what it reads.
#[derive(Default)]
pub struct Samples {
    families: BTreeMap<&'static str, Collected>,
}

struct Collected {
    desc: &'static Desc,
    /// By label text, so that a collector which gives a label set twice leaves the last one.
    rows: BTreeMap<String, f64>,
}

impl Samples {
    /// Gives the value of the counter or gauge with these label values.
    pub fn put(&mut self, desc: &'static Desc, labels: &[&str], value: f64) {
        debug_assert_eq!(labels.len(), desc.labels.len(), "{}", desc.name);
        debug_assert!(!matches!(desc.kind, Kind::Histogram(_)), "{}", desc.name);
        self.families
            .entry(desc.name)
            .or_insert_with(|| Collected { desc, rows: BTreeMap::new() })
            .rows
            .insert(label_text(desc.labels, labels.iter().copied()), value);
    }
}

/// The text of all families, and of what the collectors read.
pub(super) fn render(
    format: Format,
    families: &[Arc<Family>],
    collectors: &[Arc<Collector>],
    now: Instant,
) -> String {
    let mut samples = Samples::default();
    for collector in collectors {
        collector(&mut samples);
    }
    let mut page = Page { format, text: String::with_capacity(16 << 10) };
    for family in families {
        let (readings, overflows) = family.read(now);
        samples.put(&OVERFLOW, &[family.desc.name], overflows as f64);
        let collected = samples.families.remove(family.desc.name);
        if readings.is_empty() && collected.is_none() {
            continue;
        }
        page.head(family.desc);
        page.readings(family.desc, &readings);
        page.rows(family.desc, collected.as_ref());
    }
    for collected in samples.families.values() {
        page.head(collected.desc);
        page.rows(collected.desc, Some(collected));
    }
    page.finish()
}

struct Page {
    format: Format,
    text: String,
}

impl Page {
    /// The lines that say what the family is.
    fn head(&mut self, desc: &Desc) {
        let Desc { name, unit, help, .. } = desc;
        let kind = match desc.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        match self.format {
            Format::OpenMetrics => {
                self.line(format_args!("# TYPE {name} {kind}"));
                if !unit.is_empty() {
                    self.line(format_args!("# UNIT {name} {unit}"));
                }
                self.line(format_args!("# HELP {name} {}", escape(help)));
            }
            // There the family of a counter is named like its sample.
            Format::Prometheus => {
                let total = suffix(desc.kind);
                self.line(format_args!("# HELP {name}{total} {}", help.replace('\\', "\\\\")));
                self.line(format_args!("# TYPE {name}{total} {kind}"));
            }
        }
    }

    fn readings(&mut self, desc: &Desc, readings: &[Reading]) {
        for (labels, numbers) in readings {
            match (desc.kind, numbers.as_slice()) {
                (Kind::Counter, [value, ..]) => self.sample(desc, labels, value),
                (Kind::Gauge, [value, ..]) => self.sample(desc, labels, &value.cast_signed()),
                (Kind::Histogram(buckets), [sum, counts @ ..]) => {
                    self.histogram(desc.name, labels, buckets.bounds_us(), *sum, counts);
                }
                (_, []) => {}
            }
        }
    }

    fn rows(&mut self, desc: &Desc, collected: Option<&Collected>) {
        for (labels, value) in collected.iter().flat_map(|collected| &collected.rows) {
            self.sample(desc, labels, &Number(*value));
        }
    }

    fn sample(&mut self, desc: &Desc, labels: &str, value: &dyn fmt::Display) {
        let (name, total) = (desc.name, suffix(desc.kind));
        if labels.is_empty() {
            self.line(format_args!("{name}{total} {value}"));
        } else {
            self.line(format_args!("{name}{total}{{{labels}}} {value}"));
        }
    }

    fn histogram(
        &mut self,
        name: &str,
        labels: &str,
        bounds: impl Iterator<Item = u64>,
        sum: u64,
        counts: &[u64],
    ) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut count = 0_u64;
        for (bound, bucket) in bounds.zip(counts) {
            count += bucket;
            let le = Seconds(bound);
            self.line(format_args!("{name}_bucket{{{labels}{comma}le=\"{le}\"}} {count}"));
        }
        count += counts.last().unwrap_or(&0);
        self.line(format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}"));
        let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
        self.line(format_args!("{name}_sum{open}{labels}{close} {}", Seconds(sum)));
        self.line(format_args!("{name}_count{open}{labels}{close} {count}"));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // A String takes everything: there is no error to hand on.
        let _always_ok = writeln!(self.text, "{line}");
    }

    fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

const fn suffix(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "_total",
        Kind::Gauge | Kind::Histogram(_) => "",
    }
}

/// `name="value",…` with the values escaped.
pub(super) fn label_text<'a>(names: &[&str], values: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for (name, value) in names.iter().zip(values) {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        text.push_str(&escape(value));
        text.push('"');
    }
    text
}

/// Escapes the three characters that both formats escape inside quotes.
fn escape(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', '"', '\n']) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Microseconds written as seconds, without rounding.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        write!(f, "{whole}.{micros:06}")
    }
}

/// A number as both formats write it.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n == f64::INFINITY => f.write_str("+Inf"),
            n if n == f64::NEG_INFINITY => f.write_str("-Inf"),
            n => write!(f, "{n}"),
        }
    }
}
