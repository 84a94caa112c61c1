//! Lines, datagrams and syslog.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};

use pillion_model::logs::{DropPolicy, FullPolicy, Listen, ListenProtocol};

use super::super::{Event, Source};
use super::received::*;
use crate::budget::Budget;

#[tokio::test]
async fn lines_come_over_tcp_and_end_with_the_connection() {
    local(async {
        let source = start(&listen(ListenProtocol::Tcp));
        let mut client = TcpStream::connect(at(&source)).unwrap();
        client.write_all(b"one\ntw").unwrap();
        let first = chunk(&source).await;
        assert_eq!(texts_of(&first), ["one"]);
        assert_eq!((first.first, first.peer), (0, Some(client.local_addr().unwrap())));
        client.write_all(b"o\r\nwithout end").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(texts(&source, 2).await, ["two", "without end"]);
        assert!(
            matches!(source.next().await, Some(Event::Ended(stream)) if stream == first.stream)
        );
        assert_eq!(source.status().records, 3);
    })
    .await;
}

#[tokio::test]
async fn a_line_is_cut_at_the_limit_and_not_before() {
    local(async {
        let source = start(&listen(ListenProtocol::Tcp));
        let mut client = TcpStream::connect(at(&source)).unwrap();
        let lines = [100, 101].map(|length| "x".repeat(length));
        client.write_all(format!("{}\n{}\n", lines[0], lines[1]).as_bytes()).unwrap();
        assert_eq!(texts(&source, 2).await, [lines[0].as_str(), &lines[0]]);
    })
    .await;
}

#[tokio::test]
async fn a_unix_socket_takes_the_place_of_a_dead_one_and_goes_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    for (protocol, name) in
        [(ListenProtocol::Tcp, "stream"), (ListenProtocol::SyslogUdp, "datagram")]
    {
        let path = folder.path().join(name);
        local(async {
            let listen = on_unix(protocol, &path);
            // Left behind: the file stays when the socket is closed.
            drop(UnixDatagram::bind(&path).unwrap());
            let source = start(&listen);
            let error = Source::listen(&listen, FRAMING, &Budget::new(1)).unwrap_err();
            assert!(error.to_string().contains("in use"), "{error}");
            if protocol == ListenProtocol::Tcp {
                UnixStream::connect(&path).unwrap().write_all(b"line\n").unwrap();
            } else {
                UnixDatagram::unbound().unwrap().send_to(b"line\n", &path).unwrap();
            }
            assert_eq!(texts(&source, 1).await, ["line"]);
            assert_eq!(rest(&source).await, [""; 0]);
            drop(source);
        })
        .await;
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn each_datagram_is_a_text_with_its_sender() {
    local(async {
        let source = start(&listen(ListenProtocol::Udp));
        let [one, other] = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = at(&source);
        for (socket, text) in [(&one, "a\nb\n"), (&one, "c"), (&other, "d")] {
            socket.send_to(text.as_bytes(), &to).unwrap();
        }
        one.send_to("x".repeat(101).as_bytes(), &to).unwrap();
        let mut found = Vec::new();
        while found.len() < 4 {
            let chunk = chunk(&source).await;
            let peer = chunk.peer.unwrap();
            found.extend(texts_of(&chunk).into_iter().map(|text| (text, peer)));
        }
        let [one, other] = [one, other].map(|socket| socket.local_addr().unwrap());
        let expected = [("a\nb", one), ("c", one), ("d", other), (&"x".repeat(100), one)];
        let expected = expected.map(|(text, peer)| (text.to_owned(), peer));
        assert_eq!(found, expected);
    })
    .await;
}

#[tokio::test]
async fn logger_sends_syslog_over_every_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    local(async {
        let (tcp, udp) =
            (start(&listen(ListenProtocol::SyslogTcp)), start(&listen(ListenProtocol::SyslogUdp)));
        let unix = start(&on_unix(ListenProtocol::SyslogUdp, &path));
        let port = |source: &Source| at(source).rsplit(':').next().unwrap().to_owned();
        let counted =
            ["--octet-count", "--tcp", "-n", "127.0.0.1", "-P", &port(&tcp), "--", "by count"];
        command("logger", &counted).await;
        command("logger", &["--tcp", "-n", "127.0.0.1", "-P", &port(&tcp), "--", "by line"]).await;
        command("logger", &["--udp", "-n", "127.0.0.1", "-P", &port(&udp), "--", "by udp"]).await;
        command("logger", &["--socket", path.to_str().unwrap(), "--", "by socket"]).await;
        let mut found = texts(&tcp, 2).await;
        found.extend(texts(&udp, 1).await);
        found.extend(texts(&unix, 1).await);
        for (text, end) in found.iter().zip(["by count", "by line", "by udp", "by socket"]) {
            assert!(text.starts_with("<13>") && text.ends_with(end), "{text}");
        }
    })
    .await;
}

fn dropping(policy: DropPolicy) -> Listen {
    Listen { full: FullPolicy::Drop(policy), ..listen(ListenProtocol::Udp) }
}

#[tokio::test]
async fn without_room_the_oldest_or_the_newest_go_and_are_counted() {
    for (policy, expected) in [(DropPolicy::Oldest, ["3", "4"]), (DropPolicy::Newest, ["0", "1"])] {
        local(async {
            // Room for two chunks.
            let source = Source::listen(&dropping(policy), FRAMING, &Budget::new(1400)).unwrap();
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            for number in 0..5_u64 {
                client.send_to(number.to_string().as_bytes(), at(&source)).unwrap();
                let seen = || source.status().records + source.status().dropped_records;
                until("the datagram", || seen() == number + 1).await;
            }
            let status = source.status();
            assert_eq!((status.records, status.dropped_records, status.dropped_bytes), (2, 3, 3));
            assert_eq!(texts(&source, 2).await, expected);
        })
        .await;
    }
}

#[tokio::test]
async fn a_sender_waits_for_room_and_loses_nothing() {
    local(async {
        let budget = Budget::new(10_000);
        let source = Source::listen(&listen(ListenProtocol::Tcp), FRAMING, &budget).unwrap();
        let to = at(&source);
        let sending = tokio::task::spawn_blocking(move || {
            let mut client = TcpStream::connect(to).unwrap();
            (0..20_000).for_each(|number| writeln!(client, "line {number}").unwrap());
        });
        until("a full budget", || budget.used() > 0).await;
        let found = texts(&source, 20_000).await;
        assert!((0..20_000).all(|number| found[number] == format!("line {number}")));
        sending.await.unwrap();
        assert_eq!(source.status().dropped_records, 0);
    })
    .await;
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_place() {
    local(async {
        let one = Listen { connections: 1, ..listen(ListenProtocol::Tcp) };
        let source = start(&one);
        let [mut first, mut second] = [0, 1].map(|_| TcpStream::connect(at(&source)).unwrap());
        second.write_all(b"second\n").unwrap();
        first.write_all(b"first\n").unwrap();
        assert_eq!(texts(&source, 1).await, ["first"]);
        assert_eq!(source.status().connections, 1);
        first.shutdown(Shutdown::Both).unwrap();
        assert_eq!(texts(&source, 1).await, ["second"]);
        let mut third = TcpStream::connect(at(&source)).unwrap();
        third.write_all(b"third\n").unwrap();
        assert!(source.reconfigure(&Listen { connections: 2, ..one.clone() }, FRAMING));
        assert_eq!(texts(&source, 1).await, ["third"]);
        assert!(!source.reconfigure(&Listen { protocol: ListenProtocol::Http, ..one }, FRAMING));
    })
    .await;
}

#[tokio::test]
async fn after_a_stop_what_lies_in_the_kernel_still_comes() {
    local(async {
        let source = start(&listen(ListenProtocol::Tcp));
        let mut client = TcpStream::connect(at(&source)).unwrap();
        client.write_all(b"one\n").unwrap();
        assert_eq!(texts(&source, 1).await, ["one"]);
        client.write_all(b"two\nthr").unwrap();
        assert_eq!(rest(&source).await, ["two", "thr"]);
    })
    .await;
}
