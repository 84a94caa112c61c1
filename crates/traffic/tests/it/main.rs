//! What the route table costs in memory, counted by an allocator that counts.

#![expect(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use pillion_model::snapshot::{
    Action, HeaderMatch, HeaderOps, HeaderTest, PathMatch, RetryPolicy, Route, RouteMatch,
};
use pillion_traffic::route::{RequestFields, RequestLine, RouteTable};

struct Counting;

thread_local! {
    /// Per thread, because tests run side by side.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        BYTES.set(BYTES.get().wrapping_add(layout.size()));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get().wrapping_sub(layout.size()));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One header, `x-tier: gold`.
struct Gold;

impl RequestFields for Gold {
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        name == "x-tier" && test(b"gold")
    }
}

fn routes() -> Vec<Arc<Route>> {
    let retry = RetryPolicy {
        retries: 0,
        statuses: Vec::new(),
        backoff: Duration::ZERO,
        backoff_max: Duration::ZERO,
        body_bytes: 0,
    };
    let header =
        HeaderMatch { name: "x-tier".to_owned(), test: HeaderTest::Exact("gold".to_owned()) };
    let route = |n: u32| Route {
        name: "route".into(),
        matches: RouteMatch {
            hosts: vec![format!("host-{n}.example.com"), format!("*.host-{n}.example.com")],
            path: PathMatch::Prefix("/api/v1".to_owned()),
            methods: vec!["GET".to_owned()],
            headers: vec![header.clone()],
        },
        action: Action::Forward(0),
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
        timeout: None,
        try_timeout: None,
        stream_idle_timeout: Duration::ZERO,
        retry: retry.clone(),
    };
    (0..1_000).map(|n| Arc::new(route(n))).collect()
}

#[test]
fn a_look_up_allocates_nothing() {
    let table = RouteTable::new(&routes());
    let line = |authority| RequestLine { method: b"GET", authority, path: b"/api/v1/cats?all" };
    let before = ALLOCATIONS.get();
    let found = [
        table.find(&line(b"Host-7.example.com:8080"), &Gold),
        table.find(&line(b"below.host-999.example.com."), &Gold),
        table.find(&line(b"nowhere.example.com"), &Gold),
    ];
    assert_eq!(ALLOCATIONS.get(), before);
    assert_eq!(found, [Some(7), Some(999), None]);
}

#[test]
fn a_route_takes_less_than_a_kilobyte() {
    let routes = routes();
    let before = BYTES.get();
    let table = RouteTable::new(&routes);
    let bytes_per_route = BYTES.get().wrapping_sub(before) / routes.len();
    assert!(bytes_per_route < 500, "{bytes_per_route} bytes");
    drop(table);
    assert_eq!(BYTES.get(), before);
}
