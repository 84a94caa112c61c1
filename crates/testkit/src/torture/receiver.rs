//! A sink that fails half of the time, in every way that a server can.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::books::{Books, lines};
use super::chance::Chance;
use crate::message::Otherwise;
use crate::{Conn, Origin};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Taken, and confirmed.
    Taken,
    /// 429, not taken.
    Busy,
    /// 503, not taken.
    Away,
    /// 500, and taken all the same.
    Failed,
    /// The connection ends before the body was read.
    Refused,
    /// Taken, and the connection ends without an answer.
    Dropped,
    /// Taken, and the answer breaks off.
    Torn,
    /// Taken, and never answered.
    Silent,
}

/// One of two is a failure.
const FAILURES: [Fate; 7] =
    [Fate::Busy, Fate::Away, Fate::Failed, Fate::Refused, Fate::Dropped, Fate::Torn, Fate::Silent];

/// A server that takes requests with lines in them.
pub(super) struct Receiver {
    chance: Chance,
    requests: AtomicU64,
    failures: AtomicU64,
    books: Mutex<Books>,
    address: Mutex<Option<Origin>>,
}

impl Receiver {
    pub(super) fn start(chance: Chance, books: Books) -> Arc<Self> {
        let receiver = Arc::new(Self {
            chance,
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            books: Mutex::new(books),
            address: Mutex::new(None),
        });
        let serving = receiver.clone();
        let origin = Origin::start(move |conn| serving.serve(conn));
        *receiver.address.lock().unwrap() = Some(origin);
        receiver
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address.lock().unwrap().as_ref().unwrap().address()
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests, and those of them that failed.
    pub(super) fn requests(&self) -> (u64, u64) {
        (self.requests.load(Ordering::SeqCst), self.failures.load(Ordering::SeqCst))
    }

    /// What becomes of the next request: that of the n-th is always the same.
    fn fate(&self) -> Fate {
        let mut chance = self.chance.of("request", self.requests.fetch_add(1, Ordering::SeqCst));
        if chance.below(2) == 0 {
            return Fate::Taken;
        }
        self.failures.fetch_add(1, Ordering::SeqCst);
        let count = u64::try_from(FAILURES.len()).unwrap();
        FAILURES[usize::try_from(chance.below(count)).unwrap()]
    }

    fn serve(&self, mut conn: Conn) {
        while let Some(head) = conn.head() {
            let fate = self.fate();
            if fate == Fate::Refused {
                return;
            }
            // Who is killed in the middle of a request has not sent it.
            let Ok(body) = conn.try_read_body(&head, Otherwise::Nothing) else { return };
            self.keep(&body.data, fate);
            let answer: &[u8] = match fate {
                Fate::Taken => b"HTTP/1.1 204 No Content\r\n\r\n",
                Fate::Busy => b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n",
                Fate::Away => b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
                Fate::Failed => b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
                Fate::Torn => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"sta",
                Fate::Refused | Fate::Dropped => return,
                Fate::Silent => return conn.wait_for_end(),
            };
            if conn.try_send(answer).is_err() || fate == Fate::Torn {
                return;
            }
        }
    }

    fn keep(&self, body: &[u8], fate: Fate) {
        let lines = lines(body);
        let mut books = self.books();
        books.receive(body, &lines);
        match fate {
            Fate::Taken => books.take(&lines, true),
            Fate::Failed | Fate::Dropped | Fate::Torn | Fate::Silent => books.take(&lines, false),
            Fate::Busy | Fate::Away | Fate::Refused => {}
        }
    }
}
