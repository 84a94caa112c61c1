//! Configuration from an HTTP server.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pillion_model::secrets::ConfigOrigin;
use pillion_secrets::sources::{Source, SourceError};
use pillion_testkit::{Origin, eventually};
use tempfile::TempDir;

use super::{LIMITS, next, seen, source, texts};

/// A server that gives these answers, each a head without its end and a body, and then the last one.
fn server(answers: &'static [(&'static str, &'static str)]) -> Origin {
    let asked = AtomicUsize::new(0);
    Origin::answering(move |_, _| {
        let number = asked.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        let (head, body) = answers[number];
        format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    })
}

fn at(server: &Origin, path: &str) -> ConfigOrigin {
    ConfigOrigin::Http {
        url: format!("http://{}{path}", server.address()).into(),
        ca: None,
        token: None,
        interval: Duration::from_millis(20),
    }
}

fn fields(server: &Origin, name: &str) -> Vec<Option<String>> {
    server.requests().iter().map(|(head, _)| head.field(name).map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_file_is_asked_for_with_its_tag_and_given_when_it_is_another() {
    let server = server(&[
        ("200 OK\r\netag: \"1\"", "one"),
        ("304 Not Modified\r\netag: \"1\"", ""),
        ("200 OK\r\netag: \"2\"", "one"),
        ("200 OK\r\netag: W/\"3\"", "three"),
        ("304 Not Modified", ""),
    ]);
    let mut source = source(&at(&server, "/conf/app.yaml?env=test"));
    let first = next(&mut source).await.unwrap();
    assert_eq!(texts(&first), seen(&[("app.yaml", "one")]));
    assert_eq!(first.version, "\"1\"");
    let second = next(&mut source).await.unwrap();
    assert_eq!(
        (texts(&second), second.version.as_str()),
        (seen(&[("app.yaml", "three")]), "W/\"3\"")
    );
    let waiting = tokio::spawn(async move { source.next().await });
    let tags = [None, Some("\"1\""), Some("\"1\""), Some("\"2\""), Some("W/\"3\"")];
    let tags = tags.map(|tag| tag.map(str::to_owned));
    tokio::task::spawn_blocking(move || {
        eventually("a fifth question", || server.requests().len() >= 5);
        assert_eq!(fields(&server, "if-none-match")[..5], tags);
        assert_eq!(server.requests()[0].0.line, "GET /conf/app.yaml?env=test HTTP/1.1");
    })
    .await
    .unwrap();
    waiting.abort();
}

#[tokio::test]
async fn a_server_without_tags_is_asked_by_time() {
    let time = "Sat, 21 Nov 2026 12:00:00 GMT";
    let server = server(&[
        ("200 OK\r\nlast-modified: Sat, 21 Nov 2026 12:00:00 GMT", "one"),
        ("304 Not Modified", ""),
        ("200 OK", "two"),
    ]);
    let mut source = source(&at(&server, "/"));
    assert_eq!(next(&mut source).await.unwrap().version, time);
    assert_eq!(texts(&next(&mut source).await.unwrap()), seen(&[("config", "two")]));
    let times = [None, Some(time), Some(time)].map(|time| time.map(str::to_owned));
    assert_eq!(fields(&server, "if-modified-since")[..3], times);
}

#[tokio::test]
async fn what_is_no_file_is_an_error_and_asked_for_again() {
    let server =
        server(&[("304 Not Modified", ""), ("503 Service Unavailable", ""), ("200 OK", "here")]);
    let mut source = source(&at(&server, "/a"));
    let proven = source.proven();
    for status in [304, 503] {
        let error = next(&mut source).await.unwrap_err();
        assert!(
            matches!(error, SourceError::Status { status: found, .. } if found == status),
            "{error}"
        );
        assert!(proven.borrow().is_none());
    }
    assert_eq!(texts(&next(&mut source).await.unwrap()), seen(&[("a", "here")]));
    assert!(proven.borrow().is_some());
}

#[tokio::test]
async fn a_token_is_read_anew_for_each_question() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("token");
    let server = server(&[("200 OK", "1"), ("200 OK", "2")]);
    let ConfigOrigin::Http { url, ca, interval, .. } = at(&server, "/a") else { unreachable!() };
    let origin = ConfigOrigin::Http { url, ca, interval, token: Some(path.clone()) };
    let mut source = source(&origin);
    let error = next(&mut source).await.unwrap_err();
    assert!(matches!(error, SourceError::Read { .. }), "{error}");
    for token in ["first", "second"] {
        fs::write(&path, format!("{token}\nnot this\n")).unwrap();
        next(&mut source).await.unwrap();
    }
    let tokens = ["Bearer first", "Bearer second"].map(|token| Some(token.to_owned()));
    assert_eq!(fields(&server, "authorization")[..2], tokens);
    assert!(!format!("{source:?}").contains("second"));
}

#[tokio::test]
async fn urls_that_cannot_be_asked_are_refused_at_once() {
    for url in ["ftp://host/a", "host/a", "http://user:secret@host/a", "http://host/..hidden"] {
        let origin = ConfigOrigin::Http {
            url: url.into(),
            ca: None,
            token: None,
            interval: Duration::from_secs(1),
        };
        let error = Source::new(&origin, LIMITS, Box::new(|| 0.0)).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_file_is_bounded() {
    const FITS: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const LONGER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef+";
    assert_eq!((FITS.len(), LONGER.len()), (LIMITS.bytes, LIMITS.bytes + 1));
    let server = server(&[("200 OK", FITS), ("200 OK", LONGER)]);
    let mut source = source(&at(&server, "/a"));
    assert!(next(&mut source).await.is_ok());
    let error = next(&mut source).await.unwrap_err().to_string();
    assert!(
        error.ends_with("is larger than 64 bytes; raise secrets.limits.bytes, or have less"),
        "{error}"
    );
}
