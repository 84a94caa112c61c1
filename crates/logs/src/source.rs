//! Sources other than files: what the app writes, and what others send.
//!
//! Each of them gives [`Chunk`]s: whole texts, one of which is or becomes a record, with a receipt and
//! a charge of the budget. What comes structured (OTLP) stays so, as [`Otlp`]; everything else is
//! text, and goes the way of a line.
//!
//! A sender that is answered (HTTP, OTLP) hears "accepted" once its records are in memory, within the
//! budget. What is in memory when the process is killed is lost; what a drain finds there is
//! delivered or kept.

mod app;
mod bind;
mod body;
mod datagram;
mod http;
mod intake;
mod otlp;
mod otlp_json;
mod stream;
mod syslog;
mod terminal;
#[cfg(test)]
mod tests;
mod texts;
mod windows;

use std::cell::Cell;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use pillion_model::logs::{AppOutput, Encoding, Listen, ListenProtocol};
use pillion_model::settings::Address;
use pillion_runtime::board::Exchanges;
use pillion_runtime::supervise::AppOutputs;
use tokio::task::JoinSet;

pub use self::app::AppError;
pub use self::bind::BindError;
pub use self::intake::{Chunk, Content, Event, Status, StreamId};
pub use self::otlp::Otlp;
pub use self::terminal::own_outputs;
pub use self::texts::{Text, Texts};

use self::intake::Intake;
use crate::budget::Budget;
use crate::redact::Redactor;

/// How bytes become texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// How bytes are to be read.
    pub encoding: Encoding,
    /// The longest text, in bytes; what exceeds it is cut and marked.
    pub line_bytes: usize,
}

/// The supervised app.
#[derive(Debug)]
pub struct App<'a> {
    /// What it writes.
    pub outputs: &'a AppOutputs,
    /// The requests that it is serving.
    pub exchanges: &'a Exchanges,
    /// What makes unreadable what is shown, where that is asked for.
    pub redactor: Redactor,
    /// Where its standard output and standard error are shown: see [`own_outputs`].
    pub terminal: [OwnedFd; 2],
}

/// A source that runs. Dropped, it ends: nothing more is read, and Unix sockets go.
#[derive(Debug)]
pub struct Source {
    intake: Rc<Intake>,
    kind: Kind,
    /// Ended when this is dropped.
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
enum Kind {
    Listens { protocol: ListenProtocol, asked: Address, address: Address },
    App,
}

impl Source {
    /// Listens. To be called in a `LocalSet` of a Tokio runtime with its I/O and time drivers on.
    ///
    /// # Errors
    /// The address is taken, or cannot be used here.
    pub fn listen(listen: &Listen, framing: Framing, budget: &Budget) -> Result<Self, BindError> {
        let bound = bind::bind(listen)?;
        let intake = Rc::new(Intake::new(framing, listen, budget));
        let (protocol, asked) = (listen.protocol, listen.address.clone());
        let kind = Kind::Listens { protocol, asked, address: bound.address.clone() };
        let mut tasks = JoinSet::new();
        match bound.socket {
            bind::Bound::Streams(listener) => {
                tasks.spawn_local(stream::accept(listener, protocol, intake.clone()));
            }
            bind::Bound::Datagrams(socket) => {
                tasks.spawn_local(datagram::read(socket, intake.clone()));
            }
        }
        Ok(Self { intake, kind, _tasks: tasks })
    }

    /// Reads what the app writes. To be called as [`Source::listen`].
    ///
    /// # Errors
    /// A pipe cannot be watched, or the thread for the terminal cannot be started.
    pub fn app(
        output: AppOutput,
        framing: Framing,
        app: App<'_>,
        budget: &Budget,
    ) -> Result<Self, AppError> {
        let intake = Rc::new(Intake::of_app(framing, output.full, budget));
        let mut tasks = JoinSet::new();
        app::start(output, app, &intake, &mut tasks)?;
        Ok(Self { intake, kind: Kind::App, _tasks: tasks })
    }

    /// Waits for what comes next; `None` after [`Source::stop`], once all has come. Cancel-safe.
    pub async fn next(&self) -> Option<Event> {
        self.intake.next().await
    }

    /// What comes next, if it is there now.
    #[must_use]
    pub fn try_next(&self) -> Option<Event> {
        self.intake.try_next()
    }

    /// Where it listens: the real port, where the kernel chose it.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        match &self.kind {
            Kind::Listens { address, .. } => Some(address),
            Kind::App => None,
        }
    }

    /// Takes new settings, and keeps socket and connections. Returns whether it could: another
    /// protocol or address needs a new source.
    #[must_use]
    pub fn reconfigure(&self, listen: &Listen, framing: Framing) -> bool {
        let Kind::Listens { protocol, asked, .. } = &self.kind else { return false };
        let same = *protocol == listen.protocol && *asked == listen.address;
        if same {
            self.intake.reconfigure(framing, listen);
        }
        same
    }

    /// Accepts and reads nothing more. What has been read, or lies in the kernel for us, still comes,
    /// then the end of each stream.
    pub fn stop(&self) {
        self.intake.close();
    }

    /// What has happened so far.
    #[must_use]
    pub fn status(&self) -> Status {
        self.intake.status()
    }

    /// What has happened so far, at any time: it goes on, and stays when the source has ended.
    #[must_use]
    pub fn live_status(&self) -> Rc<Cell<Status>> {
        self.intake.status.clone()
    }

    /// How many texts or records were handed on whose receipts were not given back, or more: they
    /// are nowhere any more. It counts on when the source has ended.
    #[must_use]
    pub fn lost(&self) -> Rc<Cell<u64>> {
        self.intake.lost.clone()
    }
}

/// Who sends, where that is known.
type Peer = Option<SocketAddr>;
