//! A panic is a bug of ours: it is said aloud and counted, and ends nothing but its own thread.

use std::any::Any;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};

use pillion_runtime::say;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Panics since the start.
pub(crate) fn count() -> u64 {
    // Relaxed: a figure for people.
    PANICS.load(Ordering::Relaxed)
}

/// Says and counts every panic from now on.
pub(crate) fn watch() {
    std::panic::set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
        // Relaxed: as above.
        PANICS.fetch_add(1, Ordering::Relaxed);
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("without a name");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = text(panic.payload());
        say!(
            Error,
            "a bug in Pillion, please report it: {message}",
            thread = thread,
            place = place
        );
    }));
}

fn text(payload: &dyn Any) -> &str {
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("panic")
}
