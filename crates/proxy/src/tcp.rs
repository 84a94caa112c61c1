//! Raw TCP: a connection whose bytes nobody looks at.

use std::rc::Rc;
use std::sync::Arc;

use pillion_model::Reason;
use pillion_runtime::access_log::Protocol;

use crate::attempt;
use crate::connection::Context;
use crate::exchange::Exchange;
use crate::stream::Stream;
use crate::timer::Timer;
use crate::tunnel::{self, End};
use crate::upstream::Lease;

/// Serves a connection that begins with `read` until both sides have ended.
pub(crate) async fn serve(mut stream: Stream, mut read: Vec<u8>, context: &Rc<Context>) {
    let worker = Rc::clone(&context.worker);
    worker.stats.opened(context.direction, Protocol::Tcp);
    let listener = context.listener();
    let mut exchange = Exchange::new(&worker, &listener, Protocol::Tcp, &context.peer);
    let mut lease = match connect(&mut exchange).await {
        Ok(lease) => lease,
        Err(reason) => {
            exchange.reason = Some(reason);
            exchange.is_over = true;
            return;
        }
    };
    let client = End { stream: &mut stream, unread: &mut read };
    let mut nothing = Vec::new();
    let server = End { stream: &mut lease.stream, unread: &mut nothing };
    let mut timer = Timer::default();
    let ends = (&mut timer, listener.config().tcp_idle_timeout);
    let passed = tunnel::run(&worker.bulk, client, server, Vec::new(), ends).await;
    exchange.request_bytes = passed.up;
    exchange.response_bytes = passed.down;
    exchange.reason = passed.reason;
    exchange.is_over = true;
}

async fn connect(exchange: &mut Exchange) -> Result<Lease, Reason> {
    let listener = Rc::clone(&exchange.listener);
    let (pool, config) = listener.tcp.as_ref().ok_or(Reason::DownstreamProtocol)?;
    exchange.attempts = 1;
    exchange.enter(Rc::clone(pool), Arc::clone(config))?;
    attempt::connect(exchange).await
}
