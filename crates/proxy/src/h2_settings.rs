//! HTTP/2 settings of both sides, and how an endpoint is asked whether it speaks it.

use std::future::poll_fn;
use std::io;

use pillion_model::snapshot::Limits;

use crate::stream::Stream;

/// Window of one stream: what a peer may send us unread. With the connection's window it bounds
/// what one connection can make us hold.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Window of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Most that one stream buffers towards a slow peer.
const SEND_BUFFER: usize = 256 * 1024;
/// Larger frames mean fewer headers and fewer calls for bulk data.
const FRAME_SIZE: u32 = 64 * 1024;
/// What small frames that wait for a slow reader may cost beyond what they carry: about 256 bytes
/// each. A peer that exceeds it loses the connection, with every stream on it. So that one reader
/// who stalls is not the end of all others, an endpoint has room for a whole connection window of
/// frames of 16 bytes; a client, who can be anybody, for a quarter of that.
const SMALL_FRAMES_OF_ENDPOINT: usize = 16 * 1024 * 1024;
const SMALL_FRAMES_OF_CLIENT: usize = 4 * 1024 * 1024;
/// The most that a response head of an endpoint may hold; the configured limit is checked after.
const RESPONSE_HEAD: u32 = 2 * 1024 * 1024;
/// Streams a client may reset before they were looked at (CVE-2023-44487), and reset streams
/// that are remembered.
const RESETS_PENDING: usize = 20;
/// Streams a new connection may open before the peer's SETTINGS have said how many.
const STREAMS_UNTOLD: usize = 100;

/// What we offer to clients.
pub(crate) fn server(limits: &Limits) -> h2::server::Builder {
    // Twice the limit: what is beyond it but not out of all proportion is refused by us, with a
    // reason in answer, log and metric; the library's own refusal is a bare 431.
    let head_list = u32::try_from(limits.head_bytes.saturating_mul(2)).unwrap_or(u32::MAX);
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_SIZE)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_streams(limits.h2_streams)
        .max_header_list_size(head_list)
        .data_frame_budget(SMALL_FRAMES_OF_CLIENT)
        .max_pending_accept_reset_streams(RESETS_PENDING)
        .max_concurrent_reset_streams(RESETS_PENDING);
    builder
}

/// What we offer to endpoints.
pub(crate) fn client() -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(STREAMS_UNTOLD)
        .max_header_list_size(RESPONSE_HEAD)
        .data_frame_budget(SMALL_FRAMES_OF_ENDPOINT)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_SIZE)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(RESETS_PENDING);
    builder
}

/// Connection preface and an empty SETTINGS frame (RFC 9113 §3.4, §6.5).
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Whether the peer answers a connection preface with SETTINGS, as RFC 9113 §3.4 demands.
pub(crate) async fn probe(stream: &mut Stream) -> io::Result<bool> {
    let mut sent = 0;
    while let Some(rest) = HELLO.get(sent..).filter(|rest| !rest.is_empty()) {
        sent += poll_fn(|cx| stream.poll_write(cx, rest)).await?;
    }
    let mut header = [0; 9];
    let mut have = 0;
    while let Some(room) = header.get_mut(have..).filter(|room| !room.is_empty()) {
        match poll_fn(|cx| stream.poll_read(cx, room)).await? {
            0 => return Ok(false),
            count => have += count,
        }
    }
    // Type 4 on stream 0: a SETTINGS frame.
    Ok(header.get(3) == Some(&4) && header.get(5..) == Some(&[0; 4][..]))
}
