//! Memory that is free and that the allocator keeps for next time, given back.
#![expect(unsafe_code, reason = "the allocator's crate has no name for what its library can do")]

// SAFETY: as in mimalloc.h: it takes a C bool, returns nothing, and any thread may call it at any
// time. A library without it would not link.
unsafe extern "C" {
    safe fn mi_collect(force: bool);
}

/// Gives back what this thread has freed. Reading a configuration takes many times the memory of
/// what is kept of it; a thread that rests afterwards would have it for good.
pub(crate) fn release() {
    mi_collect(true);
}
