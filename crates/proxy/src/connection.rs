//! One downstream connection: counted, told what it speaks, and served until it ends.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker, ready};
use std::time::Duration;

use pillion_http1::{Preface, is_preface};
use pillion_model::Reason;
use pillion_model::snapshot::{Direction, ListenerProtocol};
use pillion_runtime::access_log::Protocol;

use crate::downstream::H1Downstream;
use crate::exchange::Peer;
use crate::state::ListenerState;
use crate::stream::{Rewound, Stream};
use crate::timer::Timer;
use crate::worker::Worker;
use crate::{http1, http2, tcp};

/// How long a client with nothing under way may take, once the drain has begun, to send what it was
/// about to send.
pub(crate) const FAREWELL: Duration = Duration::from_millis(100);

/// What the exchanges of a connection share. Counts the connection as open until dropped.
pub(crate) struct Context {
    pub(crate) worker: Rc<Worker>,
    pub(crate) direction: Direction,
    pub(crate) peer: Rc<Peer>,
    task: Cell<Option<usize>>,
}

impl Context {
    /// `None` where the process holds as many connections as it may.
    pub(crate) fn open(
        worker: &Rc<Worker>,
        direction: Direction,
        peer: Option<SocketAddr>,
    ) -> Option<Rc<Self>> {
        if !worker.enter(direction) {
            return None;
        }
        let peer = Rc::new(Peer::new(peer));
        Some(Rc::new(Self { worker: Rc::clone(worker), direction, peer, task: Cell::new(None) }))
    }

    /// Has the task that calls this woken when the drain begins.
    fn wake_for_drain(&self, cx: &TaskContext<'_>) {
        self.task.set(Some(self.worker.remember_task(cx.waker().clone())));
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.worker.is_draining(self.direction)
    }

    /// The configuration that the next exchange starts with.
    pub(crate) fn listener(&self) -> Rc<ListenerState> {
        self.worker.listener(self.direction)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if let Some(place) = self.task.get() {
            self.worker.forget_task(place);
        }
        self.worker.leave(self.direction);
    }
}

/// Closes a connection for which there is no room, with an answer if it can be had for nothing.
pub(crate) fn refuse(worker: &Worker, direction: Direction, mut stream: Stream) {
    let reason = Reason::ConnectionLimit;
    worker.stats.refused(&worker.registry, direction, reason);
    let facts = reason.facts();
    let answer = format!(
        "HTTP/1.1 {} Service Unavailable\r\nproxy-status: pillion; error={}; reason={}\r\n\
         content-length: 0\r\nconnection: close\r\n\r\n",
        facts.status, facts.error, facts.label
    );
    // A new connection has room for this; if not, it is closed without.
    drop(stream.poll_write(&mut TaskContext::from_waker(Waker::noop()), answer.as_bytes()));
}

/// Serves a connection until it ends.
pub(crate) async fn serve(mut stream: Stream, context: Rc<Context>) {
    poll_fn(|cx| {
        context.wake_for_drain(cx);
        Poll::Ready(())
    })
    .await;
    let listener = context.listener();
    if listener.config().protocol == ListenerProtocol::Tcp {
        Box::pin(tcp::serve(stream, Vec::new(), &context)).await;
        return;
    }
    let Some((spoken, read)) = Box::pin(detect(&mut stream, &context, &listener)).await else {
        return;
    };
    let is_auto = listener.config().protocol == ListenerProtocol::Auto;
    drop(listener);
    match spoken {
        Preface::Http2 => {
            context.worker.stats.opened(context.direction, Protocol::Http2);
            Box::pin(http2::serve(Rewound { read, stream }, context)).await;
        }
        Preface::NotHttp if is_auto => Box::pin(tcp::serve(stream, read, &context)).await,
        _ => {
            context.worker.stats.opened(context.direction, Protocol::Http11);
            http1::serve(H1Downstream::new(stream, read), context).await;
        }
    }
}

/// Reads until it is clear what the client speaks; `None` if it left or took too long.
async fn detect(
    stream: &mut Stream,
    context: &Context,
    listener: &ListenerState,
) -> Option<(Preface, Vec<u8>)> {
    let mut timer = Timer::default();
    timer.set(context.worker.now() + listener.config().idle_timeout);
    let mut read = Vec::new();
    let mut head_began = false;
    let mut is_leaving = false;
    poll_fn(|cx| {
        if let Poll::Ready(spoken) = poll_preface(cx, stream, &context.worker, &mut read) {
            return Poll::Ready(spoken.ok().flatten());
        }
        if !read.is_empty() {
            // Set once, or every byte and the end of the timer itself would move it on.
            if !head_began {
                head_began = true;
                timer.set(context.worker.now() + listener.config().head_timeout);
            }
        } else if context.is_draining() && !is_leaving {
            is_leaving = true;
            timer.set(context.worker.now() + FAREWELL);
        }
        timer.poll(cx).map(|()| None)
    })
    .await
    .map(|spoken| (spoken, read))
}

/// Ready with what is spoken, or with `None` at the end of the connection.
fn poll_preface(
    cx: &mut TaskContext<'_>,
    stream: &mut Stream,
    worker: &Worker,
    read: &mut Vec<u8>,
) -> Poll<io::Result<Option<Preface>>> {
    loop {
        let mut bulk = worker.bulk.borrow_mut();
        let room = bulk.get_mut(..http1::READ_HEAD).unwrap_or_default();
        let count = ready!(stream.poll_read(cx, room))?;
        read.extend_from_slice(room.get(..count).unwrap_or_default());
        match is_preface(read) {
            // What ended is served for what it was: half a request is answered as such.
            undecided @ (Preface::MaybeHttp1 | Preface::MaybeHttp2) if count == 0 => {
                return Poll::Ready(Ok((!read.is_empty()).then_some(undecided)));
            }
            Preface::MaybeHttp1 | Preface::MaybeHttp2 => {}
            spoken => return Poll::Ready(Ok(Some(spoken))),
        }
    }
}
