//! Moves one direction of an exchange from its source to its sink: verbatim between two HTTP/1
//! peers, translated wherever HTTP/2 is on a side.

use std::cell::RefCell;
use std::io;
use std::mem;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue};
use pillion_http1::Framing;

use crate::stream::{Stream, is_lost};

/// The one large read buffer of a worker: bodies pass through it, so that connections need no
/// buffers of their own. 64 KiB responses cost half as much through it as through 16 KiB.
pub(crate) type Bulk = RefCell<Box<[u8]>>;

/// Size of [`Bulk`].
pub(crate) const BULK: usize = 256 * 1024;
/// How much is read at once for a sink that cannot keep up: what it does not take has to be kept.
const READ_MIN: usize = 16 * 1024;
/// How much is read at once for an HTTP/2 sink, whose window is not much larger.
const READ_H2: usize = 64 * 1024;
/// Bodies up to this size ride in the buffer of the head: one copy is cheaper than two slices.
const RIDE_ALONG: usize = 2048;
/// A buffer that grew beyond this is not kept.
const KEEP_CAPACITY: usize = 64 * 1024;

/// Where a body comes from.
pub(crate) enum Source<'a> {
    /// An HTTP/1 connection, and what was read from it beyond the current message.
    H1(&'a mut Stream, &'a mut Vec<u8>),
    /// An HTTP/2 stream.
    H2(&'a mut RecvStream),
}

/// Where a body goes.
pub(crate) enum Sink<'a> {
    /// An HTTP/1 connection.
    H1(&'a mut Stream),
    /// An HTTP/2 stream.
    H2(&'a mut SendStream<Bytes>),
}

/// Why a flow cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// The source ended inside the message, or failed.
    Source,
    /// The source does not answer any more.
    Lost,
    /// The source's bytes are no valid message.
    Malformed,
    /// The sink takes no more.
    Sink,
}

impl Break {
    fn of_source(error: &io::Error) -> Self {
        if is_lost(error) { Self::Lost } else { Self::Source }
    }

    fn of_h2_source(error: &h2::Error) -> Self {
        error.get_io().map_or(Self::Source, Self::of_source)
    }
}

/// How a body is written to an HTTP/1 sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Byte for byte as it came from an HTTP/1 source, chunk framing included.
    Verbatim,
    /// In chunks of ours.
    Chunked,
    /// As it is: its length was announced, or the connection's end ends it.
    Plain,
}

/// One direction of an exchange. What is to be written first (the head) is in `out` from the start.
pub(crate) struct Flow {
    /// Where the message ends in an HTTP/1 source.
    pub(crate) framing: Framing,
    pub(crate) encoding: Encoding,
    /// Body bytes so far, as they came from the source.
    pub(crate) bytes: u64,
    /// Bytes so far that the sink took.
    passed: u64,
    /// To be written to an HTTP/1 sink; up to `written` it has been.
    pub(crate) out: Vec<u8>,
    written: usize,
    /// To be sent to an HTTP/2 sink; the first `sent` have been.
    pieces: Vec<Bytes>,
    sent: usize,
    /// Bytes of `pieces[sent]` that have been sent.
    sent_part: usize,
    trailers: Option<HeaderMap>,
    to_h2: bool,
    source_done: bool,
    /// Whether anything of this attempt was handed to the sink.
    begun: bool,
    /// Whether an HTTP/2 sink knows that the message has ended.
    end_sent: bool,
    /// Body bytes that may be kept for another attempt; 0 once they are more than that.
    replay: usize,
    kept: usize,
    read_size: usize,
    /// Bytes taken from an HTTP/2 source and not yet credited to its window.
    uncredited: usize,
}

impl Flow {
    /// A flow to an HTTP/1 sink that begins with `out` and keeps up to `replay` body bytes for a
    /// further attempt.
    pub(crate) fn to_h1(framing: Framing, encoding: Encoding, out: Vec<u8>, replay: usize) -> Self {
        Self { out, encoding, to_h2: false, ..Self::to_h2(framing, replay) }
    }

    /// A flow to an HTTP/2 sink, whose head is sent elsewhere.
    pub(crate) fn to_h2(framing: Framing, replay: usize) -> Self {
        Self {
            framing,
            encoding: Encoding::Plain,
            bytes: 0,
            passed: 0,
            out: Vec::new(),
            written: 0,
            pieces: Vec::new(),
            sent: 0,
            sent_part: 0,
            trailers: None,
            to_h2: true,
            begun: false,
            source_done: false,
            end_sent: false,
            replay,
            kept: 0,
            read_size: BULK,
            uncredited: 0,
        }
    }

    /// Whether the source has nothing more for this message.
    pub(crate) fn is_read(&self) -> bool {
        self.source_done || self.framing.is_complete()
    }

    /// Whether everything has been handed to the sink.
    pub(crate) fn is_done(&self) -> bool {
        self.is_read() && self.is_flushed()
    }

    /// Whether everything read so far has been handed to the sink.
    pub(crate) fn is_flushed(&self) -> bool {
        let end_is_known = self.end_sent || !self.to_h2 || !self.source_done;
        self.written == self.out.len() && self.sent == self.pieces.len() && end_is_known
    }

    /// The source has no body, and an HTTP/2 sink was told so with the head.
    pub(crate) fn set_empty(&mut self) {
        self.source_done = true;
        self.end_sent = true;
    }

    /// Whether anything of this attempt was handed to the sink.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// The head, which is sent elsewhere, was.
    pub(crate) fn set_begun(&mut self) {
        self.begun = true;
    }

    /// Whether the sink has a part of what is waiting for it.
    pub(crate) fn is_cut(&self) -> bool {
        self.written > 0 && self.written < self.out.len()
    }

    /// Moves whenever bytes do: a sink that takes what was read long ago is not silent.
    pub(crate) fn progress(&self) -> u64 {
        self.bytes + self.passed
    }

    /// Whether all that was sent can be sent again.
    pub(crate) fn is_replayable(&self) -> bool {
        self.replay > 0 || self.bytes == 0
    }

    /// Starts anew, for another attempt.
    pub(crate) fn rewind(&mut self) {
        self.written = 0;
        self.sent = 0;
        self.sent_part = 0;
        self.begun = false;
        self.end_sent = self.bytes == 0 && self.source_done && self.trailers.is_none();
    }

    /// Moves what can be moved. Ready when the message is complete and written.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        bulk: &Bulk,
        source: Source<'_>,
        sink: Sink<'_>,
    ) -> Poll<Result<(), Break>> {
        match (source, sink, self.encoding) {
            (Source::H1(from, unread), Sink::H1(to), Encoding::Verbatim) => {
                self.poll_verbatim(cx, bulk, from, unread, to)
            }
            (source, sink, _) => self.poll_translated(cx, bulk, source, sink),
        }
    }

    fn poll_verbatim(
        &mut self,
        cx: &mut Context<'_>,
        bulk: &Bulk,
        from: &mut Stream,
        unread: &mut Vec<u8>,
        to: &mut Stream,
    ) -> Poll<Result<(), Break>> {
        loop {
            ready!(self.poll_flush(cx, to))?;
            if self.is_read() {
                return Poll::Ready(Ok(()));
            }
            if !unread.is_empty() {
                let mut data = mem::take(unread);
                let taken = self.offer(cx, &data, to)?;
                data.drain(..taken);
                *unread = data;
                continue;
            }
            let mut bulk = bulk.borrow_mut();
            let room = bulk.get_mut(..self.read_size).unwrap_or_default();
            let count =
                ready!(from.poll_read(cx, room)).map_err(|error| Break::of_source(&error))?;
            if count == 0 {
                self.end_of_source()?;
                continue;
            }
            let data = room.get(..count).unwrap_or_default();
            let taken = self.offer(cx, data, to)?;
            if let Some(rest) = data.get(taken..).filter(|rest| !rest.is_empty()) {
                unread.extend_from_slice(rest);
            }
        }
    }

    /// The connection ended: that ends a message without length, and breaks any other.
    fn end_of_source(&mut self) -> Result<(), Break> {
        if matches!(self.framing, Framing::UntilClose) {
            self.source_done = true;
            return Ok(());
        }
        Err(Break::Source)
    }

    /// Takes what belongs to this message from fresh bytes, writes it on at once where the sink
    /// allows, and keeps the rest of it. Says how many bytes it took.
    pub(crate) fn offer(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        to: &mut Stream,
    ) -> Result<usize, Break> {
        let taken = self.framing.advance(data).map_err(|_| Break::Malformed)?;
        let data = data.get(..taken).unwrap_or_default();
        self.bytes += taken as u64;
        if self.keeps(taken) || (taken <= RIDE_ALONG && self.written < self.out.len()) {
            self.out.extend_from_slice(data);
            return Ok(taken);
        }
        let head = self.out.get(self.written..).unwrap_or_default();
        let written = if head.is_empty() {
            to.poll_write(cx, data)
        } else {
            to.poll_write_both(cx, head, data)
        };
        let written = match written {
            Poll::Ready(Ok(count)) => count,
            Poll::Ready(Err(_)) => return Err(Break::Sink),
            Poll::Pending => 0,
        };
        self.begun |= written > 0;
        self.passed += written as u64;
        let of_head = written.min(head.len());
        self.written += of_head;
        let rest = data.get(written - of_head..).unwrap_or_default();
        // A sink that takes all of it gets more at once; one that does not makes us keep little.
        self.read_size = if rest.is_empty() { BULK } else { READ_MIN };
        self.out.extend_from_slice(rest);
        Ok(taken)
    }

    /// Takes what belongs to this message from bytes that came with its head. Says how many.
    pub(crate) fn preload(&mut self, data: &[u8]) -> Result<usize, Break> {
        if self.to_h2 || self.encoding != Encoding::Verbatim {
            return self.decode(data);
        }
        let taken = self.framing.advance(data).map_err(|_| Break::Malformed)?;
        self.bytes += taken as u64;
        self.keeps(taken);
        self.out.extend_from_slice(data.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    /// Writes interim responses, and keeps nothing of them.
    pub(crate) fn poll_interim(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Stream,
    ) -> Poll<Result<(), Break>> {
        ready!(self.poll_flush(cx, to))?;
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// What was not written yet.
    pub(crate) fn into_unwritten(mut self) -> Vec<u8> {
        self.out.drain(..self.written);
        self.out
    }

    /// The buffer, for another use once all is over.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        mem::take(&mut self.out)
    }

    /// Whether `more` body bytes are kept for another attempt. From the first that do not fit,
    /// nothing is.
    fn keeps(&mut self, more: usize) -> bool {
        if self.replay == 0 {
            return false;
        }
        self.kept += more;
        if self.kept > self.replay {
            self.forget_replay();
        }
        self.replay > 0
    }

    /// Gives up the possibility of another attempt, and the memory that it costs.
    pub(crate) fn forget_replay(&mut self) {
        self.replay = 0;
        self.out.drain(..self.written);
        self.written = 0;
        self.pieces.drain(..self.sent);
        self.sent = 0;
    }

    /// Writes what waits for an HTTP/1 sink.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Stream,
    ) -> Poll<Result<(), Break>> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(to.poll_write(cx, rest)) {
                Ok(count) if count > 0 => {
                    self.written += count;
                    self.passed += count as u64;
                    self.begun = true;
                }
                _ => return Poll::Ready(Err(Break::Sink)),
            }
        }
        if self.replay == 0 && self.bytes > 0 {
            if self.out.capacity() > KEEP_CAPACITY {
                self.out = Vec::new();
            }
            self.out.clear();
            self.written = 0;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_translated(
        &mut self,
        cx: &mut Context<'_>,
        bulk: &Bulk,
        mut source: Source<'_>,
        mut sink: Sink<'_>,
    ) -> Poll<Result<(), Break>> {
        loop {
            match &mut sink {
                Sink::H1(to) => ready!(self.poll_flush(cx, to))?,
                Sink::H2(to) => ready!(self.poll_send(cx, to))?,
            }
            if let Source::H2(from) = &mut source {
                self.credit(from);
            }
            if self.source_done {
                return Poll::Ready(Ok(()));
            }
            match &mut source {
                Source::H1(from, unread) => ready!(self.fetch_h1(cx, bulk, from, unread))?,
                Source::H2(from) => ready!(self.fetch_h2(cx, from))?,
            }
        }
    }

    /// Lets the peer send as much again as was passed on: this is the back-pressure of HTTP/2.
    fn credit(&mut self, from: &mut RecvStream) {
        if self.uncredited > 0 {
            // Fails only on a stream that has ended, which needs no credit.
            drop(from.flow_control().release_capacity(self.uncredited));
            self.uncredited = 0;
        }
    }

    fn fetch_h1(
        &mut self,
        cx: &mut Context<'_>,
        bulk: &Bulk,
        from: &mut Stream,
        unread: &mut Vec<u8>,
    ) -> Poll<Result<(), Break>> {
        if self.framing.is_complete() {
            // There never was a body.
            self.end(None);
            return Poll::Ready(Ok(()));
        }
        if !unread.is_empty() {
            let mut data = mem::take(unread);
            let taken = self.decode(&data)?;
            data.drain(..taken);
            *unread = data;
            return Poll::Ready(Ok(()));
        }
        let mut bulk = bulk.borrow_mut();
        let room = bulk.get_mut(..READ_H2).unwrap_or_default();
        let count = ready!(from.poll_read(cx, room)).map_err(|error| Break::of_source(&error))?;
        if count == 0 {
            self.end_of_source()?;
            self.source_done = false;
            self.end(None);
            return Poll::Ready(Ok(()));
        }
        let data = room.get(..count).unwrap_or_default();
        let taken = self.decode(data)?;
        unread.extend_from_slice(data.get(taken..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }

    /// Takes the payload out of what belongs to this message. Says how many bytes that was.
    pub(crate) fn decode(&mut self, data: &[u8]) -> Result<usize, Break> {
        let mut taken = 0;
        while let Some(rest) = data.get(taken..).filter(|rest| !rest.is_empty()) {
            if self.framing.is_complete() {
                break;
            }
            let decoded = self.framing.decode(rest).map_err(|_| Break::Malformed)?;
            let payload = rest.get(decoded.payload).unwrap_or_default();
            taken += decoded.consumed;
            self.bytes += payload.len() as u64;
            if self.to_h2 {
                self.push(Bytes::copy_from_slice(payload));
            } else {
                self.encode(payload);
            }
        }
        if self.framing.is_complete() && !self.source_done {
            let trailers = self.h1_trailers();
            self.end(trailers);
        }
        Ok(taken)
    }

    fn h1_trailers(&mut self) -> Option<HeaderMap> {
        let Framing::Chunked(chunked) = &mut self.framing else { return None };
        let mut map = HeaderMap::new();
        for (name, value) in chunked.take_trailers().iter() {
            let name = HeaderName::from_bytes(name);
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
                map.append(name, value);
            }
        }
        (!map.is_empty()).then_some(map)
    }

    fn fetch_h2(&mut self, cx: &mut Context<'_>, from: &mut RecvStream) -> Poll<Result<(), Break>> {
        match ready!(from.poll_data(cx)) {
            Some(Ok(data)) => {
                self.bytes += data.len() as u64;
                self.uncredited += data.len();
                if self.to_h2 {
                    self.push(data);
                } else {
                    self.encode(&data);
                }
                if from.is_end_stream() {
                    self.end(None);
                }
            }
            Some(Err(error)) => return Poll::Ready(Err(Break::of_h2_source(&error))),
            None => {
                let trailers =
                    ready!(from.poll_trailers(cx)).map_err(|error| Break::of_h2_source(&error))?;
                self.end(trailers);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn push(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        if !self.keeps(data.len()) {
            self.pieces.drain(..self.sent);
            self.sent = 0;
        }
        self.pieces.push(data);
    }

    fn encode(&mut self, payload: &[u8]) {
        if payload.is_empty() {
            return;
        }
        // What is kept counts payload alone; chunk framing adds a few bytes to it.
        self.keeps(payload.len());
        if self.encoding == Encoding::Chunked {
            let mut line = [0; 18];
            self.out.extend_from_slice(pillion_http1::write_chunk_size(payload.len(), &mut line));
            self.out.extend_from_slice(payload);
            self.out.extend_from_slice(b"\r\n");
        } else {
            self.out.extend_from_slice(payload);
        }
    }

    fn end(&mut self, trailers: Option<HeaderMap>) {
        self.source_done = true;
        if self.to_h2 {
            self.trailers = trailers;
            return;
        }
        if self.encoding == Encoding::Chunked {
            self.out.extend_from_slice(b"0\r\n");
            for (name, value) in trailers.iter().flat_map(HeaderMap::iter) {
                self.out.extend_from_slice(name.as_str().as_bytes());
                self.out.extend_from_slice(b": ");
                self.out.extend_from_slice(value.as_bytes());
                self.out.extend_from_slice(b"\r\n");
            }
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// Sends what waits for an HTTP/2 sink, as its window allows.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut SendStream<Bytes>,
    ) -> Poll<Result<(), Break>> {
        while let Some(piece) = self.pieces.get(self.sent) {
            let rest = piece.slice(self.sent_part..);
            to.reserve_capacity(rest.len());
            let room = match ready!(to.poll_capacity(cx)) {
                Some(Ok(room)) => room.min(rest.len()),
                _ => return Poll::Ready(Err(Break::Sink)),
            };
            if room == 0 {
                continue;
            }
            let is_last = self.sent + 1 == self.pieces.len() && room == rest.len();
            let ends = is_last && self.source_done && self.trailers.is_none();
            to.send_data(rest.slice(..room), ends).map_err(|_| Break::Sink)?;
            self.end_sent |= ends;
            self.passed += room as u64;
            self.sent_part += room;
            if room == rest.len() {
                self.sent += 1;
                self.sent_part = 0;
            }
        }
        if self.source_done && !self.end_sent {
            match &self.trailers {
                Some(trailers) => to.send_trailers(trailers.clone()),
                None => to.send_data(Bytes::new(), true),
            }
            .map_err(|_| Break::Sink)?;
            self.end_sent = true;
        }
        Poll::Ready(Ok(()))
    }
}
