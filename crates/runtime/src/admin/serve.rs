//! Serving local connections: bounded in number, time and size.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pillion_model::settings::Address;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::bind::{Bound, Listener};
use super::guard::refuse;
use super::routes::{Found, Request, Response, Routes};
use super::{MAX_BODY, MAX_CONNECTIONS};
use crate::socket_file::SocketFile;

/// For a request head, and for the next one on a connection that is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For a whole request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// For answers under way when the interface closes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Before accepting again where the system is short of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What answers a request.
type Answer = Arc<dyn Fn(http::Request<Incoming>) -> Answering + Send + Sync>;
type Answering = Pin<Box<dyn Future<Output = http::Response<Full<Bytes>>> + Send>>;

/// How many connections are served at once; those that come later wait.
pub struct Room {
    /// The most, at least 1.
    pub connections: usize,
    /// Is told of each connection that has to wait when it is accepted.
    pub waits: Box<dyn Fn() + Send + Sync>,
}

/// What the admin interface serves.
struct Context {
    address: Address,
    routes: Routes,
}

/// Serves `routes` until `stop` is ready; then answers what is under way, within a second. Dropping
/// the future closes everything at once.
///
/// # Errors
/// The runtime cannot take the listener over.
pub async fn serve(bound: Bound, routes: Routes, stop: impl Future<Output = ()>) -> io::Result<()> {
    let context = Arc::new(Context { address: bound.address().clone(), routes });
    let respond = move |request| {
        let context = context.clone();
        async move { answer(&context, request).await }
    };
    let room = Room { connections: MAX_CONNECTIONS, waits: Box::new(|| {}) };
    serve_with(bound, room, respond, stop).await
}

/// Serves what `respond` answers, as [`serve`] does, as far as there is room. What a request may do is
/// for `respond` to say.
///
/// # Errors
/// The runtime cannot take the listener over.
pub async fn serve_with<F, A>(
    bound: Bound,
    room: Room,
    respond: F,
    stop: impl Future<Output = ()>,
) -> io::Result<()>
where
    F: Fn(http::Request<Incoming>) -> A + Send + Sync + 'static,
    A: Future<Output = http::Response<Full<Bytes>>> + Send + 'static,
{
    let acceptor = match bound.listener {
        Listener::Tcp(listener) => Acceptor::Tcp(TcpListener::from_std(listener)?),
        Listener::Unix(listener, file) => Acceptor::Unix(UnixListener::from_std(listener)?, file),
    };
    let respond: Answer = Arc::new(move |request| Box::pin(respond(request)));
    accept_all(acceptor, room, respond, stop).await;
    Ok(())
}

/// A listener that the runtime watches.
enum Acceptor {
    Tcp(TcpListener),
    /// With the file, which goes when this goes.
    Unix(UnixListener, SocketFile),
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Acceptor {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener, _file) => Box::new(listener.accept().await?.0),
        })
    }
}

async fn accept_all(
    acceptor: Acceptor,
    room: Room,
    respond: Answer,
    stop: impl Future<Output = ()>,
) {
    let mut connections = JoinSet::new();
    let (close, closing) = watch::channel(());
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            // What a connection ended with is its own affair.
            Some(_) = connections.join_next() => {}
            accepted = acceptor.accept() => match accepted {
                Ok(stream) => tokio::select! {
                    () = &mut stop => break,
                    () = for_one_more(&room, &mut connections) => {
                        let serving = serve_connection(stream, respond.clone(), closing.clone());
                        connections.spawn(serving);
                    }
                },
                // A client that left already, or no descriptor left: neither is the end.
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(acceptor);
    close.send_replace(());
    // Those that are not done in time are cut off when the set is dropped.
    let _cut_off =
        timeout(CLOSE_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
}

/// Waits until there is room for one more. The others that come meanwhile wait in the kernel's queue.
async fn for_one_more(room: &Room, connections: &mut JoinSet<()>) {
    while connections.try_join_next().is_some() {}
    if connections.len() >= room.connections {
        (room.waits)();
        connections.join_next().await;
    }
}

async fn serve_connection(
    stream: Box<dyn Stream>,
    respond: Answer,
    mut closing: watch::Receiver<()>,
) {
    let service = service_fn(move |request| {
        let answering = respond(request);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // A client that breaks off or sends garbage got its answer from hyper.
        _ = &mut connection => {}
        _ = closing.changed() => {
            connection.as_mut().graceful_shutdown();
            let _client_error = connection.await;
        }
    }
}

async fn answer(
    context: &Context,
    request: http::Request<Incoming>,
) -> http::Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    if let Some(refused) = refuse(&context.address, &head.method, head.version, &head.headers) {
        return into_http(refused);
    }
    // hyper leaves the body of an answer to HEAD out.
    let method = if head.method == Method::HEAD { Method::GET } else { head.method };
    let handler = match context.routes.find(&method, head.uri.path()) {
        Found::Handler(handler) => handler,
        Found::WrongMethod(allowed) => return wrong_method(&allowed),
        Found::Nothing if head.uri.path() == "/" && method == Method::GET => {
            return into_http(Response::text(StatusCode::OK, context.routes.index()));
        }
        Found::Nothing if head.uri.path() == "/" => return wrong_method("GET, HEAD"),
        Found::Nothing => {
            let page = format!("no such path\n\n{}", context.routes.index());
            return into_http(Response::text(StatusCode::NOT_FOUND, page));
        }
    };
    let body = match read_body(body).await {
        Ok(body) => body,
        Err(refused) => return into_http(refused),
    };
    let request = Request {
        method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    into_http(handler(request).await)
}

async fn read_body(body: Incoming) -> Result<Bytes, Response> {
    match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let text = format!("the body is longer than {MAX_BODY} bytes\n");
            Err(Response::text(StatusCode::PAYLOAD_TOO_LARGE, text))
        }
        Ok(Err(_)) => Err(Response::text(StatusCode::BAD_REQUEST, "the body is broken\n")),
        Err(_) => Err(Response::text(StatusCode::REQUEST_TIMEOUT, "the body is late\n")),
    }
}

fn wrong_method(allowed: &str) -> http::Response<Full<Bytes>> {
    let text = format!("this path takes {allowed}\n");
    let mut response = into_http(Response::text(StatusCode::METHOD_NOT_ALLOWED, text));
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

fn into_http(response: Response) -> http::Response<Full<Bytes>> {
    let mut answer = http::Response::new(Full::new(response.body));
    *answer.status_mut() = response.status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(response.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
