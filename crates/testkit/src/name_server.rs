//! A name server that says what a test tells it to, and counts who asks.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::PATIENCE;

/// What a longer answer does not fit into (RFC 1035 §2.3.4).
const DATAGRAM_MAX: usize = 512;
const HEADER: usize = 12;
/// What a negative answer says about how long it holds: longer than any test.
const NEGATIVE_TTL: u32 = 3600;

const A: u16 = 1;
const SOA: u16 = 6;
const AAAA: u16 = 28;

/// What a name server says about a name.
#[derive(Clone, Debug)]
pub enum NameAnswer {
    /// Its addresses of either family, and for how many seconds they hold.
    Addresses(Vec<IpAddr>, u32),
    /// There is no such name, and there will not be for an hour (NXDOMAIN).
    NoSuchName,
    /// The server has a problem of its own (SERVFAIL).
    ServerFailure,
    /// Nothing.
    Silence,
    /// What it is told next, once it is.
    Later,
}

impl NameAnswer {
    /// These addresses, for so many seconds.
    pub fn of<const N: usize>(addresses: [&str; N], ttl: u32) -> Self {
        Self::Addresses(addresses.map(|text| text.parse().unwrap()).to_vec(), ttl)
    }
}

/// A name server at 127.0.0.1:53, over UDP and TCP, in a [network of its own](crate::Network).
/// Names that it was told nothing about do not exist.
pub struct NameServer {
    told: Arc<Told>,
    address: SocketAddr,
}

#[derive(Default)]
struct Told {
    names: Mutex<HashMap<String, Name>>,
    /// Told when it is told something about a name, or is over.
    changed: Condvar,
    over: AtomicBool,
}

#[derive(Default)]
struct Name {
    answer: Option<NameAnswer>,
    queries: usize,
}

impl NameServer {
    /// Starts it where [`Network`](crate::Network) looks for it.
    pub fn start() -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST)
    }

    /// Starts it at port 53 of another address.
    pub fn start_at(ip: Ipv4Addr) -> Self {
        let address: SocketAddr = (ip, 53).into();
        let told = Arc::new(Told::default());
        let (udp, tcp) = (UdpSocket::bind(address).unwrap(), TcpListener::bind(address).unwrap());
        let (for_udp, for_tcp) = (Arc::clone(&told), Arc::clone(&told));
        thread::spawn(move || serve_udp(&udp, &for_udp));
        thread::spawn(move || serve_tcp(&tcp, &for_tcp));
        Self { told, address }
    }

    /// From now on says this about a name.
    pub fn say(&self, name: &str, answer: NameAnswer) {
        self.told.names().entry(name.to_owned()).or_default().answer = Some(answer);
        self.told.changed.notify_all();
    }

    /// How often it was asked about a name so far; one lookup asks for A and for AAAA.
    pub fn queries(&self, name: &str) -> usize {
        self.told.names().get(name).map_or(0, |name| name.queries)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.told.over.store(true, Ordering::SeqCst);
        self.told.changed.notify_all();
        // Wakes both threads; one that has failed before needs no waking.
        drop(TcpStream::connect(self.address));
        drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map(|udp| udp.send_to(&[], self.address)));
    }
}

impl Told {
    fn names(&self) -> MutexGuard<'_, HashMap<String, Name>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// What to send for this message, if anything.
    fn respond(&self, message: &[u8]) -> Option<Vec<u8>> {
        let query = Query::read(message)?;
        self.names().entry(query.name.clone()).or_default().queries += 1;
        match self.answer(&query.name) {
            NameAnswer::Addresses(addresses, ttl) => Some(query.found(&addresses, ttl)),
            NameAnswer::NoSuchName => Some(query.absent(3)),
            NameAnswer::ServerFailure => Some(query.respond(2, 0, 0)),
            NameAnswer::Silence | NameAnswer::Later => None,
        }
    }

    /// What there is to say about a name; waits for it where that comes later.
    fn answer(&self, name: &str) -> NameAnswer {
        let answer = |names: &HashMap<String, Name>| {
            names.get(name).and_then(|name| name.answer.clone()).unwrap_or(NameAnswer::NoSuchName)
        };
        let wait = |names: &mut HashMap<String, Name>| {
            matches!(answer(names), NameAnswer::Later) && !self.is_over()
        };
        let waited = self.changed.wait_timeout_while(self.names(), PATIENCE, wait);
        answer(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }
}

fn serve_udp(socket: &UdpSocket, told: &Told) {
    let mut buffer = [0; DATAGRAM_MAX];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        if told.is_over() {
            return;
        }
        if let Some(mut response) = told.respond(&buffer[..length]) {
            if response.len() > DATAGRAM_MAX {
                response = truncated(&response);
            }
            // Who asked may be gone already.
            drop(socket.send_to(&response, from));
        }
    }
}

fn serve_tcp(listener: &TcpListener, told: &Arc<Told>) {
    for stream in listener.incoming() {
        if told.is_over() {
            return;
        }
        let Ok(stream) = stream else { continue };
        let told = Arc::clone(told);
        // It ends when the peer goes away or says nothing.
        thread::spawn(move || drop(converse(stream, &told)));
    }
}

/// Answers the queries of one connection, each behind its length (RFC 1035 §4.2.2).
fn converse(mut stream: TcpStream, told: &Told) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut message = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut message)?;
        if let Some(response) = told.respond(&message) {
            let length = u16::try_from(response.len()).unwrap();
            stream.write_all(&[&length.to_be_bytes()[..], &response].concat())?;
        }
    }
}

/// A message without its records that says: ask again over TCP.
fn truncated(response: &[u8]) -> Vec<u8> {
    let mut short = response[..HEADER].to_vec();
    short[2] |= 0b10;
    // No records; the question is repeated.
    short[6..HEADER].fill(0);
    let question = Query::read(response).unwrap();
    short.extend_from_slice(question.question);
    short
}

/// A query for one name (RFC 1035 §4.1).
struct Query<'a> {
    id: [u8; 2],
    name: String,
    kind: u16,
    /// Name, type and class, as they came.
    question: &'a [u8],
}

impl<'a> Query<'a> {
    fn read(message: &'a [u8]) -> Option<Self> {
        let id = [*message.first()?, *message.get(1)?];
        let rest = message.get(HEADER..)?;
        let mut labels = Vec::new();
        let mut at = 0;
        loop {
            let length = usize::from(*rest.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(rest.get(at..at + length)?).to_ascii_lowercase());
            at += length;
        }
        let kind = u16::from_be_bytes([*rest.get(at)?, *rest.get(at + 1)?]);
        Some(Self { id, name: labels.join("."), kind, question: rest.get(..at + 4)? })
    }

    /// The addresses that are of the family asked for.
    fn found(&self, addresses: &[IpAddr], ttl: u32) -> Vec<u8> {
        let data: Vec<Vec<u8>> = addresses
            .iter()
            .filter_map(|address| match (address, self.kind) {
                (IpAddr::V4(ip), A) => Some(ip.octets().to_vec()),
                (IpAddr::V6(ip), AAAA) => Some(ip.octets().to_vec()),
                _ => None,
            })
            .collect();
        if data.is_empty() {
            return self.absent(0);
        }
        let mut response = self.respond(0, u16::try_from(data.len()).unwrap(), 0);
        for data in data {
            put_record(&mut response, self.kind, ttl, &data);
        }
        response
    }

    /// Nothing, and for how long that holds (RFC 2308 §3).
    fn absent(&self, code: u8) -> Vec<u8> {
        let mut response = self.respond(code, 0, 1);
        let mut data = vec![0, 0];
        data.extend(
            [1, 1, 1, 1, NEGATIVE_TTL].iter().flat_map(|number: &u32| number.to_be_bytes()),
        );
        put_record(&mut response, SOA, NEGATIVE_TTL, &data);
        response
    }

    /// A response with a code, up to where its records begin.
    fn respond(&self, code: u8, answers: u16, authorities: u16) -> Vec<u8> {
        // A response, authoritative, recursion wanted and available.
        let mut response = vec![self.id[0], self.id[1], 0b1000_0101, 0b1000_0000 | code];
        for count in [1, answers, authorities, 0] {
            response.extend_from_slice(&u16::to_be_bytes(count));
        }
        response.extend_from_slice(self.question);
        response
    }
}

/// A record for the name of the question.
fn put_record(message: &mut Vec<u8>, kind: u16, ttl: u32, data: &[u8]) {
    // The name is where the question is, right after the header; the class is the Internet.
    message.extend_from_slice(&[0xc0, HEADER as u8]);
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message.extend_from_slice(&ttl.to_be_bytes());
    message.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
    message.extend_from_slice(data);
}
