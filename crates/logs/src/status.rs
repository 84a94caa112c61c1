//! How the role stands: for the admin interface, the command line and the metrics.

mod metrics;

use std::sync::Arc;

use pillion_runtime::metrics::Registry;
use serde::Serialize;
use tokio::sync::watch;

use crate::steps::StepCount;
use crate::tail;
pub use metrics::METRICS;

/// How the role stood a moment ago.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// Bytes of log data that are held in memory.
    pub memory_used: usize,
    /// The most that may be.
    pub memory_limit: usize,
    /// Records of the app and the network that are nowhere any more: at a reload not every sink had
    /// taken them, and no disk buffer had room. At most so many; since the role first began.
    pub lost: u64,
    /// Each source.
    pub sources: Vec<SourceStatus>,
    /// Each sink.
    pub sinks: Vec<SinkStatus>,
}

/// How a source stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// Bytes that were read.
    pub bytes: u64,
    /// Records that were made of them.
    pub records: u64,
    /// Records that a step left out.
    pub dropped: u64,
    /// Records that were too long, and cut.
    pub truncated: u64,
    /// Records that do not follow their format.
    pub unparsed: u64,
    /// Records whose bytes were no text everywhere.
    pub repaired: u64,
    /// Records in which something was made unreadable.
    pub redacted: u64,
    /// Bytes of lines that were longer than allowed, beyond what was kept.
    pub cut_bytes: u64,
    /// NUL bytes that were left out: most of all, the holes that truncation leaves in files.
    pub nul_bytes: u64,
    /// What each of its steps has done, in their order.
    pub steps: Vec<StepCount>,
    /// Its files, those that are furthest behind first; the rest as one.
    pub files: Vec<FileStatus>,
    /// Files besides these.
    pub other_files: usize,
    /// Bytes of all files that are not delivered yet.
    pub lag_bytes: u64,
    /// Files that are open.
    pub open_files: usize,
    /// Bytes that were gone before they could be read.
    pub lost_bytes: u64,
    /// Records that were dropped as they came, because there was no room.
    pub refused: u64,
    /// Bytes that were.
    pub refused_bytes: u64,
    /// Datagrams that the kernel dropped, because they were not read in time.
    pub kernel_dropped: u64,
    /// Bytes of the app's output that were not shown, because nobody took them.
    pub unshown_bytes: u64,
    /// Connections now.
    pub connections: usize,
}

/// How a file stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FileStatus {
    /// Where it is, or was last.
    pub path: String,
    /// `waiting`, `idle`, `closed`, `rotated`, `gone`, `copy` or `unreadable`.
    pub state: &'static str,
    /// Why it is unreadable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Bytes that it has.
    pub size: u64,
    /// Bytes that were read.
    pub read: u64,
    /// Bytes that were delivered.
    pub delivered: u64,
    /// Bytes that were not delivered.
    pub lag_bytes: u64,
    /// Seconds since something was last read.
    pub silent_s: u64,
}

/// How a sink stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// Records that it was meant to get.
    pub records: u64,
    /// Records that arrived.
    pub delivered: u64,
    /// Their bytes, before compression.
    pub delivered_bytes: u64,
    /// Tries that did not succeed, by cause.
    pub retries: Vec<(&'static str, u64)>,
    /// Records that it refused for good; they are in the dead letters.
    pub rejected: u64,
    /// Records that were dropped because there was no room.
    pub dropped: u64,
    /// Bytes that were.
    pub dropped_bytes: u64,
    /// Records that wait in memory, on their way included.
    pub waiting: u64,
    /// Bytes that do.
    pub waiting_bytes: u64,
    /// Records that wait on the disk.
    pub on_disk: u64,
    /// Bytes that the disk buffer takes.
    pub disk_bytes: u64,
    /// Batches on their way.
    pub in_flight: usize,
    /// `closed` (all is well), `open` (it is left alone for a while) or `probing`.
    pub circuit: &'static str,
    /// Seconds since the oldest record that is not delivered was read.
    pub lag_s: f64,
    /// What went wrong last, until something arrives again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// What keeps the disk buffer from use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_error: Option<String>,
}

/// Where the role says how it stands. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct StatusBoard(Arc<watch::Sender<Status>>);

impl StatusBoard {
    /// A board whose numbers are metrics of `registry` too.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let board = Self::default();
        let seen = board.clone();
        registry.collector(Box::new(move |samples| metrics::put(&seen.current(), samples)));
        board
    }

    /// How it stood a moment ago.
    #[must_use]
    pub fn current(&self) -> Status {
        self.0.borrow().clone()
    }

    pub(crate) fn show(&self, status: Status) {
        self.0.send_replace(status);
    }
}

impl From<&tail::FileStatus> for FileStatus {
    fn from(file: &tail::FileStatus) -> Self {
        let reason = match &file.state {
            tail::FileState::Unreadable(reason) => Some(reason.to_string()),
            _ => None,
        };
        Self {
            path: file.path.display().to_string(),
            state: file.state.label(),
            reason,
            size: file.size,
            read: file.read,
            delivered: file.delivered,
            lag_bytes: file.lag,
            silent_s: file.silent_s,
        }
    }
}
