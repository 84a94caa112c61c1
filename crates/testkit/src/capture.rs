//! What a child process writes, collected while it runs.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use crate::eventually;

/// Everything that was read from a pipe so far.
#[derive(Clone, Default)]
pub struct Capture(Arc<Mutex<Captured>>);

#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    ended: bool,
}

impl Capture {
    /// Reads `pipe` to its end on a thread of its own.
    pub fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let capture = Self::default();
        let writer = capture.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                writer.with(|captured| captured.bytes.extend_from_slice(&buffer[..count]));
            }
            writer.with(|captured| captured.ended = true);
        });
        capture
    }

    /// What was read so far.
    pub fn text(&self) -> String {
        self.with(|captured| String::from_utf8_lossy(&captured.bytes).into_owned())
    }

    /// Waits until everybody who held the other end has closed it, and returns everything.
    pub fn whole(&self) -> String {
        eventually("the end of a child's output", || self.with(|captured| captured.ended));
        self.text()
    }

    /// Waits until this text was read.
    pub fn wait_for(&self, text: &str) {
        eventually(("in a child's output", text), || self.text().contains(text));
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Captured) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
