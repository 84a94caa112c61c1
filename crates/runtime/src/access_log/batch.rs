//! Lines on their way to the log thread: the numbers as they are, the texts one after another.

use std::net::SocketAddr;

use pillion_model::Reason;
use pillion_model::snapshot::Direction;

use super::{Protocol, Record};
use crate::escape::is_plain;

/// Lines in one batch: with their texts about 32 KiB.
const LINES: usize = 128;
/// Bytes for texts.
const TEXT: usize = 16 << 10;

/// Texts of one line, in the order in which they are stored.
const TEXTS: usize = 8;
/// What is longer is cut at this many bytes.
const LONGEST: [usize; TEXTS] = [32, 256, 2048, 256, 256, 256, 128, 256];
/// A batch with less room than this is full.
const LONGEST_LINE: usize = 32 + 5 * 256 + 2048 + 128;

/// Lines of one worker, in order.
pub(super) struct Batch {
    lines: Vec<Numbers>,
    text: Box<[u8]>,
    /// Bytes of `text` in use.
    used: usize,
}

/// What a line holds beside its texts.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub(super) start_unix_us: u64,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) duration_us: u64,
    pub(super) upstream_us: u64,
    pub(super) pillion_us: u64,
    pub(super) trace_id: [u8; 32],
    pub(super) downstream: Option<SocketAddr>,
    lengths: [u16; TEXTS],
    pub(super) status: u16,
    pub(super) attempts: u8,
    pub(super) reason: Option<Reason>,
    pub(super) direction: Direction,
    pub(super) protocol: Protocol,
}

/// One line, as the log thread sees it.
pub(super) struct Line<'a> {
    pub(super) numbers: &'a Numbers,
    /// Whether no text of the line needs escaping.
    pub(super) plain: bool,
    pub(super) method: &'a [u8],
    pub(super) authority: &'a [u8],
    pub(super) path: &'a [u8],
    pub(super) route: &'a [u8],
    pub(super) upstream: &'a [u8],
    pub(super) endpoint: &'a [u8],
    pub(super) request_id: &'a [u8],
    pub(super) user_agent: &'a [u8],
}

impl<'a> Line<'a> {
    pub(super) fn trace_id(&self) -> Option<&'a [u8; 32]> {
        Some(&self.numbers.trace_id).filter(|id| **id != [0; 32])
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self { lines: Vec::with_capacity(LINES), text: vec![0; TEXT].into(), used: 0 }
    }
}

impl Batch {
    pub(super) fn push(&mut self, record: &Record<'_>) {
        let texts = [
            record.method,
            record.authority,
            record.path,
            record.route.as_bytes(),
            record.upstream.as_bytes(),
            record.endpoint.as_bytes(),
            record.request_id,
            record.user_agent,
        ];
        let lengths = self.push_texts(texts);
        self.lines.push(Numbers {
            start_unix_us: record.start_unix_us,
            request_bytes: record.request_bytes,
            response_bytes: record.response_bytes,
            duration_us: record.duration_us,
            upstream_us: record.upstream_us,
            pillion_us: record.pillion_us,
            trace_id: record.trace_id,
            downstream: record.downstream,
            lengths,
            status: record.status,
            attempts: record.attempts,
            reason: record.reason,
            direction: record.direction,
            protocol: record.protocol,
        });
    }

    /// Appends the texts, each cut where it is too long or no room is left; their lengths then.
    fn push_texts(&mut self, texts: [&[u8]; TEXTS]) -> [u16; TEXTS] {
        let mut lengths = [0; TEXTS];
        let mut room = self.text.get_mut(self.used..).unwrap_or_default();
        let room_before = room.len();
        for ((text, longest), length) in texts.into_iter().zip(LONGEST).zip(&mut lengths) {
            let cut = text.len().min(longest).min(room.len());
            // Cannot fail, for `cut` is not longer than `room`; nor can the next line.
            let (to, after) = room.split_at_mut(cut);
            to.copy_from_slice(text.get(..cut).unwrap_or_default());
            *length = cut as u16;
            room = after;
        }
        self.used += room_before - room.len();
        lengths
    }

    /// Whether the next line might find too little room.
    pub(super) fn is_full(&self) -> bool {
        self.lines.len() == LINES || self.used + LONGEST_LINE > TEXT
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> (usize, usize) {
        (self.lines.capacity(), self.text.len())
    }

    pub(super) fn clear(&mut self) {
        self.lines.clear();
        self.used = 0;
    }

    /// The lines in the order in which they were recorded.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let mut rest = self.text.get(..self.used).unwrap_or_default();
        self.lines.iter().map(move |numbers| {
            let before = rest;
            let mut texts = [&b""[..]; TEXTS];
            for (text, length) in texts.iter_mut().zip(numbers.lengths) {
                (*text, rest) = rest.split_at_checked(length.into()).unwrap_or_default();
            }
            // All at once, for one text alone is too short to be looked at in blocks.
            let plain = is_plain(before.get(..before.len() - rest.len()).unwrap_or_default());
            let [method, authority, path, route, upstream, endpoint, request_id, user_agent] =
                texts;
            Line {
                numbers,
                plain,
                method,
                authority,
                path,
                route,
                upstream,
                endpoint,
                request_id,
                user_agent,
            }
        })
    }
}
