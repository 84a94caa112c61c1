//! Showing what the app writes where it went without us.
//!
//! A thread writes, and may wait as long as it likes; neither the app nor the role does. Without
//! Pillion the app would have waited for a terminal that is stopped, or a pipe that nobody reads. But
//! whoever asks for logs asks for an app that log plumbing cannot stop, so that here bytes are
//! dropped, and counted, once the buffer is full. Both outputs go through one buffer: what is shown
//! is in the order in which we read it.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::record::Stream;

/// Bytes that may wait to be shown.
const BUFFER: usize = 256 << 10;

/// The buffer, as the role sees it. The thread ends with the last of them, once all is written.
#[derive(Debug)]
pub(super) struct Screen(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    more: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    pieces: VecDeque<(Stream, Vec<u8>)>,
    bytes: usize,
    ended: bool,
}

/// Our own outputs, in the order of [`super::App::terminal`].
///
/// # Errors
/// No descriptor is left.
pub fn own_outputs() -> io::Result<[OwnedFd; 2]> {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    Ok([stdout.as_fd().try_clone_to_owned()?, stderr.as_fd().try_clone_to_owned()?])
}

impl Screen {
    /// Starts the thread, which writes to these.
    pub(super) fn start([stdout, stderr]: [OwnedFd; 2]) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let writing = shared.clone();
        let thread = std::thread::Builder::new().name("pillion-app-out".to_owned());
        thread.spawn(move || {
            while let Some((stream, bytes)) = writing.take() {
                let place = match stream {
                    Stream::Stdout => &stdout,
                    Stream::Stderr => &stderr,
                };
                let shown = write(place.as_fd(), &bytes);
                // Relaxed: a number for people.
                writing.dropped.fetch_add(widen(bytes.len() - shown), Ordering::Relaxed);
            }
        })?;
        Ok(Self(shared))
    }

    /// Shows bytes soon, or drops them.
    pub(super) fn show(&self, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let room = BUFFER - waiting.bytes;
        // A whole piece or nothing: a line that is cut looks like another line.
        if bytes.len() > room {
            // Relaxed: a number for people.
            self.0.dropped.fetch_add(widen(bytes.len()), Ordering::Relaxed);
            return;
        }
        waiting.bytes += bytes.len();
        waiting.pieces.push_back((stream, bytes.to_vec()));
        drop(waiting);
        self.0.more.notify_one();
    }

    /// Bytes that were not shown.
    pub(super) fn dropped(&self) -> u64 {
        // Relaxed: as above.
        self.0.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.0.more.notify_one();
    }
}

impl Shared {
    /// The next piece; `None` at the end.
    fn take(&self) -> Option<(Stream, Vec<u8>)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some((stream, bytes)) = waiting.pieces.pop_front() {
                waiting.bytes -= bytes.len();
                return Some((stream, bytes));
            }
            if waiting.ended {
                return None;
            }
            waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Writes as long as somebody takes it; returns how many bytes that were.
fn write(place: BorrowedFd<'_>, bytes: &[u8]) -> usize {
    let mut written = 0;
    while let Some(rest @ [_, ..]) = bytes.get(written..) {
        match nix::unistd::write(place, rest) {
            Ok(count) => written += count,
            Err(Errno::EINTR) => {}
            // Somebody else made it non-blocking.
            Err(Errno::EAGAIN) if wait(place) => {}
            Err(_) => break,
        }
    }
    written
}

fn wait(place: BorrowedFd<'_>) -> bool {
    poll(&mut [PollFd::new(place, PollFlags::POLLOUT)], PollTimeout::NONE).is_ok()
}

fn widen(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
