//! A thread that writes lines where a write may take long: a slow disk or a pipe that nobody reads
//! stops it, and nothing else.

use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Cause, Load, Mixed, SinkError, Trouble, Verdict};

/// Where lines are written to, one call after another.
pub(super) trait Place: Send + 'static {
    /// Writes whole records as long as that goes well. What is left of one that was begun is taken
    /// back, or completed later: no record ever continues in the middle of another.
    fn write(&mut self, bytes: &[u8], ends: &[u32]) -> Written;
}

/// How far a place came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Records that are there.
    pub(super) records: usize,
    /// Why there are not more.
    pub(super) fault: Option<Fault>,
}

/// Why a place took no more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It may work again.
    Failed(String),
    /// Nobody reads it, and nobody ever will.
    Closed(String),
}

struct Job {
    bytes: Bytes,
    ends: Vec<u32>,
    reply: oneshot::Sender<Written>,
}

/// The thread, as the sink sees it. It ends with the sink, after what it writes at that moment.
pub(super) struct Writer {
    jobs: SyncSender<Job>,
    place: String,
}

impl Writer {
    /// Starts the thread; `name` says where it writes to.
    pub(super) fn start(place: impl Place, name: String) -> Result<Self, SinkError> {
        let (jobs, incoming) = sync_channel(1);
        let thread = std::thread::Builder::new().name("pillion-logs-out".to_owned());
        let started = thread.spawn(move || serve(place, &incoming));
        match started {
            Ok(_detached) => Ok(Self { jobs, place: name }),
            Err(reason) => Err(SinkError::Writer { place: name, reason }),
        }
    }

    pub(super) async fn send(&self, load: Load<'_>) -> Verdict {
        let bytes = load.shared();
        let mut end = 0;
        let ends = load.records().map(|record| {
            end += record.len();
            u32::try_from(end).unwrap_or(u32::MAX)
        });
        let (reply, answer) = oneshot::channel();
        let ends = ends.collect();
        match self.jobs.try_send(Job { bytes, ends, reply }) {
            Ok(()) => {}
            // Of a load that was given up while it was being written.
            Err(TrySendError::Full(_)) => return self.trouble("it is still busy"),
            Err(TrySendError::Disconnected(_)) => return self.trouble("its thread has ended"),
        }
        match answer.await {
            Ok(written) => self.verdict(written, load.len()),
            Err(_) => self.trouble("its thread has ended"),
        }
    }

    fn verdict(&self, Written { records, fault }: Written, all: usize) -> Verdict {
        let text = match fault {
            None => return Verdict::Delivered,
            Some(Fault::Closed(text)) => return Verdict::Closed(format!("{}: {text}", self.place)),
            Some(Fault::Failed(text)) => text,
        };
        let trouble = Trouble::new(Cause::Local, format!("cannot write to {}: {text}", self.place));
        match records {
            0 => Verdict::Retry(trouble),
            _ => Verdict::Mixed(Mixed {
                retry: (records..all).collect(),
                trouble: Some(trouble),
                refused: Vec::new(),
            }),
        }
    }

    fn trouble(&self, text: &str) -> Verdict {
        let text = format!("cannot write to {}: {text}", self.place);
        Verdict::Retry(Trouble::new(Cause::Local, text))
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("place", &self.place).finish_non_exhaustive()
    }
}

fn serve(mut place: impl Place, jobs: &Receiver<Job>) {
    while let Ok(Job { bytes, ends, reply }) = jobs.recv() {
        let written = place.write(&bytes, &ends);
        // Whoever asked may be gone; then it is asked again.
        drop(reply.send(written));
    }
}

/// How many records end within the first `written` bytes, and where the last of them ends.
pub(super) fn whole(ends: &[u32], written: usize) -> (usize, usize) {
    let at = |end: &u32| usize::try_from(*end).unwrap_or(usize::MAX);
    let records = ends.partition_point(|end| at(end) <= written);
    let end = records.checked_sub(1).and_then(|last| ends.get(last)).map_or(0, at);
    (records, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_records_count() {
        let ends = [3, 5, 5, 9];
        for (written, expected) in
            [(0, (0, 0)), (2, (0, 0)), (3, (1, 3)), (4, (1, 3)), (5, (3, 5)), (9, (4, 9))]
        {
            assert_eq!(whole(&ends, written), expected, "{written}");
        }
    }
}
