//! Tests only: what a connection costs while nothing happens on it, and an exchange while it runs.
//! A future that grows unnoticed is memory times ten thousand connections.

use std::mem::size_of;
use std::rc::Rc;

use crate::connection;
use crate::downstream::Downstream;
use crate::exchange::{self, Begun, Exchange};
use crate::relay::Flow;
use crate::request::Request;
use crate::stream::Stream;

fn of<A, B, F: Future>(_: impl FnOnce(A, B) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn an_idle_connection_is_small() {
    let size =
        of(|stream: Stream, context: Rc<connection::Context>| connection::serve(stream, context));
    assert!(size <= 512, "{size} bytes");
}

#[test]
fn an_exchange_is_small() {
    type Client = &'static mut Downstream<'static>;
    let size = of(|begun: Box<Begun>, client: Client| exchange::run(begun, client));
    assert!(size <= 2048, "future {size} bytes");
    assert!(size_of::<Begun>() <= 800, "begun {} bytes", size_of::<Begun>());
    let sizes = [size_of::<Exchange>(), size_of::<Flow>(), size_of::<Request>()];
    assert!(sizes <= [384, 320, 128], "{sizes:?}");
}
