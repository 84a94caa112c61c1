//! Bytes both ways between two connections, until both sides have ended: raw TCP, CONNECT, and
//! what follows an accepted upgrade.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use pillion_http1::Framing;
use pillion_model::Reason;
use tokio::time::Instant;

use crate::relay::{Break, Bulk, Encoding, Flow, Sink, Source};
use crate::stream::Stream;
use crate::timer::Timer;

/// One end of a tunnel, and what was read from it already.
pub(crate) struct End<'a> {
    pub(crate) stream: &'a mut Stream,
    pub(crate) unread: &'a mut Vec<u8>,
}

/// What went through, and why it ended if not in order.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// Bytes from the client.
    pub(crate) up: u64,
    /// Bytes to the client.
    pub(crate) down: u64,
    pub(crate) reason: Option<Reason>,
}

/// One direction: a flow, and the end of it passed on.
struct Way {
    flow: Flow,
    /// The source has ended, and the sink was told so; or the sink takes no more.
    ended: bool,
    /// Whether the sink failed before the source had ended.
    is_refused: bool,
}

impl Way {
    fn new(out: Vec<u8>) -> Self {
        let flow = Flow::to_h1(Framing::UntilClose, Encoding::Verbatim, out, 0);
        Self { flow, ended: false, is_refused: false }
    }

    /// # Errors
    /// The source failed. Where the sink did, there may still be last words in the other direction.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        bulk: &Bulk,
        from: &mut End<'_>,
        to: &mut Stream,
    ) -> Result<(), Break> {
        if self.ended {
            return Ok(());
        }
        match self.flow.poll(cx, bulk, Source::H1(from.stream, from.unread), Sink::H1(to)) {
            // A peer that is gone needs no end.
            Poll::Ready(Ok(())) => self.ended = to.poll_shutdown(cx).is_ready(),
            Poll::Ready(Err(Break::Sink)) => {
                self.ended = true;
                self.is_refused = true;
            }
            Poll::Ready(Err(broken)) => return Err(broken),
            Poll::Pending => {}
        }
        Ok(())
    }
}

/// Passes bytes until both sides have ended, one has failed, or both are silent for `idle`.
/// `greeting` goes to the client first.
pub(crate) async fn run(
    bulk: &Bulk,
    mut client: End<'_>,
    mut server: End<'_>,
    greeting: Vec<u8>,
    (timer, idle): (&mut Timer, Duration),
) -> Passed {
    let (mut up, mut down) = (Way::new(Vec::new()), Way::new(greeting));
    let mut seen = 0;
    timer.set(Instant::now() + idle);
    let reason = poll_fn(|cx| {
        if up.poll(cx, bulk, &mut client, server.stream).is_err() {
            return Poll::Ready(Some(Reason::DownstreamAbort));
        }
        if let Err(broken) = down.poll(cx, bulk, &mut server, client.stream) {
            let is_lost = broken == Break::Lost;
            let reason = if is_lost { Reason::UpstreamLost } else { Reason::UpstreamClosed };
            return Poll::Ready(Some(reason));
        }
        // A client that takes nothing more is not served any further; an endpoint that does not may
        // have said something before.
        if down.is_refused {
            return Poll::Ready(Some(Reason::DownstreamAbort));
        }
        if up.ended && down.ended {
            return Poll::Ready(up.is_refused.then_some(Reason::UpstreamClosed));
        }
        while timer.poll(cx).is_ready() {
            let passed = up.flow.progress() + down.flow.progress();
            if passed == seen {
                return Poll::Ready(Some(Reason::UpstreamIdleTimeout));
            }
            seen = passed;
            timer.set(Instant::now() + idle);
        }
        Poll::Pending
    });
    let reason = reason.await;
    Passed { up: up.flow.bytes, down: down.flow.bytes, reason }
}
