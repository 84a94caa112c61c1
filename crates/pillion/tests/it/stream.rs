//! Large bodies stream: a gibibyte each way, unchanged, with memory that does not grow.

use std::thread;
use std::time::Duration;

use pillion_testkit::{Conn, Gate, Origin, Pillion, Stream, peak_memory_kib};

use crate::{get, in_front_of};

const TOTAL: usize = 1 << 30;
/// More than Pillion may hold of a body, and far less than the body.
const GROWTH_MAX_KIB: u64 = 16 << 10;

/// Bytes that differ from place to place, in a circle whose length no buffer divides.
struct Pattern(Vec<u8>);

impl Pattern {
    const LENGTH: usize = 1_000_003;

    fn new() -> Self {
        let mut state = 0x9e37_79b9_u32;
        // Twice, so that a piece from any place on is one slice.
        let mut bytes: Vec<u8> = (0..Self::LENGTH)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        bytes.extend_from_within(..);
        Self(bytes)
    }

    /// The `length` bytes from `offset` on.
    fn at(&self, offset: usize, length: usize) -> &[u8] {
        let start = offset % Self::LENGTH;
        &self.0[start..start + length]
    }

    fn send(&self, stream: &mut Stream) {
        let mut sent = 0;
        while sent < TOTAL {
            let length = (256 << 10).min(TOTAL - sent);
            stream.try_send(self.at(sent, length)).unwrap();
            sent += length;
        }
    }

    fn receive(&self, stream: &mut Stream) {
        let mut buffer = vec![0; 256 << 10];
        let mut received = 0;
        while received < TOTAL {
            let room = buffer.len().min(TOTAL - received);
            let count = stream.try_read(&mut buffer[..room]).unwrap();
            assert_ne!(count, 0, "the body ended after {received} bytes");
            let expected = self.at(received, count);
            assert!(buffer[..count] == *expected, "other bytes within {count} from {received} on");
            received += count;
        }
    }
}

/// Runs `transfer` and asserts that the most memory ever used did not grow with it.
fn with_flat_memory(pillion: &Pillion, transfer: impl FnOnce()) {
    // What an exchange needs at all is there after one.
    pillion.connect_inbound().send(get("/small")).response();
    let before = peak_memory_kib(pillion.pid());
    transfer();
    let growth = peak_memory_kib(pillion.pid()).saturating_sub(before);
    assert!(growth < GROWTH_MAX_KIB, "memory grew by {growth} KiB over {before} KiB");
}

fn serve(mut conn: Conn) {
    let pattern = Pattern::new();
    while let Some(head) = conn.head() {
        if head.line.starts_with("GET /small") {
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        } else if head.line.starts_with("GET") {
            conn.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {TOTAL}\r\n\r\n"));
            pattern.send(&mut conn);
        } else {
            pattern.receive(&mut conn);
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    }
}

#[test]
fn a_gibibyte_passes_both_ways_at_once_with_flat_memory() {
    let origin = Origin::start(serve);
    let pillion = in_front_of(origin.address());
    let pattern = Pattern::new();
    with_flat_memory(&pillion, || {
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut wire = pillion.connect_inbound();
                wire.send(get("/large")).head();
                pattern.receive(&mut wire);
            });
            scope.spawn(|| {
                let mut wire = pillion.connect_inbound();
                let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {TOTAL}\r\n\r\n");
                wire.send(head);
                pattern.send(&mut wire);
                assert_eq!(wire.response().text(), "ok");
            });
        });
    });
    pillion.wait_for_metric("pillion_requests_total{code=\"200\"}", 3.0);
    pillion.logged("request_bytes", TOTAL);
    pillion.logged("response_bytes", TOTAL);
}

#[test]
fn a_client_that_does_not_read_holds_the_app_back() {
    let held_back = Gate::new();
    let told = held_back.clone();
    let origin = Origin::start(move |mut conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
        conn.socket().set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        // Far more than all the sockets on the way hold.
        if (0..256).any(|_| conn.try_send(&chunk).is_err()) {
            told.open();
        }
    });
    let pillion = in_front_of(origin.address());
    let before = peak_memory_kib(pillion.pid());
    let mut wire = pillion.connect_inbound();
    wire.send(get("/")).head();
    held_back.wait();
    let growth = peak_memory_kib(pillion.pid()).saturating_sub(before);
    assert!(growth < GROWTH_MAX_KIB, "memory grew by {growth} KiB");
}
