//! A relay before a server that counts requests, and that answers itself when it is told to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes HTTP/1.1 requests on, one for each connection.
pub(crate) struct Relay {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    seen: Vec<String>,
    /// For paths that contain the text: the whole answer in place of the server's.
    instead: Option<(String, String)>,
}

impl Relay {
    pub(crate) fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        // It ends with the process of the test.
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, state) = (client.unwrap(), shared.clone());
                thread::spawn(move || {
                    // The client may have gone.
                    drop(pass_on(client, server, &state));
                });
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, such as `GET /v1/secret/data/db`.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.state.lock().unwrap().seen.clone()
    }

    /// How many of them contain a text.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.seen().iter().filter(|line| line.contains(text)).count()
    }

    pub(crate) fn forget(&self) {
        self.state.lock().unwrap().seen.clear();
    }

    /// From now on answers paths that contain `text` with a status line and fields.
    pub(crate) fn answer(&self, text: &str, head: &str) {
        let answer = format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        self.state.lock().unwrap().instead = Some((text.to_owned(), answer));
    }

    pub(crate) fn pass(&self) {
        self.state.lock().unwrap().instead = None;
    }
}

fn pass_on(
    client: TcpStream,
    server: SocketAddr,
    state: &Mutex<State>,
) -> Result<(), std::io::Error> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (mut first, mut head, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut client = client;
    let instead = {
        let mut state = state.lock().unwrap();
        let line = first.rsplit_once(' ').map_or("", |(line, _)| line).to_owned();
        let instead = state.instead.clone().filter(|(text, _)| line.contains(text.as_str()));
        state.seen.push(line);
        instead
    };
    if let Some((_, answer)) = instead {
        return client.write_all(answer.as_bytes());
    }
    let mut upstream = TcpStream::connect(server)?;
    upstream.write_all(format!("{first}{head}connection: close\r\n\r\n").as_bytes())?;
    upstream.write_all(&body)?;
    std::io::copy(&mut upstream, &mut client)?;
    Ok(())
}
