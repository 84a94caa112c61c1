//! The status as metrics.

use pillion_runtime::metrics::{Desc, Kind, Samples};

use super::{SinkStatus, SourceStatus, Status};

macro_rules! metrics {
    ($($id:ident: $kind:ident $name:literal [$unit:literal] $labels:expr, $help:literal;)+) => {
        $(static $id: Desc = Desc {
            name: $name,
            kind: Kind::$kind,
            unit: $unit,
            help: $help,
            labels: $labels,
        };)+

        /// Every metric of the role, for the generated reference.
        pub static METRICS: &[&Desc] = &[$(&$id),+];
    };
}

const SOURCE: &[&str] = &["source"];
const SINK: &[&str] = &["sink"];

metrics! {
    MEMORY: Gauge "pillion_logs_memory_bytes" ["bytes"] &[],
        "Log data that is held in memory.";
    MEMORY_LIMIT: Gauge "pillion_logs_memory_limit_bytes" ["bytes"] &[],
        "The most log data that may be held in memory.";
    READ_BYTES: Counter "pillion_logs_read_bytes" ["bytes"] SOURCE,
        "Bytes that were read.";
    RECORDS: Counter "pillion_logs_records" [""] SOURCE,
        "Records that were made of what was read.";
    FILTERED: Counter "pillion_logs_filtered" [""] SOURCE,
        "Records that a step left out.";
    STEPS: Counter "pillion_logs_step_records" [""] &["source", "step", "action"],
        "Records that a step dropped or changed, by its place in `steps` (from 0) and its word.";
    LEFT_OUT: Counter "pillion_logs_left_out_bytes" ["bytes"] &["source", "part"],
        "Bytes that no record has: what lines have beyond their limit (`cut`), and NUL bytes, as \
         truncation leaves them in files (`nul`).";
    LOST: Counter "pillion_logs_lost" [""] &[],
        "Records of the app and the network that not every sink had taken when a reload ended their \
         delivery, and that no disk buffer had room for; at most so many.";
    MARKED: Counter "pillion_logs_marked" [""] &["source", "mark"],
        "Records that were cut, repaired, redacted, or that do not follow their format.";
    FILE_LAG: Gauge "pillion_logs_file_lag_bytes" ["bytes"] &["source", "path"],
        "Bytes of a file that are not delivered yet, for the files that are furthest behind.";
    SOURCE_LAG: Gauge "pillion_logs_source_lag_bytes" ["bytes"] SOURCE,
        "Bytes of all files of a source that are not delivered yet.";
    OPEN_FILES: Gauge "pillion_logs_open_files" [""] SOURCE,
        "Files that are open.";
    LOST_BYTES: Counter "pillion_logs_lost_bytes" ["bytes"] SOURCE,
        "Bytes of files that were gone before they could be read.";
    REFUSED: Counter "pillion_logs_refused" [""] SOURCE,
        "Records that were dropped as they came, because there was no room for them.";
    REFUSED_BYTES: Counter "pillion_logs_refused_bytes" ["bytes"] SOURCE,
        "Bytes of records that were dropped as they came.";
    KERNEL_DROPPED: Counter "pillion_logs_kernel_dropped" [""] SOURCE,
        "Datagrams that the kernel dropped, because they were not read in time.";
    UNSHOWN: Counter "pillion_logs_unshown_bytes" ["bytes"] SOURCE,
        "Bytes of the app's output that were not shown, because nobody took them.";
    CONNECTIONS: Gauge "pillion_logs_connections" [""] SOURCE,
        "Connections of those who send records.";
    OFFERED: Counter "pillion_logs_sink_records" [""] SINK,
        "Records that a sink was meant to get.";
    DELIVERED: Counter "pillion_logs_delivered" [""] SINK,
        "Records that arrived at a sink.";
    DELIVERED_BYTES: Counter "pillion_logs_delivered_bytes" ["bytes"] SINK,
        "Bytes of records that arrived, before compression.";
    RETRIES: Counter "pillion_logs_retries" [""] &["sink", "cause"],
        "Tries to deliver that did not succeed, by cause.";
    REJECTED: Counter "pillion_logs_rejected" [""] SINK,
        "Records that a sink refused for good; they are in the dead letters.";
    DROPPED: Counter "pillion_logs_dropped" [""] SINK,
        "Records that were dropped because there was no room for them.";
    DROPPED_BYTES: Counter "pillion_logs_dropped_bytes" ["bytes"] SINK,
        "Bytes of records that were dropped because there was no room for them.";
    WAITING: Gauge "pillion_logs_waiting_bytes" ["bytes"] SINK,
        "Bytes that wait for a sink in memory, those on their way included.";
    DISK: Gauge "pillion_logs_disk_bytes" ["bytes"] SINK,
        "Bytes that the disk buffer of a sink takes.";
    IN_FLIGHT: Gauge "pillion_logs_in_flight" [""] SINK,
        "Batches on their way to a sink.";
    CIRCUIT: Gauge "pillion_logs_circuit_open" [""] SINK,
        "Whether a sink is left alone for a while because it fails (1).";
    LAG: Gauge "pillion_logs_lag_seconds" ["seconds"] SINK,
        "Age of the oldest record that a sink has not taken yet.";
}

/// Gives the numbers of a status.
pub(super) fn put(status: &Status, samples: &mut Samples) {
    if status.sources.is_empty() {
        return;
    }
    samples.put(&MEMORY, &[], status.memory_used as f64);
    samples.put(&MEMORY_LIMIT, &[], status.memory_limit as f64);
    samples.put(&LOST, &[], status.lost as f64);
    status.sources.iter().for_each(|source| put_source(source, samples));
    status.sinks.iter().for_each(|sink| put_sink(sink, samples));
}

fn put_source(source: &SourceStatus, samples: &mut Samples) {
    let name = source.name.as_str();
    let mut put = |desc, number: u64| samples.put(desc, &[name], number as f64);
    put(&READ_BYTES, source.bytes);
    put(&RECORDS, source.records);
    put(&FILTERED, source.dropped);
    put(&SOURCE_LAG, source.lag_bytes);
    put(&OPEN_FILES, u64::try_from(source.open_files).unwrap_or(u64::MAX));
    put(&LOST_BYTES, source.lost_bytes);
    put(&REFUSED, source.refused);
    put(&REFUSED_BYTES, source.refused_bytes);
    put(&KERNEL_DROPPED, source.kernel_dropped);
    put(&UNSHOWN, source.unshown_bytes);
    put(&CONNECTIONS, u64::try_from(source.connections).unwrap_or(u64::MAX));
    for (mark, number) in [
        ("truncated", source.truncated),
        ("unparsed", source.unparsed),
        ("repaired", source.repaired),
        ("redacted", source.redacted),
    ] {
        samples.put(&MARKED, &[name, mark], number as f64);
    }
    for (part, bytes) in [("cut", source.cut_bytes), ("nul", source.nul_bytes)] {
        samples.put(&LEFT_OUT, &[name, part], bytes as f64);
    }
    for (index, count) in source.steps.iter().enumerate() {
        samples.put(&STEPS, &[name, &index.to_string(), count.step], count.records as f64);
    }
    for file in &source.files {
        samples.put(&FILE_LAG, &[name, &file.path], file.lag_bytes as f64);
    }
}

fn put_sink(sink: &SinkStatus, samples: &mut Samples) {
    let name = sink.name.as_str();
    let mut put = |desc, number: f64| samples.put(desc, &[name], number);
    put(&OFFERED, sink.records as f64);
    put(&DELIVERED, sink.delivered as f64);
    put(&DELIVERED_BYTES, sink.delivered_bytes as f64);
    put(&REJECTED, sink.rejected as f64);
    put(&DROPPED, sink.dropped as f64);
    put(&DROPPED_BYTES, sink.dropped_bytes as f64);
    put(&WAITING, sink.waiting_bytes as f64);
    put(&DISK, sink.disk_bytes as f64);
    put(&IN_FLIGHT, sink.in_flight as f64);
    put(&CIRCUIT, f64::from(u8::from(sink.circuit == "open")));
    put(&LAG, sink.lag_s);
    for (cause, number) in &sink.retries {
        samples.put(&RETRIES, &[name, cause], *number as f64);
    }
}
