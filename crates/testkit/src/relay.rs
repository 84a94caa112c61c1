//! A relay before a server that counts requests, and that is slow or answers itself when it is told
//! to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Passes HTTP/1.1 requests on, one for each connection, as long as nothing else is asked for.
pub struct Relay {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    seen: Vec<String>,
    /// What happens to requests whose line contains the text.
    conduct: Option<(String, Conduct)>,
}

#[derive(Clone)]
enum Conduct {
    /// The whole answer in place of the server's.
    Answer(String),
    /// They reach the server so much later.
    Delay(Duration),
}

impl Relay {
    /// A relay on a port of its own, before the server at this address.
    pub fn before(server: SocketAddr) -> Self {
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

    /// Its address as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, such as `GET /v1/secret/data/db`.
    pub fn seen(&self) -> Vec<String> {
        self.state.lock().unwrap().seen.clone()
    }

    /// How many of them contain a text.
    pub fn count(&self, text: &str) -> usize {
        self.seen().iter().filter(|line| line.contains(text)).count()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.state.lock().unwrap().seen.clear();
    }

    /// From now on answers requests whose line contains `text` with a status line and fields.
    pub fn answer(&self, text: &str, head: &str) {
        let answer = format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        self.conduct(text, Conduct::Answer(answer));
    }

    /// From now on lets requests whose line contains `text` wait before they are passed on.
    pub fn delay(&self, text: &str, delay: Duration) {
        self.conduct(text, Conduct::Delay(delay));
    }

    fn conduct(&self, text: &str, conduct: Conduct) {
        self.state.lock().unwrap().conduct = Some((text.to_owned(), conduct));
    }

    /// From now on passes everything on at once.
    pub fn pass(&self) {
        self.state.lock().unwrap().conduct = None;
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
    let conduct = {
        let mut state = state.lock().unwrap();
        let line = first.rsplit_once(' ').map_or("", |(line, _)| line).to_owned();
        let conduct = state.conduct.clone().filter(|(text, _)| line.contains(text.as_str()));
        state.seen.push(line);
        conduct.map(|(_, conduct)| conduct)
    };
    match conduct {
        Some(Conduct::Answer(answer)) => return client.write_all(answer.as_bytes()),
        Some(Conduct::Delay(delay)) => thread::sleep(delay),
        None => {}
    }
    let mut upstream = TcpStream::connect(server)?;
    upstream.write_all(format!("{first}{head}connection: close\r\n\r\n").as_bytes())?;
    upstream.write_all(&body)?;
    std::io::copy(&mut upstream, &mut client)?;
    Ok(())
}
