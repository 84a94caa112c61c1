//! An app that answers as each test wants it, on a socket of its own.

use tokio::net::TcpListener;

use super::*;

/// Answers every request with these bytes, and closes the connection.
async fn app(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
            }
            stream.write_all(answer).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn an_app_is_ready_when_its_path_answers_with_a_2xx_status() {
    for (answer, refusal) in [
        (&b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..], None),
        (b"HTTP/1.0 204 \r\n\r\n", None),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", Some("status 503")),
        (b"HTTP/1.1 302 Found\r\n\r\n", Some("status 302")),
        (b"+OK ready to serve", Some("does not answer in HTTP")),
        (b"HTTP/1.1", Some("without an answer")),
    ] {
        let said = ask(app(answer).await, Some("/ready")).await.err();
        match refusal {
            None => assert_eq!(said, None),
            Some(refusal) => assert!(said.as_ref().unwrap().contains(refusal), "{said:?}"),
        }
    }
}

#[tokio::test]
async fn without_a_path_an_open_port_is_enough() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(ask(address, None).await, Ok(()));
    drop(listener);
    let said = ask(address, None).await.unwrap_err();
    assert!(said.contains(&address.to_string()), "{said}");
}

#[tokio::test]
async fn a_given_port_is_taken_once_it_is_open_and_is_ready_at_once_without_a_path() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, mut events) = mpsc::channel(1);
    let late_at = Instant::now() + Duration::from_secs(3600);
    tokio::spawn(look_on(Port::Given(address.port()), None, late_at, sender));
    let place = match events.recv().await {
        Some(Event::AppListens(Some(place))) => place,
        _ => panic!("it has to be found first"),
    };
    assert_eq!(place.address, address);
    assert!(matches!(events.recv().await, Some(Event::AppReady)));
}

#[tokio::test(start_paused = true)]
async fn an_app_that_is_late_is_said_to_be_so_once() {
    let (sender, mut events) = mpsc::channel(1);
    let late_at = Instant::now() + Duration::from_secs(30);
    tokio::spawn(look_on(Port::Open, None, late_at, sender));
    assert!(matches!(events.recv().await, Some(Event::AppLate)));
    assert_eq!(Instant::now(), late_at);
    let more = timeout(Duration::from_secs(3600), events.recv());
    assert!(more.await.is_err(), "it is said once");
}
