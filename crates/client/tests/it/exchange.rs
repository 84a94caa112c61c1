//! Requests and answers, and what can go wrong with them.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use pillion_client::{Body, Client, Error, Options};
use pillion_testkit::{ClosedPort, Origin, PATIENCE};
use tempfile::TempDir;

use crate::server::{Act, Server, ok};

const SHORT: Duration = Duration::from_millis(200);

fn client(url: &str, options: &Options) -> Client {
    Client::new(url.parse().unwrap(), options).unwrap()
}

async fn get(client: &Client, path: &str) -> Result<Response<Bytes>, Error> {
    client.send(Request::get(path).body(Bytes::new()).unwrap()).await
}

async fn answer_of(act: Act, options: &Options) -> Result<Response<Bytes>, Error> {
    let server = Server::plain(act);
    get(&client(&format!("http://{}", server.address), options), "/").await
}

#[tokio::test]
async fn requests_go_below_the_path_of_the_target_over_one_connection() {
    let server = Server::plain(Act::Answer(ok("hello")));
    let client = client(&format!("http://{}/base/", server.address), &Options::default());
    for path in ["/a?b=c", "/"] {
        let answer = get(&client, path).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (200, &b"hello"[..]));
    }
    let heads = server.seen.heads();
    assert!(heads[0].starts_with("GET /base/a?b=c HTTP/1.1\r\n"), "{heads:?}");
    assert!(heads[1].starts_with("GET /base/ HTTP/1.1\r\n"), "{heads:?}");
    assert!(heads[0].contains(&format!("host: {}\r\n", server.address)), "{heads:?}");
    assert_eq!(server.seen.connections(), [0, 0]);
}

#[tokio::test]
async fn an_idle_connection_that_the_server_has_closed_is_replaced() {
    let server = Server::plain(Act::AnswerAndClose(ok("hello")));
    let client = client(&format!("http://{}", server.address), &Options::default());
    for number in 1..=5 {
        assert_eq!(get(&client, "/").await.unwrap().status(), 200);
        let closed = async {
            while server.seen.closed() < number {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, closed).await.expect("the client lets go of it");
    }
    assert_eq!(server.seen.connections(), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_body_in_parts_arrives_as_one() {
    let origin = Origin::saying("taken");
    let target = format!("http://{}", origin.address());
    let client = client(&target, &Options::default());
    // More than the connection's buffers hold, parts that are empty, and more parts than are written
    // at a time.
    let large = vec![b'x'; 3 << 20];
    let parts = [&b"before "[..], &large, b"", b" after"].into_iter();
    let parts: Vec<Bytes> = parts.chain([&b"."[..]; 50]).map(Bytes::copy_from_slice).collect();
    for body in
        [parts.iter().cloned().collect(), Body::from(Bytes::new()), Body::from(Bytes::from(large))]
    {
        let answer = client.send(Request::post("/").body(body).unwrap()).await.unwrap();
        assert_eq!(answer.body().as_ref(), b"taken");
    }
    let requests = origin.requests();
    let bodies: Vec<&[u8]> = requests.iter().map(|(_, body)| body.data.as_slice()).collect();
    assert!(bodies[0] == parts.concat());
    assert_eq!((bodies[1], bodies[2].len()), (&b""[..], 3 << 20));
    for (head, body) in requests.iter().filter(|(_, body)| !body.data.is_empty()) {
        assert_eq!(head.field("content-length"), Some(&*body.data.len().to_string()));
    }
}

#[tokio::test]
async fn a_unix_socket_is_as_good_as_a_host() {
    let folder = TempDir::with_prefix("pillion-client-").unwrap();
    let path = folder.path().join("server.sock");
    let url = format!("unix:{}", path.display());
    let client = client(&url, &Options::default());
    let refused = get(&client, "/").await.unwrap_err();
    assert!(matches!(refused, Error::Connect { .. }), "{refused:?}");
    let expected = format!("cannot connect to {url}: No such file or directory (os error 2)");
    assert_eq!(refused.to_string(), expected);
    let seen = Server::unix(&path, Act::Answer(ok("hello")));
    assert_eq!(get(&client, "/v1/x").await.unwrap().body().as_ref(), b"hello");
    let head = seen.heads().remove(0);
    assert!(head.starts_with("GET /v1/x HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("host: localhost\r\n"), "{head}");
}

#[tokio::test]
async fn an_answer_may_be_as_large_as_the_limit_and_not_larger() {
    let options = Options { body_limit: 10, ..Options::default() };
    let chunked = |size: usize| {
        let body = "a".repeat(size - 1);
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        format!("{head}1\r\na\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
    };
    for answer in [ok(&"a".repeat(10)), chunked(10)] {
        let body = answer_of(Act::Answer(answer), &options).await.unwrap().into_body();
        assert_eq!(body.as_ref(), b"aaaaaaaaaa");
    }
    for answer in [ok(&"a".repeat(11)), chunked(11)] {
        let error = answer_of(Act::Answer(answer), &options).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge { limit: 10, .. }), "{error:?}");
        assert!(error.to_string().ends_with("is larger than 10 bytes"), "{error}");
    }
}

#[tokio::test]
async fn silence_ends_with_a_timeout_wherever_it_begins() {
    let options = Options { timeout: SHORT, ..Options::default() };
    for sent in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel"] {
        let answer = answer_of(Act::AnswerAndHang(sent.to_owned()), &options);
        let error = tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Timeout { limit: SHORT, .. }), "{sent:?}: {error:?}");
        assert!(error.to_string().ends_with("did not answer within 200ms"), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_is_told_from_an_exchange_that_breaks_off() {
    let closed = ClosedPort::new();
    let url = format!("http://{}", closed.address());
    let error = get(&client(&url, &Options::default()), "/").await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    let expected = format!("cannot connect to {url}: Connection refused (os error 111)");
    assert_eq!(error.to_string(), expected);
    for (sent, reason) in [
        ("", "connection closed before message completed"),
        ("HTTP/1.1 200 OK\r\n", "connection closed before message completed"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel",
            "end of file before message length reached",
        ),
        ("SSH-2.0-OpenSSH\r\n\r\n", "invalid HTTP version parsed"),
    ] {
        let act = Act::AnswerAndClose(sent.to_owned());
        let error = answer_of(act, &Options::default()).await.unwrap_err();
        assert!(matches!(error, Error::Broken { .. }), "{sent:?}: {error:?}");
        assert!(error.to_string().ends_with(reason), "{sent:?}: {error}");
    }
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_said() {
    let error = get(&client("http://no.such.host.invalid", &Options::default()), "/").await;
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(error.to_string().contains("http://no.such.host.invalid"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let elsewhere = Server::plain(Act::Answer(ok("")));
    let url = format!("http://{}/", elsewhere.address);
    let head = format!("HTTP/1.1 307 Elsewhere\r\nlocation: {url}\r\ncontent-length: 0\r\n\r\n");
    let answer = answer_of(Act::Answer(head), &Options::default()).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()),
        (307, url.as_str())
    );
    assert!(elsewhere.seen.heads().is_empty());
}

#[tokio::test]
async fn a_stream_is_bounded_up_to_its_head_alone() {
    let options = Options { timeout: SHORT, body_limit: 1, ..Options::default() };
    let server = Server::plain(Act::AnswerAndHang(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n".to_owned(),
    ));
    let client = client(&format!("http://{}", server.address), &options);
    let request = || Request::get("/").body(Bytes::new()).unwrap();
    let mut body = client.stream(request()).await.unwrap().into_body();
    let part = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(part.as_ref(), b"hello");
    let silence = tokio::time::timeout(2 * SHORT, body.frame()).await;
    assert!(silence.is_err(), "{silence:?}");

    let silent = Server::plain(Act::AnswerAndHang(String::new()));
    let client = self::client(&format!("http://{}", silent.address), &options);
    let error = client.stream(request()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
}
