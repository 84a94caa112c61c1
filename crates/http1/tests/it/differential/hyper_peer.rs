//! hyper as a reader, in this process.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::conversation::Message;

/// The requests that hyper reads from `raw` to their end.
pub(crate) async fn read(raw: &[u8]) -> Vec<Message> {
    let messages = Arc::new(Mutex::new(Vec::new()));
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let seen = Arc::clone(&messages);
    let service = service_fn(move |request| record(request, Arc::clone(&seen)));
    let served =
        http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service);
    let talk = async {
        client.write_all(raw).await.expect("room for the conversation");
        client.shutdown().await.expect("half close");
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).await.expect("answers");
    };
    // How the connection ends is not compared: only what was read before that.
    let (_, ()) = tokio::join!(served, talk);
    let messages = messages.lock().expect("no panic while recording");
    messages.clone()
}

async fn record(
    request: Request<Incoming>,
    messages: Arc<Mutex<Vec<Message>>>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let method = request.method().to_string();
    if let Ok(body) = request.into_body().collect().await {
        let body = body.to_bytes().to_vec();
        messages.lock().expect("no panic while recording").push(Message { method, body });
    }
    // Not a 2xx, so that a CONNECT opens no tunnel and the conversation goes on.
    let mut response = Response::new(Empty::new());
    *response.status_mut() = hyper::StatusCode::NOT_FOUND;
    Ok(response)
}
