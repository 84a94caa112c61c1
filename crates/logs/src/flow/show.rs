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
    for (source, records) in grown(&before.sources, &now.sources, |it| (&it.name, it.refused)) {
        say!(
            Warn,
            "log records were dropped as they came: there was no room",
            source = source,
            records_so_far = records
        );
    }
    for (sink, records) in grown(&before.sinks, &now.sinks, |it| (&it.name, it.dropped)) {
        say!(
            Warn,
            "log records that waited were dropped: there was no room",
            sink = sink,
            records_so_far = records
        );
    }
}

/// The names whose number has grown, with it; a name that is new had none before.
fn grown<'a, T>(
    before: &'a [T],
    now: &'a [T],
    numbered: fn(&T) -> (&String, u64),
) -> impl Iterator<Item = (&'a String, u64)> {
    now.iter().map(numbered).filter(move |(name, number)| {
        let known = before.iter().map(numbered).find(|(known, _)| known == name);
        *number > known.map_or(0, |(_, number)| number)
    })
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

#[cfg(test)]
mod tests {
    use super::grown;

    #[test]
    fn what_has_grown_is_told_by_name() {
        let numbers = |numbers: &[(&str, u64)]| -> Vec<(String, u64)> {
            numbers.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
        };
        let before = numbers(&[("same", 2), ("more", 2), ("gone", 1), ("restarted", 5)]);
        let now = numbers(&[("same", 2), ("more", 3), ("new", 1), ("none", 0), ("restarted", 1)]);
        let grown: Vec<_> = grown(&before, &now, |(name, number)| (name, *number)).collect();
        assert_eq!(grown, [(&"more".to_owned(), 3), (&"new".to_owned(), 1)]);
    }
}
