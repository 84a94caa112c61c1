//! A server that answers each request with bytes of the test's choice.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What it does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Writes this and waits for the next request.
    Answer(String),
    /// Writes this and closes the connection.
    AnswerAndClose(String),
    /// Writes this and then nothing until the client gives up.
    AnswerAndHang(String),
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Seen,
}

/// What came.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    /// The heads of all requests, and for each the number of its connection.
    requests: Arc<Mutex<Vec<(usize, String)>>>,
    closed: Arc<AtomicUsize>,
}

impl Seen {
    /// Connections that were ended by the server, and then by the client.
    pub(crate) fn closed(&self) -> usize {
        self.closed.load(Ordering::SeqCst)
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|(_, head)| head.clone()).collect()
    }

    pub(crate) fn connections(&self) -> Vec<usize> {
        self.requests.lock().unwrap().iter().map(|(connection, _)| *connection).collect()
    }
}

trait Io: Read + Write + Send {
    /// Says that nothing more is sent.
    fn end(&self);
}

impl Io for TcpStream {
    fn end(&self) {
        // The client may have gone.
        drop(self.shutdown(Shutdown::Write));
    }
}

impl Io for UnixStream {
    fn end(&self) {
        drop(self.shutdown(Shutdown::Write));
    }
}

impl Io for StreamOwned<ServerConnection, TcpStream> {
    fn end(&self) {
        self.sock.end();
    }
}

impl Server {
    pub(crate) fn plain(act: Act) -> Self {
        Self::start(act, None)
    }

    pub(crate) fn tls(act: Act, config: ServerConfig) -> Self {
        Self::start(act, Some(Arc::new(config)))
    }

    // The threads end with the process of the test.
    fn start(act: Act, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let shared = seen.clone();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let stream = stream.unwrap();
                let io: Box<dyn Io> = match &tls {
                    Some(config) => {
                        let session = ServerConnection::new(config.clone()).unwrap();
                        Box::new(StreamOwned::new(session, stream))
                    }
                    None => Box::new(stream),
                };
                let (act, seen) = (act.clone(), shared.clone());
                thread::spawn(move || serve(io, &act, &seen, number));
            }
        });
        Self { address, seen }
    }

    pub(crate) fn unix(path: &Path, act: Act) -> Seen {
        let listener = UnixListener::bind(path).unwrap();
        let seen = Seen::default();
        let shared = seen.clone();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (act, seen) = (act.clone(), shared.clone());
                thread::spawn(move || serve(Box::new(stream.unwrap()), &act, &seen, number));
            }
        });
        seen
    }
}

fn serve(io: Box<dyn Io>, act: &Act, seen: &Seen, number: usize) {
    let mut io = BufReader::new(io);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            // An error: the client does not like our certificate, or has gone.
            if io.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        seen.requests.lock().unwrap().push((number, head));
        let (Act::Answer(bytes) | Act::AnswerAndClose(bytes) | Act::AnswerAndHang(bytes)) = act;
        // The client may have gone.
        drop(io.get_mut().write_all(bytes.as_bytes()));
        drop(io.get_mut().flush());
        match act {
            Act::Answer(_) => {}
            Act::AnswerAndClose(_) => {
                io.get_ref().end();
                drop(io.read_to_end(&mut Vec::new()));
                seen.closed.fetch_add(1, Ordering::SeqCst);
                return;
            }
            Act::AnswerAndHang(_) => {
                drop(io.read(&mut [0]));
                return;
            }
        }
    }
}

/// An answer with a body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
