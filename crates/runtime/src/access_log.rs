//! The access log: one line for each exchange, formatted and written by a thread of its own.
//!
//! A worker copies the fields of an exchange into its batch and hands a full batch over a bounded
//! queue. It never formats, never writes and never waits: when the log thread cannot keep up (a
//! slow disk, a reader of standard output that stopped), whole batches are dropped and counted.

mod batch;
mod format;
mod output;
mod queue;
#[cfg(test)]
mod tests;
mod thread;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use pillion_model::Reason;
use pillion_model::snapshot::{self, Direction, LogFormat};

use self::batch::Batch;
use self::output::Output;
use self::queue::Sender;
use self::thread::Control;
pub(crate) use self::thread::{LINES, WRITE_ERRORS};
use crate::metrics::{Counter, Desc, Kind, Registry};

/// Batches that may wait for the log thread: some 30 ms of lines at full load, 1.2 MiB at most.
const QUEUE: usize = 32;
/// Empty batches that are kept for the next use.
const SPARE: usize = 4;

pub(crate) static DROPPED: Desc = Desc {
    name: "pillion_access_log_dropped",
    kind: Kind::Counter,
    unit: "",
    help: "Access log lines that were lost: the log could not keep up, or could not be written.",
    labels: &[],
};

/// What a downstream speaks, as the log says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
    /// Bytes that nobody looked at.
    Tcp,
}

impl Protocol {
    /// The word in the log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Tcp => "TCP",
        }
    }
}

/// One exchange, borrowed from whoever served it. An empty field has no value.
///
/// What is longer is cut: `path` at 2048 bytes, `request_id` at 128, `method` at 32, the other
/// texts at 256.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Start of the exchange, microseconds since 1970 in UTC.
    pub start_unix_us: u64,
    /// Which way it went.
    pub direction: Direction,
    /// What the downstream speaks.
    pub protocol: Protocol,
    /// Response status, 0 if none was sent.
    pub status: u16,
    /// Number of tries.
    pub attempts: u8,
    /// Why Pillion itself ended or answered it.
    pub reason: Option<Reason>,
    /// Request method.
    pub method: &'a [u8],
    /// Host and port that the request names.
    pub authority: &'a [u8],
    /// Path and query as received.
    pub path: &'a [u8],
    /// Name of the route.
    pub route: &'a str,
    /// Name of the upstream.
    pub upstream: &'a str,
    /// Address of the endpoint of the last attempt.
    pub endpoint: &'a str,
    /// Address of the client; `None` on a Unix socket.
    pub downstream: Option<SocketAddr>,
    /// Body bytes received from the client.
    pub request_bytes: u64,
    /// Body bytes sent to the client.
    pub response_bytes: u64,
    /// From the request head to the end of the exchange, in microseconds.
    pub duration_us: u64,
    /// From the request sent to the response head received, in microseconds.
    pub upstream_us: u64,
    /// Time spent inside Pillion, in microseconds.
    pub pillion_us: u64,
    /// `x-request-id`.
    pub request_id: &'a [u8],
    /// Trace id in lower-case hexadecimal; zero bytes when there is none.
    pub trace_id: [u8; 32],
    /// `user-agent`.
    pub user_agent: &'a [u8],
}

/// The access log. Clones are the same log; the thread ends when the last of them and of their
/// writers is gone.
#[derive(Clone)]
pub struct AccessLog {
    queue: Sender,
    shared: Arc<Shared>,
    registry: Registry,
}

/// What goes through the queue.
enum Message {
    Lines(Batch),
    /// Something in [`Shared::control`] changed.
    Wake,
}

/// What the writers, the handles and the thread see.
struct Shared {
    /// Whether lines go anywhere.
    enabled: AtomicBool,
    control: Mutex<Control>,
    /// Empty batches.
    spare: Mutex<Vec<Batch>>,
    /// Batches handed over so far …
    handed: AtomicU64,
    /// … and of these, batches done with.
    done: Mutex<u64>,
    done_changed: Condvar,
}

impl AccessLog {
    /// Opens the output and starts the thread `pillion-log`.
    ///
    /// # Errors
    /// The file cannot be opened (the message names it), or no thread can be started.
    pub fn start(settings: &snapshot::AccessLog, registry: &Registry) -> io::Result<Self> {
        Self::spawn(Output::open(&settings.output)?, settings.format.clone(), registry)
    }

    fn spawn(output: Output, format: LogFormat, registry: &Registry) -> io::Result<Self> {
        let (queue, received) = sync_channel(QUEUE);
        let shared = Arc::new(Shared {
            enabled: AtomicBool::new(output.is_on()),
            control: Mutex::default(),
            spare: Mutex::default(),
            handed: AtomicU64::new(0),
            done: Mutex::new(0),
            done_changed: Condvar::new(),
        });
        let (for_thread, registry_for_thread) = (shared.clone(), registry.clone());
        let thread = Builder::new().name("pillion-log".into()).spawn(move || {
            thread::run(&received, &for_thread, &registry_for_thread, output, format);
        })?;
        let queue = Sender::new(queue, thread.thread().clone());
        Ok(Self { queue, shared, registry: registry.clone() })
    }

    /// A writer for one worker; to be called on the worker's thread.
    pub fn writer(&self) -> AccessWriter {
        AccessWriter {
            queue: self.queue.clone(),
            shared: self.shared.clone(),
            dropped: self.registry.counter(&DROPPED, &[]),
            batch: None,
        }
    }

    /// Changes output and format. Lines that were handed over before may still go to the old ones.
    ///
    /// # Errors
    /// The new file cannot be opened; then nothing changes.
    pub fn reconfigure(&self, settings: &snapshot::AccessLog) -> io::Result<()> {
        let output = Output::open(&settings.output)?;
        // Relaxed: a line more or less around the change does no harm.
        self.shared.enabled.store(output.is_on(), Ordering::Relaxed);
        self.shared.control().next = Some((output, settings.format.clone()));
        self.wake();
        Ok(())
    }

    /// Opens the file again under its name, after it was rotated away.
    pub fn reopen(&self) {
        self.shared.control().reopen = true;
        self.wake();
    }

    /// Waits until everything that writers handed over before this call is written or dropped, for
    /// `timeout` at most; whether it is. Blocks the calling thread.
    pub fn flush(&self, timeout: Duration) -> bool {
        // Acquire: pairs with the writers' Release, so that their batches are counted in.
        let handed = || self.shared.handed.load(Ordering::Acquire);
        let asked = handed();
        let deadline = Instant::now() + timeout;
        let mut done = self.shared.done.lock().unwrap_or_else(PoisonError::into_inner);
        // A batch that found no place is taken off again: hence the second look.
        while *done < asked.min(handed()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.done_changed.wait_timeout(done, left);
            done = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn wake(&self) {
        // A full queue needs no wake: the thread looks at `control` before every message.
        let _sent_or_full = self.queue.try_send(Message::Wake);
    }
}

/// One worker's end of the access log. Hands what it holds over when it is dropped.
pub struct AccessWriter {
    queue: Sender,
    shared: Arc<Shared>,
    dropped: Counter,
    batch: Option<Batch>,
}

impl AccessWriter {
    /// Whether lines go anywhere: if not, there is no need to make a [`Record`].
    pub fn enabled(&self) -> bool {
        // Relaxed: a line more or less around a change does no harm.
        self.shared.enabled.load(Ordering::Relaxed)
    }

    /// Adds one exchange. It is written when the batch is full or at the next [`Self::flush`].
    pub fn record(&mut self, record: &Record<'_>) {
        if !self.enabled() {
            return;
        }
        let shared = &self.shared;
        let batch = self.batch.get_or_insert_with(|| shared.take_spare());
        batch.push(record);
        if batch.is_full() {
            self.flush();
        }
    }

    /// Hands over what there is; to be called every 100 ms or so. Never waits.
    pub fn flush(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        // Before it is sent, so that the count of what is done never overtakes this one.
        // Release: see `AccessLog::flush`.
        self.shared.handed.fetch_add(1, Ordering::Release);
        let Err(refused) = self.queue.try_send(Message::Lines(batch)) else { return };
        self.shared.handed.fetch_sub(1, Ordering::Release);
        if let Message::Lines(mut batch) = refused {
            self.dropped.add(batch.len() as u64);
            batch.clear();
            self.batch = Some(batch);
        }
    }
}

impl Drop for AccessWriter {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Shared {
    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty batch: a used one if the pool is free at this moment, for a worker never waits.
    fn take_spare(&self) -> Batch {
        self.spare.try_lock().ok().and_then(|mut spare| spare.pop()).unwrap_or_default()
    }

    fn give_spare(&self, mut batch: Batch) {
        batch.clear();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(batch);
        }
    }

    fn batch_done(&self) {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.done_changed.notify_all();
    }
}
