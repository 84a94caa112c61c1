//! A gate that a slow peer waits at until the test opens it, in place of sleeping.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::PATIENCE;

/// Closed at first; opened once, for all who wait and all who come later.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody through.
    pub fn open(&self) {
        let (open, opened) = &*self.0;
        *open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        opened.notify_all();
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is open.
    ///
    /// # Panics
    /// When that takes longer than [`PATIENCE`].
    pub fn wait(&self) {
        let (open, opened) = &*self.0;
        let open = open.lock().unwrap_or_else(PoisonError::into_inner);
        let (open, _) = opened.wait_timeout_while(open, PATIENCE, |open| !*open).unwrap();
        assert!(*open, "waited {PATIENCE:?} in vain at a gate");
    }
}
