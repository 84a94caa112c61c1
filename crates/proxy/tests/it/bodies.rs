//! Bodies and trailers arrive as they were sent, whatever carries them: both protocols on both
//! sides, every framing, any pieces, peers that read slowly; and the connection is usable after it.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use pillion_testkit::{Origin, PATIENCE, Wire};
use proptest::prelude::*;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::{Running, start, to};

/// One message in one direction.
#[derive(Clone, Debug)]
struct Message {
    length: usize,
    /// Sizes of the pieces that it is sent in, in turn.
    pieces: Vec<usize>,
    framing: Framing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked {
        trailers: bool,
    },
    /// Over HTTP/1 and in responses: the end of the connection.
    Close,
}

#[derive(Clone, Debug)]
struct Exchange {
    request: Message,
    response: Message,
}

fn message(framings: &'static [Framing]) -> impl Strategy<Value = Message> {
    let length = prop_oneof![
        1 => Just(0_usize),
        3 => 1_usize..3000,
        2 => 60_000_usize..70_000,
        1 => 250_000_usize..600_000,
    ];
    let pieces = prop::collection::vec(prop_oneof![1_usize..20, 500_usize..90_000], 1..4);
    (length, pieces, prop::sample::select(framings)).prop_map(|(length, pieces, framing)| {
        // A large body in tiny pieces takes long and shows nothing new.
        let floor = length / 200;
        let pieces = pieces.into_iter().map(|piece| piece.max(floor).max(1)).collect();
        Message { length, pieces, framing }
    })
}

/// What the library allows of small frames: more than is needed here.
const SMALL_FRAMES: usize = 64 << 20;

const CHUNKED: Framing = Framing::Chunked { trailers: false };
const TRAILED: Framing = Framing::Chunked { trailers: true };

fn exchanges() -> impl Strategy<Value = Vec<Exchange>> {
    let request = message(&[Framing::Length, CHUNKED, TRAILED]);
    let response = message(&[Framing::Length, CHUNKED, TRAILED, Framing::Close]);
    let exchange =
        (request, response).prop_map(|(request, response)| Exchange { request, response });
    prop::collection::vec(exchange, 1..4)
}

impl Message {
    fn data(&self) -> Vec<u8> {
        (0..self.length).map(|at| (at % 251) as u8).collect()
    }

    fn split<'d>(&self, mut data: &'d [u8]) -> Vec<&'d [u8]> {
        let mut pieces = Vec::new();
        for size in self.pieces.iter().cycle() {
            if data.is_empty() {
                return pieces;
            }
            let (piece, rest) = data.split_at(data.len().min(*size));
            pieces.push(piece);
            data = rest;
        }
        pieces
    }

    /// How a peer is asked to make this message.
    fn order(&self) -> String {
        let pieces: Vec<_> = self.pieces.iter().map(ToString::to_string).collect();
        let framing = match self.framing {
            Framing::Length => "length",
            CHUNKED => "chunked",
            Framing::Chunked { .. } => "trailed",
            Framing::Close => "close",
        };
        format!("{} {} {framing}", self.length, pieces.join(","))
    }

    fn ordered(text: &str) -> Self {
        let [length, pieces, framing] = text.split(' ').collect::<Vec<_>>()[..] else {
            panic!("no order: {text}");
        };
        Self {
            length: length.parse().unwrap(),
            pieces: pieces.split(',').map(|piece| piece.parse().unwrap()).collect(),
            framing: match framing {
                "length" => Framing::Length,
                "chunked" => CHUNKED,
                "trailed" => TRAILED,
                _ => Framing::Close,
            },
        }
    }

    /// The head's last lines, and the body, of HTTP/1.
    fn http1(&self) -> Vec<u8> {
        let data = self.data();
        let mut out = match self.framing {
            Framing::Length => format!("content-length: {}\r\n\r\n", self.length).into_bytes(),
            Framing::Chunked { .. } => b"transfer-encoding: chunked\r\n\r\n".to_vec(),
            Framing::Close => b"connection: close\r\n\r\n".to_vec(),
        };
        let Framing::Chunked { trailers } = self.framing else {
            out.extend(data);
            return out;
        };
        for piece in self.split(&data) {
            out.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            out.extend(piece);
            out.extend(b"\r\n");
        }
        let trailers = if trailers { "x-trailer: here\r\n" } else { "" };
        out.extend(format!("0\r\n{trailers}\r\n").into_bytes());
        out
    }

    /// What a peer has to have received.
    fn seen(&self) -> Seen {
        Seen { data: self.data(), is_trailed: self.framing == TRAILED }
    }
}

/// What arrived of a message.
#[derive(Clone, PartialEq, Eq)]
struct Seen {
    data: Vec<u8>,
    is_trailed: bool,
}

impl Seen {
    /// Short enough for a header.
    fn digest(&self) -> String {
        let sum = self.data.iter().enumerate().fold(0_u64, |sum, (at, byte)| {
            sum.wrapping_mul(31).wrapping_add(u64::from(*byte) + at as u64)
        });
        format!("{} {sum:x} {}", self.data.len(), self.is_trailed)
    }
}

/// An origin of HTTP/1 that does as the header `x-order` says.
fn http1_origin() -> Origin {
    Origin::start(|mut conn| {
        while let Some((head, body)) = conn.request() {
            let seen = Seen { data: body.data, is_trailed: !body.trailers.is_empty() };
            let response = Message::ordered(head.field("x-order").unwrap());
            conn.send(format!("HTTP/1.1 200 OK\r\nx-seen: {}\r\n", seen.digest()));
            conn.send(response.http1());
            if response.framing == Framing::Close {
                return;
            }
        }
    })
}

/// The same over HTTP/2, with windows so small that flow control matters.
async fn http2_origin(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let mut builder = h2::server::Builder::new();
            builder.initial_window_size(5_000).initial_connection_window_size(70_000);
            builder.data_frame_budget(SMALL_FRAMES);
            let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                tokio::spawn(async move {
                    let (parts, body) = request.into_parts();
                    let seen = receive(body).await;
                    let order = parts.headers.get("x-order").unwrap().to_str().unwrap();
                    let message = Message::ordered(order);
                    let mut response = Response::builder().header("x-seen", seen.digest());
                    if message.framing == Framing::Length {
                        response = response.header("content-length", message.length);
                    }
                    let response = response.body(()).unwrap();
                    let body = respond.send_response(response, false).unwrap();
                    send(body, &message).await;
                });
            }
        });
    }
}

async fn receive(mut body: RecvStream) -> Seen {
    let mut data = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        data.extend_from_slice(&piece);
        // Others run first: what is sent meanwhile has to wait for the window.
        tokio::task::yield_now().await;
        body.flow_control().release_capacity(piece.len()).unwrap();
    }
    let trailers = body.trailers().await.unwrap();
    Seen { data, is_trailed: trailers.is_some() }
}

async fn send(mut body: SendStream<Bytes>, message: &Message) {
    let data = message.data();
    for piece in message.split(&data) {
        let mut piece = Bytes::copy_from_slice(piece);
        while !piece.is_empty() {
            body.reserve_capacity(piece.len());
            let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await.unwrap().unwrap();
            body.send_data(piece.split_to(room.min(piece.len())), false).unwrap();
        }
    }
    if message.framing == TRAILED {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-trailer", "here".parse().unwrap());
        body.send_trailers(trailers).unwrap();
    } else {
        body.send_data(Bytes::new(), true).unwrap();
    }
}

/// Both proxies, and what is behind them; started once, as they keep nothing between exchanges
/// that an exchange could depend on.
struct World {
    runtime: Runtime,
    to_http1: Running,
    to_http2: Running,
    _origin: Origin,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(http2_origin(listener));
    let origin = http1_origin();
    let to_http2 = start(&to(address, "", "protocol: http2"));
    // Settles the windows of the one connection that all share: the library never opens the window
    // of a stream again that it made smaller while the first data was on its way.
    let small = || Message { length: 1, pieces: vec![1], framing: Framing::Length };
    over_http1(to_http2.inbound, &[Exchange { request: small(), response: small() }]).unwrap();
    World {
        to_http1: start(&to(origin.address(), "", "protocol: http1")),
        to_http2,
        runtime,
        _origin: origin,
    }
});

fn over_http1(proxy: SocketAddr, exchanges: &[Exchange]) -> Result<(), TestCaseError> {
    let mut wire = Wire::connect(proxy);
    // Small: the response has to wait for its reader.
    SockRef::from(&*wire.socket()).set_recv_buffer_size(32 << 10).unwrap();
    for exchange in exchanges {
        let order = exchange.response.order();
        wire.send(format!("POST / HTTP/1.1\r\nhost: app\r\nx-order: {order}\r\n"));
        wire.send(exchange.request.http1());
        let response = wire.response();
        prop_assert_eq!(response.status, 200);
        prop_assert_eq!(response.header("x-seen"), Some(&*exchange.request.seen().digest()));
        let is_trailed = !response.body.trailers.is_empty();
        let seen = Seen { data: response.body.data, is_trailed };
        prop_assert_eq!(seen.digest(), exchange.response.seen().digest());
    }
    Ok(())
}

/// All exchanges at once, each a stream.
async fn over_http2(proxy: SocketAddr, exchanges: &[Exchange]) -> Result<(), TestCaseError> {
    let stream = TcpStream::connect(proxy).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(3_000).initial_connection_window_size(70_000);
    builder.data_frame_budget(SMALL_FRAMES);
    let (sender, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut streams = Vec::new();
    for exchange in exchanges.iter().cloned() {
        let mut sender = sender.clone();
        streams.push(tokio::spawn(async move {
            let mut request =
                Request::post("http://app/").header("x-order", exchange.response.order());
            if exchange.request.framing == Framing::Length {
                request = request.header("content-length", exchange.request.length);
            }
            let request = request.body(()).unwrap();
            let (response, body) = sender.send_request(request, false).unwrap();
            send(body, &exchange.request).await;
            let (parts, body) = response.await.unwrap().into_parts();
            let seen = parts.headers.get("x-seen").unwrap().to_str().unwrap().to_owned();
            (exchange, seen, receive(body).await.digest())
        }));
    }
    for stream in streams {
        let (exchange, request, response) = timeout(PATIENCE, stream).await.unwrap().unwrap();
        prop_assert_eq!(request, exchange.request.seen().digest());
        prop_assert_eq!(response, exchange.response.seen().digest());
    }
    drop(sender);
    prop_assert!(timeout(Duration::from_secs(10), driver).await.is_ok(), "it never ends");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn from_http1_to_http1(exchanges in exchanges()) {
        over_http1(WORLD.to_http1.inbound, &exchanges)?;
    }

    #[test]
    fn from_http1_to_http2(exchanges in exchanges()) {
        over_http1(WORLD.to_http2.inbound, &exchanges)?;
    }

    #[test]
    fn from_http2_to_http1(exchanges in exchanges()) {
        WORLD.runtime.block_on(over_http2(WORLD.to_http1.inbound, &exchanges))?;
    }

    #[test]
    fn from_http2_to_http2(exchanges in exchanges()) {
        WORLD.runtime.block_on(over_http2(WORLD.to_http2.inbound, &exchanges))?;
    }
}
