//! The client's side of an exchange.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::StatusCode;
use pillion_model::Reason;

use crate::relay::{Break, Bulk, Flow, Sink, Source};
use crate::request::copy_to_map;
use crate::respond;
use crate::stream::Stream;
use crate::timer::Timer;

/// Interim responses that one HTTP/2 exchange passes on; those beyond are left out.
const INTERIMS_MAX: usize = 16;
/// Bytes that a client may send ahead while its response is awaited; then it has to wait.
const AHEAD_MAX: usize = 16 * 1024;

/// Where a request came from and its response goes.
pub(crate) enum Downstream<'a> {
    H1(&'a mut H1Downstream),
    H2(&'a mut H2Downstream),
}

/// An HTTP/1 connection; its exchanges follow each other.
pub(crate) struct H1Downstream {
    pub(crate) stream: Stream,
    /// Read, but not part of the current message: the client is sending ahead (pipelining).
    pub(crate) unread: Vec<u8>,
    pub(crate) timer: Timer,
}

/// A stream of an HTTP/2 connection: one exchange.
pub(crate) struct H2Downstream {
    pub(crate) receive: RecvStream,
    pub(crate) respond: SendResponse<Bytes>,
    /// Since the response head was sent.
    pub(crate) send: Option<SendStream<Bytes>>,
    pub(crate) timer: Timer,
    /// Interim responses sent.
    pub(crate) interims: usize,
}

impl H2Downstream {
    /// Passes an interim response on, unless there were so many that the client might not be
    /// reading them: heads know no flow control.
    pub(crate) fn send_interim(&mut self, view: &respond::View<'_>) {
        self.interims += 1;
        let Ok(status) = StatusCode::from_u16(view.status) else { return };
        if self.interims > INTERIMS_MAX {
            return;
        }
        let mut interim = http::Response::new(());
        *interim.status_mut() = status;
        copy_to_map(interim.headers_mut(), view.raw, view.fields, view.drop);
        // A stream that is gone needs none; the final response will show it.
        drop(self.respond.send_informational(interim));
    }
}

impl Downstream<'_> {
    pub(crate) fn timer(&mut self) -> &mut Timer {
        match self {
            Self::H1(h1) => &mut h1.timer,
            Self::H2(h2) => &mut h2.timer,
        }
    }

    /// Moves the request body towards `sink`.
    pub(crate) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        bulk: &Bulk,
        body: &mut Flow,
        sink: Sink<'_>,
    ) -> Poll<Result<(), Break>> {
        let source = match self {
            Self::H1(h1) => Source::H1(&mut h1.stream, &mut h1.unread),
            Self::H2(h2) => Source::H2(&mut h2.receive),
        };
        body.poll(cx, bulk, source, sink)
    }

    /// Moves the response body from `source`.
    pub(crate) fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        bulk: &Bulk,
        body: &mut Flow,
        source: Source<'_>,
    ) -> Poll<Result<(), Break>> {
        let sink = match self {
            Self::H1(h1) => Sink::H1(&mut h1.stream),
            Self::H2(h2) => match &mut h2.send {
                Some(send) => Sink::H2(send),
                // The head said that there is no body.
                None => return Poll::Ready(Ok(())),
            },
        };
        body.poll(cx, bulk, source, sink)
    }

    /// Ends a response midway: over HTTP/2 by a reset, over HTTP/1 the connection says it.
    pub(crate) fn abort(&mut self) {
        if let Self::H2(h2) = self
            && let Some(send) = &mut h2.send
        {
            send.send_reset(h2::Reason::INTERNAL_ERROR);
        }
    }

    /// Whether the client has gone, looked for while its request is complete and its response is
    /// not. What it sends ahead is kept.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>, bulk: &Bulk) -> Result<(), Reason> {
        match self {
            Self::H1(h1) => h1.poll_gone(cx, bulk),
            Self::H2(h2) => {
                let reset = match &mut h2.send {
                    Some(send) => send.poll_reset(cx),
                    None => h2.respond.poll_reset(cx),
                };
                if reset.is_ready() { Err(Reason::DownstreamAbort) } else { Ok(()) }
            }
        }
    }
}

impl H1Downstream {
    pub(crate) fn new(stream: Stream, unread: Vec<u8>) -> Self {
        Self { stream, unread, timer: Timer::default() }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>, bulk: &Bulk) -> Result<(), Reason> {
        while self.unread.len() < AHEAD_MAX && self.stream.poll_readable(cx).is_ready() {
            let mut bulk = bulk.borrow_mut();
            let room = bulk.get_mut(..AHEAD_MAX).unwrap_or_default();
            match self.stream.poll_read(cx, room) {
                // A client that ends its side cannot be told from one that has gone; who answers
                // a request of someone who has gone does work for nobody.
                Poll::Ready(Ok(0) | Err(_)) => return Err(Reason::DownstreamAbort),
                Poll::Ready(Ok(count)) => {
                    self.unread.extend_from_slice(room.get(..count).unwrap_or_default());
                }
                Poll::Pending => return Ok(()),
            }
        }
        Ok(())
    }
}
