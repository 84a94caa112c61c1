//! Waiting for a descriptor that is not a socket.
#![expect(unsafe_code, reason = "the runtime cannot check that a descriptor stays open")]

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Tells when there is something to read. It holds a duplicate, so that the reader may be anything.
#[derive(Debug)]
pub struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Watches `descriptor`, which has to be non-blocking, in the current Tokio runtime.
    ///
    /// # Errors
    /// When no descriptor is left, or it cannot be registered.
    pub fn of(descriptor: impl AsFd) -> io::Result<Self> {
        let duplicate = descriptor.as_fd().try_clone_to_owned()?;
        // SAFETY: an `OwnedFd` is open until it is dropped, and this one is never replaced: the
        // field is private and not handed out.
        Ok(Self(unsafe { AsyncFd::register_with_interest(duplicate, Interest::READABLE) }?))
    }

    /// Calls `read` until it returns something else than `None`, "nothing yet". Cancel-safe.
    ///
    /// # Errors
    /// Those of `read`.
    pub async fn read<T>(&self, mut read: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
        loop {
            let mut ready = self.0.readable().await?;
            match read()? {
                Some(value) => return Ok(value),
                None => ready.clear_ready(),
            }
        }
    }
}
