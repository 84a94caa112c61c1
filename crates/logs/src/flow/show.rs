//! How a generation stands, for everybody who asks.

use pillion_runtime::say;

use super::Moment;
use super::feeds::FeedBoard;
use super::generation::{Generation, Running};
use super::outlet::Outlet;
use crate::deliver::CircuitState;
use crate::record::UnixNanos;
use crate::status::{FileStatus, SinkStatus, SourceStatus, Status, StatusBoard};

/// Shows how it stands.
pub(super) fn show(generation: &Generation, board: &StatusBoard) {
    let now = Moment::now().unix;
    let status = Status {
        memory_used: generation.budget.used(),
        memory_limit: generation.budget.limit(),
        sources: generation.lanes.iter().map(source).collect(),
        lost: generation.lost(),
        sinks: generation.outlets.iter().map(|outlet| sink(outlet, now)).collect(),
    };
    complain(&board.current(), &status);
    board.show(status);
}

/// Says aloud that more was dropped than the last time.
fn complain(before: &Status, now: &Status) {
    for source in &now.sources {
        let known = before.sources.iter().find(|known| known.name == source.name);
        if source.refused > known.map_or(0, |known| known.refused) {
            say!(
                Warn,
                "log records were dropped as they came: there was no room",
                source = source.name,
                records_so_far = source.refused
            );
        }
    }
    for sink in &now.sinks {
        let known = before.sinks.iter().find(|known| known.name == sink.name);
        if sink.dropped > known.map_or(0, |known| known.dropped) {
            say!(
                Warn,
                "log records that waited were dropped: there was no room",
                sink = sink.name,
                records_so_far = sink.dropped
            );
        }
    }
}

fn source(running: &Running) -> SourceStatus {
    let counts = &running.lane.counts;
    let mut status = SourceStatus {
        name: running.lane.source.name.to_string(),
        bytes: counts.bytes.get(),
        records: counts.records.get(),
        dropped: counts.dropped.get(),
        truncated: counts.truncated.get(),
        unparsed: counts.unparsed.get(),
        repaired: counts.repaired.get(),
        redacted: counts.redacted.get(),
        cut_bytes: counts.left_out.get().cut,
        nul_bytes: counts.left_out.get().hole,
        steps: running.lane.steps(),
        ..SourceStatus::default()
    };
    if let Some(files) = &running.files {
        let files = files.borrow();
        status.files = files.files.iter().map(FileStatus::from).collect();
        status.other_files = files.others;
        status.open_files = files.open;
        status.lost_bytes = files.lost;
        let lag: u64 = files.files.iter().map(|file| file.lag).sum();
        status.lag_bytes = lag + files.others_lag;
    }
    if let Some(feed) = running.feed.as_ref().map(FeedBoard::status) {
        status.refused = feed.dropped_records;
        status.refused_bytes = feed.dropped_bytes;
        status.kernel_dropped = feed.kernel_dropped;
        status.unshown_bytes = feed.terminal_dropped;
        status.connections = feed.connections;
    }
    status
}

fn sink(outlet: &Outlet, now: UnixNanos) -> SinkStatus {
    let queue = outlet.queue.status();
    let delivery = outlet.deliverer.status();
    let oldest = [queue.oldest, delivery.oldest].into_iter().flatten().min();
    let waiting = queue.memory.records + queue.in_hand.records;
    SinkStatus {
        name: outlet.settings.name.to_string(),
        records: outlet.taken.get(),
        delivered: delivery.delivered_records,
        delivered_bytes: delivery.delivered_bytes,
        retries: delivery.retries.iter().map(|(cause, number)| (cause.label(), *number)).collect(),
        rejected: delivery.rejected_records,
        dropped: queue.dropped.records,
        dropped_bytes: queue.dropped.bytes,
        waiting,
        waiting_bytes: queue.memory.bytes + queue.in_hand.bytes,
        on_disk: queue.disk.records,
        disk_bytes: queue.disk_bytes,
        in_flight: delivery.in_flight,
        circuit: match delivery.circuit {
            CircuitState::Closed => "closed",
            CircuitState::Open => "open",
            CircuitState::Probing => "probing",
        },
        lag_s: oldest.map_or(0.0, |oldest| seconds(now.saturating_sub(oldest))),
        last_error: delivery.last_error,
        disk_error: queue.trouble,
    }
}

fn seconds(nanos: UnixNanos) -> f64 {
    std::time::Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)).as_secs_f64()
}
